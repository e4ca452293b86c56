// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/pattern"
	"dossier.dev/dossier/internal/store"
)

// beginUpload mounts a blob, takes a whole one, or begins an upload ("Pushing
// blobs").
func (c *call) beginUpload(ctx context.Context) error {
	if c.Mount != "" {
		mounted, err := c.mount(ctx)
		if err != nil {
			return err
		}
		if mounted {
			c.created(c.Mount)
			return nil
		}
	}
	if c.Digest != "" && c.Mount == "" {
		if err := c.takeWhole(ctx); err != nil {
			return err
		}
		c.created(c.Digest)
		return nil
	}
	u := store.Upload{
		ID: rand.Text(), Repository: c.Repository, Owner: c.who.String(), Algorithm: c.Algorithm, ExpiresAt: c.now().Add(c.config.UploadLife),
	}
	err := c.config.Store.UpdateSoon(ctx, func(tx store.Tx) error {
		if _, err := tx.PutRepository(ctx, c.Repository, c.now()); err != nil {
			return err
		}
		return tx.CreateUpload(ctx, u)
	})
	if err != nil {
		return err
	}
	c.standing(u, http.StatusAccepted)
	return nil
}

// mount links a blob that another repository holds ("Mounting a blob from
// another repository").
func (c *call) mount(ctx context.Context) (bool, error) {
	var from string
	err := c.config.Store.View(ctx, func(r store.Reader) (err error) {
		from, err = c.source(ctx, r)
		return err
	})
	if err == nil && from != "" {
		err = c.mountFrom(ctx, from)
	}
	if dossier.KindOf(err) == dossier.KindNotFound {
		return false, nil
	}
	return from != "", err
}

// maxHolders is how many of the repositories that hold a blob are looked at to
// find one that the caller may pull from.
const maxHolders = 10_000

// source returns the repository to mount a blob from: the one that is named, or
// any that holds it. One that the caller may not pull from is as if it did not
// hold it, so that nobody learns who has what. KindNotFound: there is none.
// CodeUnauthorized: a wider token would do.
func (c *call) source(ctx context.Context, r store.Reader) (string, error) {
	const atOnce = 200
	if c.From != "" {
		if ok, err := c.sees(ctx, c.From); !ok {
			return "", err
		}
		_, err := r.LinkedBlob(ctx, c.From, c.Mount)
		return c.From, err
	}
	after := ""
	var narrow error
	for range maxHolders / atOnce {
		holders, err := r.BlobHolders(ctx, c.Mount, after, atOnce)
		if err != nil {
			return "", err
		}
		for _, holder := range holders {
			ok, err := c.sees(ctx, holder)
			if ok {
				return holder, nil
			}
			narrow, after = cmp.Or(narrow, err), holder
		}
		if len(holders) < atOnce {
			break
		}
	}
	return "", narrow
}

// mountFrom links a blob while another repository holds it. KindNotFound: it no
// longer does.
func (c *call) mountFrom(ctx context.Context, from string) error {
	body := dossier.EventBody{Object: dossier.ObjectBlob, Source: c.config.Name + "/" + from}
	return c.config.Store.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.LinkedBlob(ctx, from, c.Mount); err != nil {
			return err
		}
		at := c.now()
		if _, err := tx.PutRepository(ctx, c.Repository, at); err != nil {
			return err
		}
		if err := tx.LinkBlob(ctx, c.Repository, c.Mount, at, at.Add(c.config.Lease)); err != nil {
			return err
		}
		return c.event(ctx, tx, dossier.FactMount, c.Mount, at, body)
	})
}

// created tells of a blob that is there.
func (c *call) created(d dossier.Digest) {
	header := c.w.Header()
	header.Set("Location", "/v2/"+c.Repository+"/blobs/"+string(d))
	header.Set("Docker-Content-Digest", string(d))
	c.w.WriteHeader(http.StatusCreated)
}

