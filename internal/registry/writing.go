// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha512"
	"encoding"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
	"dossier.dev/dossier/internal/registry/small"
	"dossier.dev/dossier/internal/store"
)

// writing is an upload that this request writes, and nobody else does unless it is unheld.
// The blob store computes SHA-256; another hash is computed here.
type writing struct {
	*Handler
	upload   store.Upload
	before   store.Upload // as it was when it was opened
	blob     blob.Writer
	other    hash.Hash // of upload.Algorithm; nil: SHA-256, or not known from the start
	promised int64     // bytes by the Content-Range; -1: there is none
	unheld   bool      // nobody holds the upload: see claim
	anew     bool      // all that it had is in its row, which stays whatever becomes of this request
}

// shortBody is how large a body is at most for which an upload is not held.
const shortBody = 1 << 20

// write opens the upload that a request is about. When it has no bytes yet, or only such
// as lie in its row, those of a short body go to a key that nobody else knows or to memory.
// So the upload need not be held while they come, only claimed when they have come: that
// saves a transaction.
func (c *call) write(ctx context.Context) (*writing, error) {
	if c.r.ContentLength < 0 || c.r.ContentLength > shortBody {
		return c.hold(ctx)
	}
	var u store.Upload
	err := c.config.Store.View(ctx, func(r store.Reader) (err error) {
		u, err = c.find(ctx, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	_, inRow := small.Content(u.Token)
	if u.Token != nil && !inRow || u.Holder != "" {
		return c.hold(ctx)
	}
	w := &writing{Handler: c.Handler, upload: u, unheld: true}
	w.upload.Holder = rand.Text()
	return w, w.open(ctx, c)
}

// claim holds an upload for the rest of a transaction, if it is not held since long. When
// somebody else was quicker, what they wrote is the upload, and what came here is nothing.
func (w *writing) claim(ctx context.Context, tx store.Tx) error {
	if !w.unheld {
		return nil
	}
	now := w.now()
	u, err := tx.HoldUpload(ctx, w.upload.Repository, w.upload.ID, w.upload.Holder, now, now.Add(holdFor))
	if err == nil && !bytes.Equal(u.Token, w.upload.Token) {
		err = fault(CodeUploadInvalid, "another request has written to it meanwhile; ask where the upload stands, and go on from there")
	}
	return when(when(err, dossier.KindNotFound, CodeUploadUnknown), dossier.KindConflict, CodeUploadInvalid)
}

// hold takes the upload that a request is about and opens it.
func (c *call) hold(ctx context.Context) (*writing, error) {
	w := &writing{Handler: c.Handler}
	holder := rand.Text()
	err := c.config.Store.UpdateSoon(ctx, func(tx store.Tx) (err error) {
		now := c.now()
		w.upload, err = tx.HoldUpload(ctx, c.Repository, c.Upload, holder, now, now.Add(holdFor))
		if err == nil {
			return c.owns(w.upload) // the transaction undoes it
		}
		if _, missing := c.find(ctx, tx); missing != nil {
			return missing
		}
		return err
	})
	if err != nil {
		return nil, when(when(err, dossier.KindNotFound, CodeUploadUnknown), dossier.KindConflict, CodeUploadInvalid)
	}
	err = w.open(ctx, c)
	if dossier.KindOf(err) == dossier.KindNotFound && !w.anew {
		// A crash came between the blob and its row.
		return nil, errors.Join(fault(CodeUploadUnknown, "what was uploaded is gone; begin anew"), w.end(ctx))
	}
	if err != nil {
		return nil, errors.Join(err, w.letGo(ctx))
	}
	return w, nil
}

// open opens the blob where the upload stands.
func (w *writing) open(ctx context.Context, c *call) (err error) {
	u := &w.upload
	w.before = *u
	content, inRow := small.Content(u.Token)
	w.anew = u.Token == nil || inRow
	if w.promised, err = c.promised(w.before); err != nil {
		return err
	}
	if u.Token == nil && c.Kind == KindUploadEnd {
		u.Algorithm = c.Digest.Algorithm() // all bytes come with this request
	}
	if w.anew {
		u.Key, w.blob = "", small.NewWriter(content)
		if coming := c.coming(); int64(len(content))+coming > w.config.MaxSmall {
			return w.moveOut(ctx)
		}
		return nil
	}
	if u.Algorithm == dossier.SHA512 {
		w.other = sha512.New()
		if err := w.other.(encoding.BinaryUnmarshaler).UnmarshalBinary(u.Hash); err != nil {
			return &dossier.Error{Kind: dossier.KindInternal, Op: "resuming upload", Subject: u.ID, Err: err}
		}
	}
	w.blob, err = w.config.Blobs.Resume(ctx, u.Key, u.Token)
	return err
}

// coming is how many bytes the body of a request has; 0 also when that is not known.
func (c *call) coming() int64 {
	if c.Kind == KindUploadCancel {
		return 0
	}
	return max(0, c.r.ContentLength)
}

// promised returns how many bytes the Content-Range of a request promises, or -1. When they do
// not go on where the upload stands, the client is told where that is.
func (c *call) promised(u store.Upload) (int64, error) {
	if c.Kind == KindUploadCancel {
		return -1, nil
	}
	n, err := contentRange(c.r.Header.Get("Content-Range"), u.Size, c.r.ContentLength)
	if err != nil && u.ID != "" {
		c.w.Header().Set("Location", "/v2/"+c.Repository+"/blobs/uploads/"+u.ID)
		c.w.Header().Set("Range", fmt.Sprintf("0-%d", max(0, u.Size-1)))
	}
	return n, err
}

// moveOut moves a blob that grows too large for a row to a key of its own. An attempt that
// left no token left nothing, so each has another.
func (w *writing) moveOut(ctx context.Context) error {
	content, _ := w.inRow()
	key := blob.NewKey()
	to, err := w.config.Blobs.Create(ctx, key)
	if err != nil {
		return err
	}
	w.upload.Key, w.blob = key, to
	if w.upload.Algorithm == dossier.SHA512 {
		w.other = sha512.New()
		w.other.Write(content)
	}
	if len(content) == 0 {
		return nil
	}
	if _, err := to.Append(ctx, bytes.NewReader(content)); err != nil {
		return errors.Join(err, to.Abort(context.WithoutCancel(ctx)))
	}
	return nil
}

// add appends what a reader gives, so many bytes if that is not negative. A blob that lies in
// a row stays there if all of it fits.
func (w *writing) add(ctx context.Context, from io.Reader, size int64) (int64, error) {
	if row, ok := w.blob.(*small.Writer); ok {
		room := max(0, w.config.MaxSmall-row.Size())
		start, err := io.ReadAll(io.LimitReader(from, room+1))
		if int64(len(start)) <= room {
			n, appendErr := row.Append(context.WithoutCancel(ctx), bytes.NewReader(start)) // what has come stays
			return n, errors.Join(appendErr, err)
		}
		if err := w.moveOut(ctx); err != nil {
			return 0, err
		}
		from = io.MultiReader(bytes.NewReader(start), from)
	}
	if w.other != nil {
		from = io.TeeReader(from, w.other)
	}
	return w.blob.Append(ctx, blob.Promised{Reader: from, Size: size})
}

// inRow returns the bytes of a blob that lies in a row.
func (w *writing) inRow() (content []byte, ok bool) {
	if m, ok := w.blob.(*small.Writer); ok {
		return m.Bytes(), true
	}
	return nil, false
}

// take appends the body of a request. When the client fails, what it had sent is
// kept, and it may go on from there; when the store does, the upload is lost.
func (w *writing) take(ctx context.Context, c *call) error {
	in := c.r.Body.(*body)
	in.left = w.config.MaxBlob - w.upload.Size
	defer in.rest()
	if w.upload.ID != "" && !w.unheld {
		in.beat = w.renewal(ctx)
	}
	from := io.Reader(gathered{in})
	if w.promised >= 0 {
		from = io.LimitReader(in, w.promised)
	}
	n, err := w.add(ctx, from, c.r.ContentLength)
	w.upload.Size += n
	switch {
	case err == nil && w.promised >= 0 && n != w.promised:
		err = fault(CodeSizeInvalid, "Content-Range promises %d bytes, there are %d", w.promised, n)
	case err == nil:
		return nil
	case errors.Is(in.err, errBlobTooLarge):
		return errors.Join(&Error{Code: CodeSizeInvalid, Err: errBlobTooLarge}, w.drop(ctx))
	case in.err == nil && ctx.Err() == nil:
		return errors.Join(err, w.giveUp(ctx))
	default:
		err = fault(CodeSizeInvalid, "the body ended early: %w", err)
	}
	return errors.Join(err, w.save(ctx))
}

// gathered reads on until it has half of what is asked for: a connection gives 32 KB at a
// time, and larger parts cost a file system less.
type gathered struct{ from io.Reader }

// Read implements io.Reader.
func (g gathered) Read(p []byte) (n int, err error) {
	for n < (len(p)+1)/2 && err == nil {
		var got int
		got, err = g.from.Read(p[n:])
		n += got
	}
	return n, err
}

// renewal returns a function that holds the upload longer when it is time to.
func (w *writing) renewal(ctx context.Context) func() error {
	renewed := time.Now()
	return func() error {
		if time.Since(renewed) < holdRenew {
			return nil
		}
		renewed = time.Now()
		return w.config.Store.UpdateSoon(ctx, func(tx store.Tx) error {
			return tx.RenewUpload(ctx, w.upload.ID, w.upload.Holder, w.now().Add(holdFor))
		})
	}
}

// cleanTime is how long what must be done after a client has left may take.
const cleanTime = 10 * time.Second

// save suspends the upload so that another request can go on with it. It is done
// even when the client has left.
func (w *writing) save(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	if w.upload.ID == "" { // nobody could go on
		return w.blob.Abort(ctx)
	}
	token, err := w.blob.Suspend(ctx)
	if err != nil && w.anew {
		return errors.Join(err, w.letGo(ctx))
	}
	if err != nil {
		return errors.Join(err, w.end(ctx))
	}
	u := w.upload
	u.Token, u.ExpiresAt = token, w.now().Add(w.config.UploadLife)
	if w.other != nil {
		if u.Hash, err = w.other.(encoding.BinaryMarshaler).MarshalBinary(); err != nil {
			return &dossier.Error{Kind: dossier.KindInternal, Op: "keeping upload", Subject: u.ID, Err: err}
		}
	}
	lost := false
	err = w.config.Store.UpdateSoon(ctx, func(tx store.Tx) error {
		err := w.claim(ctx, tx)
		if lost = err != nil; lost {
			return err
		}
		return tx.SaveUpload(ctx, u)
	})
	switch {
	case lost:
		return errors.Join(err, w.forget(ctx, token))
	case err != nil && w.anew: // whether the row has the token may not be known: the bytes stay
		err = errors.Join(err, w.letGo(ctx))
	}
	return when(err, dossier.KindConflict, CodeUploadInvalid)
}

// forget removes bytes that were suspended and that no upload names.
func (w *writing) forget(ctx context.Context, token []byte) error {
	if _, ok := w.inRow(); ok {
		return nil
	}
	b, err := w.config.Blobs.Resume(ctx, w.upload.Key, token)
	if err != nil {
		return err
	}
	return b.Abort(ctx)
}

// letGo gives up the hold, if there is one yet, and changes nothing.
func (w *writing) letGo(ctx context.Context) error {
	if w.unheld || w.upload.ID == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	err := w.config.Store.UpdateSoon(ctx, func(tx store.Tx) error { return tx.SaveUpload(ctx, w.before) })
	if dossier.KindOf(err) == dossier.KindConflict {
		return nil // a transaction of which that was not known had let go, or ended the upload
	}
	return err
}

// giveUp removes what came with this request when it could not be kept, and the upload too if
// that lost what it had.
func (w *writing) giveUp(ctx context.Context) error {
	if !w.anew {
		return w.drop(ctx)
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	return errors.Join(w.blob.Abort(clean), w.letGo(ctx))
}

// drop ends the upload and removes its bytes.
func (w *writing) drop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	return errors.Join(w.blob.Abort(ctx), w.end(ctx))
}

// end removes the row of the upload, if it has one.
func (w *writing) end(ctx context.Context) error {
	if w.upload.ID == "" {
		return nil
	}
	return w.config.Store.UpdateSoon(ctx, func(tx store.Tx) error {
		if err := w.claim(ctx, tx); err != nil {
			return err
		}
		return tx.EndUpload(ctx, w.upload.ID, w.upload.Holder)
	})
}
