// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// checkTimeout bounds one check of readiness.
const checkTimeout = 5 * time.Second

// Check is one condition of readiness.
type Check struct {
	Name string
	// Ready returns nil, or why not. It must return when ctx ends.
	Ready func(ctx context.Context) error
}

// healthz says that the process answers.
func (h *Handler) healthz(w http.ResponseWriter, _ *http.Request, _ query) error {
	return plain(w, http.StatusOK, "ok\n")
}

// readyz says whether the answers are complete and fresh, one line a check. Who
// brings no token, where one is needed, learns the names of the checks only.
func (h *Handler) readyz(w http.ResponseWriter, r *http.Request, _ query) error {
	var text strings.Builder
	status := http.StatusOK
	for _, c := range slices.Concat(h.config.Checks, []Check{{Name: "draining", Ready: h.notDraining}}) {
		err := run(r.Context(), c)
		switch {
		case err == nil:
			fmt.Fprintf(&text, "%s: ok\n", c.Name)
			continue
		case h.knows(r):
			fmt.Fprintf(&text, "%s: not ready: %s\n", c.Name, oneLine(err.Error()))
		default:
			fmt.Fprintf(&text, "%s: not ready\n", c.Name)
		}
		status = http.StatusServiceUnavailable
	}
	return plain(w, status, text.String())
}

func run(ctx context.Context, c Check) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	return c.Ready(ctx)
}

// notDraining fails once the server is about to stop.
func (h *Handler) notDraining(context.Context) error {
	select {
	case <-h.draining:
		return errors.New("the server is stopping")
	default:
		return nil
	}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func plain(w http.ResponseWriter, status int, text string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // a client that has left is no news
	return nil
}
