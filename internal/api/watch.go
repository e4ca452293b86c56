// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"dossier.dev/dossier"
)

// errDraining ends watches when the server stops.
var errDraining = &dossier.Error{Kind: dossier.KindUnavailable, Op: "watching", Err: errors.New("the server is stopping"),
	Hint: "run the command again"}

// step is what a watch yields.
type step struct {
	change dossier.Change
	err    error
}

// watch sends each change as a line of JSON as it comes, and an empty line when
// none comes for a while, until the client leaves or the server stops.
func (h *Handler) watch(w http.ResponseWriter, r *http.Request, q dossier.ImagesQuery) error {
	select {
	case h.watches <- struct{}{}:
		defer func() { <-h.watches }()
	default:
		return &dossier.Error{Kind: dossier.KindUnavailable, Op: "watching", Err: fmt.Errorf("%d watches are under way, which is the limit", cap(h.watches)),
			Hint: "end others, or try again later"}
	}
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", linesType)
		return nil
	}
	ctx, cancel := context.WithCancel(r.Context())
	steps := make(chan step, 64)
	var producer sync.WaitGroup
	defer producer.Wait()
	defer cancel()
	producer.Go(func() {
		defer close(steps)
		for change, err := range h.config.Answers.Watch(ctx, q) {
			select {
			case steps <- step{change, err}:
			case <-ctx.Done():
				return
			}
		}
	})
	out := stream{w: w, control: http.NewResponseController(w)}
	ticker := time.NewTicker(h.config.KeepAlive)
	defer ticker.Stop()
	for {
		var err error
		select {
		case s, ok := <-steps:
			if !ok {
				return nil // only a watch that has lost its client ends so
			}
			ticker.Reset(h.config.KeepAlive)
			if s.err != nil {
				return h.endWatch(&out, r, s.err)
			}
			err = out.send(dossier.ChangeLine{Change: s.change}, len(steps) == 0)
		case <-ticker.C:
			err = out.keepAlive()
		case <-h.draining:
			return h.endWatch(&out, r, errDraining)
		case <-ctx.Done():
			return nil
		}
		if err != nil {
			h.config.Logger.DebugContext(ctx, "client left", "path", r.URL.Path)
			return nil
		}
	}
}

// endWatch tells why a watch ends: by the status when nothing was sent yet, else by a
// last line.
func (h *Handler) endWatch(out *stream, r *http.Request, err error) error {
	if !out.begun {
		return err
	}
	if statusOf(err) >= http.StatusInternalServerError && !errors.Is(err, errDraining) {
		h.config.Logger.ErrorContext(r.Context(), "watch failed", "error", err)
	}
	problem := problemOf(err)
	_ = out.send(dossier.ChangeLine{Change: dossier.Change{Type: dossier.ChangeError}, Error: &problem}, true) // it ends either way
	return nil
}

// stream writes lines.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

// send writes v as a line; flush says that the client is to see it at once.
func (s *stream) send(v any, flush bool) error {
	s.begin()
	if err := encode(s.w, v); err != nil {
		return err
	}
	if flush {
		return s.control.Flush()
	}
	return nil
}

// keepAlive writes an empty line: it tells both sides that the other is there.
func (s *stream) keepAlive() error {
	s.begin()
	if _, err := s.w.Write([]byte("\n")); err != nil {
		return err
	}
	return s.control.Flush()
}

func (s *stream) begin() {
	if !s.begun {
		s.begun = true
		s.w.Header().Set("Content-Type", linesType)
	}
}
