// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"dossier.dev/dossier"
)

// repository is a source: one repository of a registry.
type repository struct {
	network *network
	ref     dossier.Reference
}

func (n *network) repository(ref dossier.Reference) *repository {
	return &repository{network: n, ref: ref}
}

func (r *repository) name() string { return r.ref.Name() }
func (r *repository) close() error { return nil }

const opResolve = "resolving"

// resolve implements source.
func (r *repository) resolve(ctx context.Context) (Descriptor, error) {
	if r.ref.Digest != "" {
		return Descriptor{Digest: r.ref.Digest}, nil
	}
	resp, err := r.do(ctx, opResolve, http.MethodHead, manifests, r.ref.Tag)
	if err != nil && resp == nil {
		return Descriptor{}, err
	}
	if err == nil {
		_ = resp.Body.Close()
		if d, ok := headed(resp); ok {
			return d, nil
		}
	} else if resp.StatusCode != http.StatusMethodNotAllowed && resp.StatusCode != http.StatusBadRequest {
		return Descriptor{}, err
	}
	return r.resolveByGet(ctx)
}

// headed reads a descriptor from the head of an answer.
func headed(resp *http.Response) (Descriptor, bool) {
	d, err := dossier.ParseDigest(resp.Header.Get("Docker-Content-Digest"))
	if err != nil {
		return Descriptor{}, false
	}
	return Descriptor{
		MediaType: knownType(resp.Header.Get("Content-Type")),
		Digest:    d,
		Size:      max(0, resp.ContentLength),
	}, true
}

// resolveByGet reads the manifest to hash it: for a registry that does not say
// the digest.
func (r *repository) resolveByGet(ctx context.Context) (Descriptor, error) {
	resp, err := r.do(ctx, opResolve, http.MethodGet, manifests, r.ref.Tag)
	if err != nil {
		return Descriptor{}, err
	}
	limit := r.network.limits.Manifest
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return Descriptor{}, r.network.failure(opResolve, r.ref.String(), r.ref.Registry, err)
	}
	if int64(len(b)) > limit {
		return Descriptor{}, limitError(opResolve, r.ref.String(), "Manifest", limit, "the manifest has more bytes")
	}
	mediaType := knownType(resp.Header.Get("Content-Type"))
	if isSchema1(mediaType) {
		return Descriptor{}, schema1Error(r.ref.String())
	}
	return Descriptor{MediaType: mediaType, Digest: dossier.FromBytes(b), Size: int64(len(b))}, nil
}

// open implements source.
func (r *repository) open(ctx context.Context, p part, d dossier.Digest) (*body, error) {
	resp, err := r.do(ctx, opRead, http.MethodGet, p, string(d))
	if err != nil {
		return nil, err
	}
	b := &body{ReadCloser: resp.Body, size: resp.ContentLength}
	if p == manifests {
		b.mediaType = knownType(resp.Header.Get("Content-Type"))
		if isSchema1(b.mediaType) { // its digest is not that of its bytes
			return nil, errors.Join(schema1Error(r.ref.Name()+"@"+string(d)), resp.Body.Close())
		}
	}
	return b, nil
}

// do sends a request for a manifest or blob and returns the answer when it is
// 200. Another status is an error, given together with the answer, whose body
// is closed.
func (r *repository) do(ctx context.Context, op, method string, p part, what string) (*http.Response, error) {
	q := question{op: op, method: method, path: string(p) + "/" + what, subject: r.ref.Name() + ":" + what}
	if _, err := dossier.ParseDigest(what); err == nil {
		q.subject = r.ref.Name() + "@" + what
	}
	if p == manifests {
		q.accept = acceptManifests
	}
	return r.ask(ctx, q)
}

// question is what to ask a repository for.
type question struct {
	op, subject string // for errors
	method      string
	root        string // of the API; empty: /v2/
	path        string // below the repository
	query       url.Values
	accept      string // media types; empty: any
	from        int64  // the first byte that is wanted
	put         *put   // what is written; nil: it reads
}

// put is what is written to a repository.
type put struct {
	at          *url.URL // where the registry said; nil: at the path
	body        []byte
	contentType string
}

