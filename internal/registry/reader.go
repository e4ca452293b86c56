// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
	"dossier.dev/dossier/internal/registry/care"
	"dossier.dev/dossier/internal/store"
)

// getBlob serves a blob, whole or in part (distribution spec, "Pulling blobs").
func (c *call) getBlob(ctx context.Context) error {
	var b store.LinkedBlob
	err := c.config.Store.View(ctx, func(r store.Reader) (err error) {
		b, err = r.LinkedBlob(ctx, c.Repository, c.Digest)
		return c.explain(ctx, r, err)
	})
	if err == nil && c.r.Method == http.MethodHead { // who asks may rely on it
		err = c.renew(ctx, store.Tx.LeaseBlob, c.Digest, b.KeptUntil)
		if dossier.KindOf(err) == dossier.KindNotFound { // just now
			err = c.config.Store.View(ctx, func(r store.Reader) error { return c.explain(ctx, r, err) })
		}
	}
	if err != nil {
		return when(err, dossier.KindNotFound, CodeBlobUnknown)
	}
	return c.sendBlob(ctx, b.Blob)
}

// sendBlob sends a blob that is kept. One of which it can be seen at once that it
// is damaged is not sent, and that is written down; its error has KindNotFound.
func (c *call) sendBlob(ctx context.Context, b store.Blob) error {
	content := &lazy{ctx: ctx, blobs: c.config.Blobs, blob: b}
	defer content.Close()
	var from io.ReadSeeker = content
	if c.r.Method == http.MethodGet {
		whole, err := c.config.Blobs.Open(ctx, b.Key, 0, -1)
		if dossier.KindOf(err) == dossier.KindNotFound {
			return c.damaged(ctx, b, care.Missing)
		}
		if care.IsBadRow(b.Key, err) {
			return c.damaged(ctx, b, care.BadRow)
		}
		if err != nil {
			return err
		}
		defer whole.Close()
		if file, ok := whole.(io.ReadSeeker); ok {
			damage, err := checkSize(file, b.Size)
			if err != nil {
				return err
			}
			if damage != "" {
				return c.damaged(ctx, b, damage)
			}
			from = file
		} else {
			content.open = whole
		}
	}
	c.serve(from, c.Digest, "application/octet-stream")
	return nil
}

// renew keeps what a client is told of, when that would end soon. When it has
// ended just now that is KindNotFound; any other failure must not hold up who
// only reads.
func (c *call) renew(ctx context.Context, lease func(store.Tx, context.Context, string, dossier.Digest, time.Time) error, d dossier.Digest, until time.Time) error {
	now := c.now()
	if until.Sub(now) >= c.config.Lease/2 {
		return nil
	}
	err := c.config.Store.Update(ctx, func(tx store.Tx) error {
		return lease(tx, ctx, c.Repository, d, now.Add(c.config.Lease))
	})
	if err == nil || dossier.KindOf(err) == dossier.KindNotFound {
		return err
	}
	c.config.Logger.WarnContext(ctx, "what a client was told of could not be leased", "repository", c.Repository, "digest", d, "error", err)
	return nil
}

// serve sends bytes by their digest, with ranges and conditions (RFC 9110).
func (c *call) serve(from io.ReadSeeker, d dossier.Digest, mediaType string) {
	c.describeBytes(d, mediaType)
	http.ServeContent(&part{recorder: c.w, r: c.r}, c.r, "", time.Time{}, from)
}

// describeBytes says what bytes that go by their digest are.
func (c *call) describeBytes(d dossier.Digest, mediaType string) {
	c.w.digest = d
	header := c.w.Header()
	header.Set("Content-Type", mediaType)
	header.Set("Docker-Content-Digest", string(d))
	header.Set("Etag", `"`+string(d)+`"`)
	header.Set("Cache-Control", "no-cache") // by digest one could say more, but access may end
}

// getManifest serves a manifest by digest or tag ("Pulling manifests").
func (c *call) getManifest(ctx context.Context) error {
	var m store.Manifest
	err := c.config.Store.View(ctx, func(r store.Reader) (err error) {
		if c.Tag == "" {
			m, err = r.Manifest(ctx, c.Repository, c.Digest)
			return err
		}
		m, err = r.TaggedManifest(ctx, c.Repository, c.Tag)
		if dossier.KindOf(err) == dossier.KindNotFound {
			if _, err := r.Repository(ctx, c.Repository); err != nil {
				return when(err, dossier.KindNotFound, CodeNameUnknown)
			}
		}
		return err
	})
	if err == nil {
		err = c.renew(ctx, store.Tx.LeaseManifest, m.Digest, m.KeptUntil)
	}
	if err != nil {
		return when(err, dossier.KindNotFound, CodeManifestUnknown)
	}
	c.serve(bytes.NewReader(m.Body), m.Digest, m.MediaType)
	return nil
}

// lazy is a blob that is opened where it is read.
type lazy struct {
	ctx    context.Context // of the request that it lives for
	blobs  blob.Store
	blob   store.Blob
	offset int64
	open   io.ReadCloser // nil: not opened yet
	at     int64         // where open stands
}

// Seek implements io.Seeker.
func (l *lazy) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += l.offset
	case io.SeekEnd:
		offset += l.blob.Size
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning")
	}
	l.offset = offset
	return offset, nil
}

// Read implements io.Reader.
func (l *lazy) Read(p []byte) (int, error) {
	if l.offset >= l.blob.Size {
		return 0, io.EOF
	}
	if l.open != nil && l.at != l.offset {
		if err := l.Close(); err != nil {
			return 0, err
		}
	}
	if l.open == nil {
		var err error
		l.at = l.offset
		if l.open, err = l.blobs.Open(l.ctx, l.blob.Key, l.offset, -1); err != nil {
			return 0, err
		}
	}
	n, err := l.open.Read(p)
	l.offset += int64(n)
	l.at = l.offset
	return n, err
}

// Close implements io.Closer.
func (l *lazy) Close() error {
	if l.open == nil {
		return nil
	}
	err := l.open.Close()
	l.open = nil
	return err
}

// Blob opens a blob of a repository, for whoever reads images in this process.
// KindNotFound: the repository does not hold it.
func (h *Handler) Blob(ctx context.Context, path string, d dossier.Digest) (io.ReadCloser, error) {
	var b store.LinkedBlob
	err := h.config.Store.View(ctx, func(r store.Reader) (err error) {
		b, err = r.LinkedBlob(ctx, path, d)
		return err
	})
	if err != nil {
		return nil, err
	}
	return h.config.Blobs.Open(ctx, b.Key, 0, -1)
}
