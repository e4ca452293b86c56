// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package notary1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/tuf"
)

// Source is where metadata is read from.
type Source interface {
	// Fetch returns the file of a role, such as "targets/releases". KindNotFound. KindLimit: it has more than limit
	// bytes; no more than that are read. KindUnavailable, KindDenied, KindStorage.
	Fetch(ctx context.Context, role string, limit int64) ([]byte, error)
}

const op = "reading Notary metadata"

// Dir is a directory of metadata, as Docker keeps it: ~/.docker/trust/tuf/NAME/metadata.
type Dir string

// Fetch implements [Source].
func (d Dir) Fetch(_ context.Context, role string, limit int64) ([]byte, error) {
	fail := func(kind dossier.Kind, err error) ([]byte, error) {
		e := &dossier.Error{Kind: kind, Op: op, Subject: role, Err: err}
		if kind == dossier.KindNotFound {
			e.Hint = "--from names a directory or a server with the metadata"
		}
		return nil, e
	}
	root, err := os.OpenRoot(string(d)) // a link does not lead out of it
	if err != nil {
		return fail(dossier.KindNotFound, err)
	}
	defer root.Close()
	f, err := root.Open(filepath.FromSlash(role + ".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return fail(dossier.KindNotFound, fmt.Errorf("there is no %s.json in %s", role, d))
	}
	if err != nil {
		return fail(dossier.KindStorage, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return fail(dossier.KindStorage, err)
	}
	if int64(len(b)) > limit {
		return fail(dossier.KindLimit, fmt.Errorf("it has more than %d bytes", limit))
	}
	return b, nil
}

// Server is a Notary server, which is asked for one repository.
type Server struct {
	URL    string // that /v2 follows
	Name   string // of the repository, as references begin with it
	Token  string // bearer; empty: none
	Client *http.Client
}

// Fetch implements [Source].
func (s Server) Fetch(ctx context.Context, role string, limit int64) ([]byte, error) {
	from := tuf.HTTP{URL: strings.TrimSuffix(s.URL, "/") + "/v2/" + s.Name + "/_trust/tuf", Token: s.Token, Client: s.Client}
	return from.Fetch(ctx, role+".json", limit)
}
