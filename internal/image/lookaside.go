// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"dossier.dev/dossier"
)

// Limits of signatures by OpenPGP.
const (
	maxLooked    = 50      // of one image
	maxLookaside = 1 << 20 // bytes of one
)

// signatureHeader is what a registry says that keeps such signatures itself, an
// extension of its API by OpenShift.
const signatureHeader = "X-Registry-Supports-Signatures"

// noticing remembers what a registry says of itself when it is asked how it wants to be
// spoken to.
type noticing struct {
	next http.RoundTripper
	says *atomic.Bool
}

// RoundTrip implements http.RoundTripper.
func (n noticing) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := n.next.RoundTrip(req)
	if err == nil && strings.HasSuffix(req.URL.Path, "/v2/") && resp.Header.Get(signatureHeader) == "1" {
		n.says.Store(true)
	}
	return resp, err
}

// Signatures returns the signatures of a manifest that the registry keeps beside it
// (https://github.com/openshift/origin/blob/master/docs/image-signatures.md): none from
// one that does not say that it does.
func (r *Repository) Signatures(ctx context.Context, d dossier.Digest) ([][]byte, error) {
	var out [][]byte
	err := r.within(ctx, func(ctx context.Context) error {
		door, err := r.source.network.registry(r.source.ref.Registry)
		if err != nil {
			return err
		}
		if _, err := door.ping(ctx); err != nil || !door.signatures.Load() {
			return err
		}
		q := question{op: "listing signatures of", method: http.MethodGet, subject: r.source.ref.Name() + "@" + string(d), root: "/extensions/v2/", path: "signatures/" + string(d)}
		resp, err := r.source.ask(ctx, q)
		if dossier.KindOf(err) == dossier.KindNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(io.LimitReader(resp.Body, maxLooked*maxLookaside+1))
		if err != nil {
			return r.source.network.failure(q.op, q.subject, r.source.ref.Registry, err)
		}
		if len(b) > maxLooked*maxLookaside {
			return limitError(q.op, q.subject, "maxLookaside", maxLooked*maxLookaside, "there are more bytes")
		}
		out, err = keptSignatures(b)
		return err
	})
	return out, err
}

// keptSignatures reads a list of signatures. What is of another kind is left out.
func keptSignatures(b []byte) ([][]byte, error) {
	var list struct {
		Signatures []struct {
			Version int    `json:"schemaVersion"`
			Type    string `json:"type"`
			Content []byte `json:"content"`
		} `json:"signatures"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, &dossier.Error{Kind: dossier.KindCorrupt, Op: "reading list of signatures", Err: err}
	}
	var out [][]byte
	for _, s := range list.Signatures {
		if s.Version == 2 && s.Type == "atomic" && len(s.Content) <= maxLookaside && len(out) < maxLooked {
			out = append(out, s.Content)
		}
	}
	return out, nil
}

// Lookaside returns the signatures of a manifest that lie beside registries
// (containers-registries.d(5)): place is a URL file:///DIR, http or https, below which
// they lie as REPOSITORY@ALGORITHM=HEX/signature-1 and so on. Offline only those in
// files are read. KindUnavailable, KindDenied, KindLimit.
func (c *Client) Lookaside(ctx context.Context, place, repository string, d dossier.Digest) ([][]byte, error) {
	const op = "reading signatures at"
	base, err := url.Parse(place)
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Subject: place, Err: err}
	}
	read := func(u *url.URL) ([]byte, error) { return readSignature(u.Path) }
	if base.Scheme != "file" {
		if c.Offline {
			return nil, nil
		}
		n, err := c.net()
		if err != nil {
			return nil, err
		}
		limits := c.Limits.withDefaults()
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limits.Time)
		defer cancel()
		read = func(u *url.URL) ([]byte, error) { return n.signature(ctx, u) }
	}
	var out [][]byte
	for len(out) < maxLooked {
		u := *base
		u.Path = fmt.Sprintf("%s/%s@%s=%s/signature-%d", strings.TrimRight(base.Path, "/"), repository, d.Algorithm(), d.Hex(), len(out)+1)
		b, err := read(&u)
		if dossier.KindOf(err) == dossier.KindNotFound {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// readSignature reads one from a file.
func readSignature(path string) ([]byte, error) {
	const op = "reading signature"
	f, err := os.Open(filepath.FromSlash(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &dossier.Error{Kind: dossier.KindNotFound, Op: op, Subject: path, Err: fs.ErrNotExist}
	}
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindUnavailable, Op: op, Subject: path, Err: err}
	}
	defer f.Close()
	return oneSignature(op, path, f)
}

// signature reads one from a server, which gets no credentials.
func (n *network) signature(ctx context.Context, u *url.URL) ([]byte, error) {
	const op = "reading signature"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Subject: u.String(), Err: err}
	}
	resp, err := n.follow(req, "")
	if err != nil {
		return nil, n.failure(op, u.String(), u.Host, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, statusError(op, u.String(), u.Host, false, resp)
	}
	b, err := oneSignature(op, u.String(), resp.Body)
	if err != nil && dossier.KindOf(err) != dossier.KindLimit {
		return nil, n.failure(op, u.String(), u.Host, err)
	}
	return b, err
}

func oneSignature(op, subject string, r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxLookaside+1))
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindUnavailable, Op: op, Subject: subject, Err: err}
	}
	if len(b) > maxLookaside {
		return nil, limitError(op, subject, "maxLookaside", maxLookaside, "it has more bytes")
	}
	return b, nil
}
