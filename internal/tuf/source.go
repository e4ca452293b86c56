// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"dossier.dev/dossier"
)

// Source is where metadata is read from.
type Source interface {
	// Fetch returns a file by its name, such as "2.root.json". KindNotFound. KindLimit: it has
	// more than limit bytes; no more than that are read. KindUnavailable, KindDenied.
	Fetch(ctx context.Context, name string, limit int64) ([]byte, error)
}

// fetchTime is how long one file may take.
const fetchTime = 30 * time.Second

// HTTP is a repository on the web.
type HTTP struct {
	URL    string // that the names of files follow
	Token  string // bearer; empty: none
	Client *http.Client
}

// Fetch implements [Source].
func (h HTTP) Fetch(ctx context.Context, name string, limit int64) ([]byte, error) {
	const op = "reading metadata"
	fail := func(kind dossier.Kind, err error) ([]byte, error) {
		return nil, &dossier.Error{Kind: kind, Op: op, Subject: name, Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(h.URL, "/")+"/"+name, nil)
	if err != nil {
		return fail(dossier.KindInvalid, err)
	}
	if h.Token != "" {
		r.Header.Set("Authorization", "Bearer "+h.Token)
	}
	resp, err := h.Client.Do(r)
	if err != nil {
		return fail(dossier.KindUnavailable, err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return fail(dossier.KindNotFound, errors.New("there is no such file"))
	case http.StatusUnauthorized, http.StatusForbidden:
		return fail(dossier.KindDenied, fmt.Errorf("the server answers %s", resp.Status))
	default:
		return fail(dossier.KindUnavailable, fmt.Errorf("the server answers %s", resp.Status))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return fail(dossier.KindUnavailable, err)
	}
	if int64(len(body)) > limit {
		return fail(dossier.KindLimit, fmt.Errorf("it has more than %d bytes", limit))
	}
	return body, nil
}
