// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package translog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// Prefix is where a Handler serves the log.
const Prefix = "/log/"

// Handler serves the log of a store below Prefix, read only: checkpoint, tiles
// and bundles of entries (C2SP tlog-tiles). What is not there yet is 404; a
// store that does not answer is 503.
type Handler struct {
	Store  store.Store
	Logger *slog.Logger // nil: silent
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, Prefix)
	switch {
	case !ok:
		http.NotFound(w, r)
		return
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the log is read only", http.StatusMethodNotAllowed)
		return
	}
	var body []byte
	var err error
	header := w.Header()
	if path == "checkpoint" {
		header.Set("Content-Type", "text/plain; charset=utf-8")
		header.Set("Cache-Control", "no-store")
		body, err = h.checkpoint(r.Context())
	} else {
		header.Set("Content-Type", "application/octet-stream")
		header.Set("Cache-Control", "max-age=31536000, immutable")
		var at tilePath
		if at, err = parseTilePath(path); err == nil {
			body, err = h.tile(r.Context(), at)
		}
	}
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // a client that has left is no news
}

func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case errors.Is(err, errPath):
		http.Error(w, errPath.Error(), http.StatusNotFound)
	case dossier.KindOf(err) == dossier.KindNotFound:
		http.Error(w, "the log does not have it yet", http.StatusNotFound)
	default:
		if h.Logger != nil && r.Context().Err() == nil {
			h.Logger.ErrorContext(r.Context(), "the log could not be read", "path", r.URL.Path, "error", err)
		}
		w.Header().Set("Retry-After", "5")
		http.Error(w, "the store of the log does not answer", http.StatusServiceUnavailable)
	}
}

var errNotYet = dossier.Errorf(dossier.KindNotFound, "reading the log", "", "the log does not have it yet")

func (h *Handler) checkpoint(ctx context.Context) ([]byte, error) {
	var head store.LogHead
	err := h.Store.View(ctx, func(r store.Reader) (err error) {
		head, err = r.LogHead(ctx)
		return err
	})
	if err == nil && head.Size == 0 {
		err = errNotYet
	}
	if err == nil { // or a power cut might make it a fork
		err = h.Store.Settle(ctx)
	}
	return head.Checkpoint, err
}

// tile returns the hashes of a tile, or the entries of a bundle.
func (h *Handler) tile(ctx context.Context, at tilePath) (body []byte, err error) {
	err = h.Store.View(ctx, func(r store.Reader) (err error) {
		if at.Level == entriesLevel {
			body, err = bundle(ctx, r, at)
			return err
		}
		body, err = r.LogTile(ctx, at.TileAt)
		if err == nil && int64(len(body)) < at.width*tlog.HashSize {
			err = errNotYet
		}
		return err
	})
	if err == nil && at.Level != entriesLevel {
		body = body[:at.width*tlog.HashSize]
	}
	return body, err
}

// bundle returns entries, each after its length in two bytes.
func bundle(ctx context.Context, r store.Reader, at tilePath) ([]byte, error) {
	entries, err := r.LogEntries(ctx, at.Index*tileWidth, int(at.width))
	if err != nil {
		return nil, err
	}
	if int64(len(entries)) < at.width {
		return nil, errNotYet
	}
	var b bytes.Buffer
	for i, e := range entries {
		if e.Index != at.Index*tileWidth+int64(i) {
			return nil, dossier.Errorf(dossier.KindCorrupt, "reading the log", fmt.Sprint(at.Index*tileWidth+int64(i)), "the entry is missing")
		}
		text := Entry(e.Subject, e.Seq, e.Leaf)
		_ = binary.Write(&b, binary.BigEndian, uint16(len(text))) // to memory: cannot fail
		b.Write(text)
	}
	return b.Bytes(), nil
}
