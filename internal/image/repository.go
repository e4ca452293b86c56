// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"dossier.dev/dossier"
)

// Repository is one repository of a registry, read document by document: for
// whoever passes on what is there. Errors are those of Client.Read. It is for
// one goroutine, but for Manifest and Blob.
type Repository struct {
	client *Client
	source *repository

	listed bool            // it was tried to list the tags, for HasTag
	there  bool            // and there is a list
	tags   map[string]bool // all; nil: not known

	// Straight asks for the index under the tag of a digest without a look whether there is
	// such a tag: for one image that costs less, for many more.
	Straight bool
}

// Repository returns the repository of a registry, host or host:port. Neither is
// looked at before something is read. KindUnavailable: the client is offline.
func (c *Client) Repository(registry, path string) (*Repository, error) {
	ref := dossier.Reference{Registry: registry, Repository: path}
	if c.Offline {
		return nil, dossier.Errorf(dossier.KindUnavailable, opRead, ref.Name(), "the network must not be used")
	}
	n, err := c.net()
	if err != nil {
		return nil, err
	}
	return &Repository{client: c, source: n.repository(ref)}, nil
}

// within runs f under the time limit of one document.
func (r *Repository) within(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, r.client.Limits.withDefaults().Time)
	defer cancel()
	if err := f(ctx); err != nil {
		return r.client.explain(ctx, r.source.name(), err)
	}
	return nil
}

// Head finds out what a tag names now, by HEAD where the registry can.
func (r *Repository) Head(ctx context.Context, tag string) (Descriptor, error) {
	var d Descriptor
	err := r.within(ctx, func(ctx context.Context) (err error) {
		at := *r.source
		at.ref.Tag = tag
		d, err = at.resolve(ctx)
		return err
	})
	return d, err
}

// Manifest reads an index or a manifest.
func (r *Repository) Manifest(ctx context.Context, d dossier.Digest) (Node, error) {
	var n Node
	err := r.within(ctx, func(ctx context.Context) error {
		body, err := r.source.open(ctx, manifests, d)
		if err != nil {
			return err
		}
		stated := body.mediaType
		b, err := readAll(opParse, body, Descriptor{Digest: d}, ceiling{"Manifest", r.client.Limits.withDefaults().Manifest})
		if err != nil {
			return err
		}
		n, err = ParseManifest(Descriptor{Digest: d, MediaType: stated}, b)
		return err
	})
	return n, err
}

// HeadBlob asks whether a blob is there and returns its size, or -1 when the
// registry does not say it.
func (r *Repository) HeadBlob(ctx context.Context, d dossier.Digest) (int64, error) {
	size := int64(-1)
	err := r.within(ctx, func(ctx context.Context) error {
		resp, err := r.source.do(ctx, opRead, http.MethodHead, blobs, string(d))
		if err != nil {
			return err
		}
		size = resp.ContentLength
		return resp.Body.Close()
	})
	return size, err
}

// Blob is the bytes of a blob on their way.
type Blob struct {
	io.ReadCloser
	Size int64 // -1: the registry did not say
}

// Blob begins to read a blob. The stream ends in io.EOF only when its digest and
// announced size are right; else in KindCorrupt. Where it breaks off it is begun
// again from there, Limits.Retries times without a byte at the most.
func (r *Repository) Blob(ctx context.Context, d dossier.Digest) (*Blob, error) {
	limits := r.client.Limits.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, limits.LayerTime)
	stream, err := r.source.resume(ctx, d, limits)
	if err != nil {
		err = r.client.explain(ctx, r.source.name(), err)
		cancel()
		return nil, err
	}
	size := stream.size
	// The size that the registry announces is checked like one that a parent states.
	checked, err := verify("reading blob", &body{ReadCloser: stream, size: size}, Descriptor{Digest: d, Size: max(0, size)}, ceiling{"Layer", limits.Layer})
	if err != nil {
		err = errors.Join(err, stream.Close())
		cancel()
		return nil, err
	}
	return &Blob{&ended{checked, cancel}, size}, nil
}