// standing tells where an upload stands.
func (c *call) standing(u store.Upload, status int) {
	header := c.w.Header()
	header.Set("Location", "/v2/"+c.Repository+"/blobs/uploads/"+u.ID)
	header.Set("Docker-Upload-Uuid", u.ID)
	header.Set("Range", fmt.Sprintf("0-%d", max(0, u.Size-1)))
	c.w.WriteHeader(status)
}

// uploadStatus tells where an upload stands.
func (c *call) uploadStatus(ctx context.Context) error {
	var u store.Upload
	err := c.config.Store.View(ctx, func(r store.Reader) (err error) {
		u, err = c.find(ctx, r)
		return err
	})
	if err != nil {
		return err
	}
	c.standing(u, http.StatusNoContent)
	return nil
}

// find returns the upload that a request is about. One that somebody else began
// is as if it were not there.
func (c *call) find(ctx context.Context, r store.Reader) (store.Upload, error) {
	u, err := r.Upload(ctx, c.Repository, c.Upload)
	if err == nil {
		err = c.owns(u)
	}
	return u, when(err, dossier.KindNotFound, CodeUploadUnknown)
}

// owns fails when somebody else began an upload.
func (c *call) owns(u store.Upload) error {
	if u.Owner != c.who.String() {
		return fault(CodeUploadUnknown, "there is no such upload")
	}
	return nil
}

// addChunk adds bytes to an upload.
func (c *call) addChunk(ctx context.Context) error {
	w, err := c.write(ctx)
	if err != nil {
		return err
	}
	if err := w.take(ctx, c); err != nil {
		return err
	}
	if err := w.save(ctx); err != nil {
		return err
	}
	c.standing(w.upload, http.StatusAccepted)
	return nil
}

// endUpload adds the last bytes, if there are any, and makes a blob of the upload.
func (c *call) endUpload(ctx context.Context) error {
	w, err := c.write(ctx)
	if err != nil {
		return err
	}
	if err := w.take(ctx, c); err != nil {
		return err
	}
	if err := w.finish(ctx, c); err != nil {
		return err
	}
	c.created(c.Digest)
	return nil
}

// cancelUpload ends an upload ("Canceling a blob upload").
func (c *call) cancelUpload(ctx context.Context) error {
	w, err := c.hold(ctx)
	if err != nil {
		return err
	}
	if err := w.drop(ctx); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// takeWhole takes a blob that comes with the request that announces it.
func (c *call) takeWhole(ctx context.Context) error {
	w := &writing{Handler: c.Handler, upload: store.Upload{Repository: c.Repository, Algorithm: c.Digest.Algorithm()}}
	if err := w.open(ctx, c); err != nil {
		return err
	}
	if err := w.take(ctx, c); err != nil {
		return err
	}
	return w.finish(ctx, c)
}

var rangePattern = pattern.New(`^(?:bytes[ =])?([0-9]{1,18})-([0-9]{1,18})(?:/(?:[0-9]{1,18}|\*))?$`)

// contentRange reads the Content-Range of a chunk, FIRST-LAST, and returns how
// many bytes it promises, or -1 when there is none.
func contentRange(header string, size, length int64) (int64, error) {
	if header == "" {
		return -1, nil
	}
	m := rangePattern.FindStringSubmatch(header)
	if m == nil {
		return 0, fault(CodeSizeInvalid, "the Content-Range is malformed")
	}
	first, _ := strconv.ParseInt(m[1], 10, 64) // digits that fit
	last, _ := strconv.ParseInt(m[2], 10, 64)
	switch {
	case first != size:
		return 0, fault(CodeRangeInvalid, "the chunk begins at %d, the upload stands at %d", first, size)
	case last < first:
		return 0, fault(CodeRangeInvalid, "the chunk ends before it begins")
	case length >= 0 && length != last-first+1:
		return 0, fault(CodeSizeInvalid, "Content-Range promises %d bytes, Content-Length %d", last-first+1, length)
	}
	return last - first + 1, nil
}

// How long an upload is held after its writer was last heard of, and how often
// the writer is. A client has MaxReadTimeout at most for each part, which must be less.
const (
	holdFor   = time.Minute
	holdRenew = 10 * time.Second
)
