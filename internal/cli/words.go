// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"

	"dossier.dev/dossier/internal/render"
)

// words is a slog.Handler for people: each warning is one line, a note like
// those that commands print themselves. It heeds no groups.
type words struct {
	mu    *sync.Mutex
	w     io.Writer
	attrs []slog.Attr
}

func newWords(w io.Writer) slog.Handler { return words{mu: &sync.Mutex{}, w: w} }

// Enabled implements slog.Handler.
func (h words) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Handle implements slog.Handler.
func (h words) Handle(_ context.Context, r slog.Record) error {
	var b bytes.Buffer
	b.WriteString("note: " + render.Clean(r.Message))
	separator := ": "
	add := func(a slog.Attr) bool {
		if a = (slog.Attr{Key: a.Key, Value: a.Value.Resolve()}); !a.Equal(slog.Attr{}) {
			b.WriteString(separator + a.Key + " " + render.Clean(a.Value.String()))
			separator = ", "
		}
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	r.Attrs(add)
	b.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := h.w.Write(b.Bytes())
	return err
}

// WithAttrs implements slog.Handler.
func (h words) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.attrs = append(h.attrs[:len(h.attrs):len(h.attrs)], attrs...)
	return h
}

// WithGroup implements slog.Handler.
func (h words) WithGroup(string) slog.Handler { return h }