// ask is do for anything that lies in the repository. When bytes are wanted
// from somewhere on, the answer may be 206.
func (r *repository) ask(ctx context.Context, q question) (*http.Response, error) {
	reg, err := r.network.registry(r.ref.Registry)
	if err != nil {
		return nil, err
	}
	header, fresh, err := reg.authorize(ctx, r.ref.Repository, q.put != nil, nil)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", q.op, q.subject, err)
	}
	for {
		req, err := q.request(ctx, reg, r.ref.Repository)
		if err != nil {
			return nil, err
		}
		resp, err := r.network.followFrom(url.URL{Scheme: reg.scheme(), Host: reg.host}, req, header)
		if err != nil {
			return nil, r.network.failure(q.op, q.subject, r.ref.Registry, err)
		}
		if resp.StatusCode == http.StatusOK || q.from > 0 && resp.StatusCode == http.StatusPartialContent || q.put != nil && resp.StatusCode < 300 {
			return resp, nil
		}
		failed := statusError(q.op, q.subject, r.ref.Registry, header != "", resp)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized || fresh {
			return resp, failed
		}
		// The credential may have run out before its time.
		if header, fresh, err = reg.authorize(ctx, r.ref.Repository, q.put != nil, &header); err != nil {
			return nil, fmt.Errorf("%s %s: %w", q.op, q.subject, err)
		}
	}
}

// request makes the request to a registry.
func (q question) request(ctx context.Context, reg *registry, repository string) (*http.Request, error) {
	u := &url.URL{Scheme: reg.scheme(), Host: reg.host, Path: cmp.Or(q.root, "/v2/") + repository + "/" + q.path, RawQuery: q.query.Encode()}
	var body io.Reader
	if q.put != nil {
		if body = bytes.NewReader(q.put.body); q.put.at != nil {
			u = q.put.at
		}
	}
	req, err := http.NewRequestWithContext(ctx, q.method, u.String(), body)
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: q.op, Subject: q.subject, Err: err}
	}
	if q.put != nil && q.put.contentType != "" {
		req.Header.Set("Content-Type", q.put.contentType)
	}
	if q.accept != "" {
		req.Header.Set("Accept", q.accept)
	}
	if q.from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", q.from))
	}
	return req, nil
}

// scheme is what the registry was found to speak. It is set before any
// request to a repository.
func (r *registry) scheme() string { return schemeOf(r.challenge) }

// follow sends a request, and on where the registry redirects to. The
// credential goes to the registry alone: same scheme, same host, same port.
func (n *network) follow(req *http.Request, authorization string) (*http.Response, error) {
	return n.followFrom(*req.URL, req, authorization)
}

// followFrom is follow for a request that a registry, home, sent somewhere.
func (n *network) followFrom(home url.URL, req *http.Request, authorization string) (*http.Response, error) {
	for hops := 0; ; hops++ {
		if authorization != "" && req.URL.Scheme == home.Scheme && req.URL.Host == home.Host {
			req.Header.Set("Authorization", authorization)
		} else {
			req.Header.Del("Authorization")
		}
		resp, err := wire{n, n.base}.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		switch resp.StatusCode {
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		default:
			resp.Request = req
			return resp, nil
		}
		_, _ = io.CopyN(io.Discard, resp.Body, maxSideReply)
		_ = resp.Body.Close()
		if hops >= n.limits.Redirects {
			return nil, limitError("following redirects of", home.Host, "Redirects", int64(n.limits.Redirects), "there are more redirects")
		}
		next, err := redirect(req.URL, resp.Header.Get("Location"))
		if err != nil {
			return nil, err
		}
		req = req.Clone(req.Context())
		req.URL, req.Host = next, next.Host
		if req.GetBody != nil {
			if req.Body, err = req.GetBody(); err != nil {
				return nil, err
			}
		}
	}
}

// redirect returns where to go on. It refuses to leave TLS, and to be sent to
// an address of this machine or its network segment by somebody elsewhere.
func redirect(from *url.URL, location string) (*url.URL, error) {
	fail := func(why string) (*url.URL, error) {
		return nil, dossier.Errorf(dossier.KindDenied, "following a redirect of", from.Host, why)
	}
	next, err := from.Parse(location)
	switch {
	case err != nil || location == "" || next.Host == "":
		return fail("it leads to no address: " + quote(location))
	case next.Scheme != "https" && next.Scheme != "http":
		return fail("it leads to the scheme " + quote(next.Scheme))
	case from.Scheme == "https" && next.Scheme == "http":
		return fail("it leads away from TLS, to " + quote(next.Host))
	case isInward(next.Host) && !isInward(from.Host):
		return fail("it leads to a local address, " + quote(next.Host))
	}
	next.User = nil
	return next, nil
}