// ended is a stream whose context ends with it.
type ended struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (e *ended) Close() error {
	defer e.cancel()
	return e.ReadCloser.Close()
}

// maxPages is how many pages of a list are read: registries choose their length.
const maxPages = 100

// Tags lists up to n tags after last, in the order of the registry, and says
// whether there may be more. A registry that knows no pages gives all.
func (r *Repository) Tags(ctx context.Context, last string, n int) (tags []string, more bool, err error) {
	err = r.within(ctx, func(ctx context.Context) (err error) {
		tags, more, err = r.source.tags(ctx, last, n)
		return err
	})
	return tags, more, err
}

func (r *repository) tags(ctx context.Context, last string, n int) (tags []string, more bool, err error) {
	q := question{
		op: "listing tags of", method: http.MethodGet, subject: r.ref.Name(), path: "tags/list",
		query: url.Values{"n": {strconv.Itoa(n)}}, accept: "application/json",
	}
	if last != "" {
		q.query.Set("last", last)
	}
	resp, err := r.ask(ctx, q)
	if err != nil {
		return nil, false, err
	}
	b, err := r.readPage(q, resp)
	if err != nil {
		return nil, false, err
	}
	var list struct {
		Tags []string `json:"tags"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, false, &dossier.Error{Kind: dossier.KindCorrupt, Op: q.op, Subject: q.subject, Err: err}
	}
	for _, tag := range list.Tags {
		if ref, err := dossier.ParseReference("a/a:" + tag); err != nil || ref.Tag != tag {
			return nil, false, dossier.Errorf(dossier.KindCorrupt, q.op, q.subject, "the registry lists a tag that is none: "+quote(tag))
		}
	}
	if len(list.Tags) > n { // it knows no pages, and began at the beginning
		return list.Tags, false, nil
	}
	// Some cut a page off without saying so.
	return list.Tags, nextPage(resp.Header) != nil || len(list.Tags) == n, nil
}

// pages reads all pages of a list, which together have at most Limits.Manifest bytes.
func (r *repository) pages(ctx context.Context, q question, take func(page []byte) error) error {
	total := int64(0)
	for range maxPages {
		resp, err := r.ask(ctx, q)
		if err != nil {
			return err
		}
		b, err := r.readPage(q, resp)
		if err != nil {
			return err
		}
		if total += int64(len(b)); total > r.network.limits.Manifest {
			return limitError(q.op, q.subject, "Manifest", r.network.limits.Manifest, "the list has more bytes")
		}
		if err := take(b); err != nil {
			return err
		}
		if q.query = nextPage(resp.Header); q.query == nil {
			return nil
		}
	}
	return limitError(q.op, q.subject, "maxPages", maxPages, "there are more pages")
}

// readPage reads the body of an answer that is a list.
func (r *repository) readPage(q question, resp *http.Response) ([]byte, error) {
	limit := r.network.limits.Manifest
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, r.network.failure(q.op, q.subject, r.ref.Registry, err)
	}
	if int64(len(b)) > limit {
		return nil, limitError(q.op, q.subject, "Manifest", limit, "the list has more bytes")
	}
	return b, nil
}

// nextPage reads the Link header (RFC 8288) that leads to the next page. Only
// its query counts: the list stays where it is. nil: there is no next page.
func nextPage(h http.Header) url.Values {
	for _, link := range h.Values("Link") {
		target, rest, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(link), "<"), ">")
		if !ok || !strings.Contains(strings.ReplaceAll(rest, `"`, ""), "rel=next") {
			continue
		}
		u, err := url.Parse(target)
		if err != nil {
			return nil
		}
		if query, err := url.ParseQuery(u.RawQuery); err == nil && len(query) > 0 {
			return query
		}
	}
	return nil
}
