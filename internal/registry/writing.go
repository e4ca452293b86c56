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
	"net/http"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
	"dossier.dev/dossier/internal/registry/small"
	"dossier.dev/dossier/internal/store"
)

// writing is an upload that this request writes and nobody else does. The blob
// store computes SHA-256; another hash is computed here.
type writing struct {
	*Handler
	upload store.Upload
	blob   blob.Writer
	other  hash.Hash // of upload.Algorithm; nil: SHA-256, or not known from the start
	unheld bool      // nobody holds the upload: see claim
}

// shortBody is how many bytes may come to an upload before it is held.
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
	return w, w.open(ctx, c, c.r.ContentLength)
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
	err = w.open(ctx, c, c.r.ContentLength)
	if dossier.KindOf(err) == dossier.KindNotFound {
		// A crash came between the blob and its row.
		return nil, errors.Join(fault(CodeUploadUnknown, "what was uploaded is gone; begin anew"), w.end(ctx))
	}
	if err != nil {
		return nil, errors.Join(err, w.letGo(ctx))
	}
	return w, nil
}

// open opens the blob where the upload stands, to which so many bytes come; negative: it is
// not known. An attempt that left no token left nothing, so each has a key of its own.
func (w *writing) open(ctx context.Context, c *call, coming int64) (err error) {
	u := &w.upload
	content, inRow := small.Content(u.Token)
	anew := u.Token == nil || inRow
	if anew && coming >= 0 && int64(len(content))+coming <= w.config.MaxSmall {
		u.Key, w.blob = "", small.NewWriter(content)
		return nil
	}
	if u.Token == nil && c.Kind == KindUploadEnd {
		u.Algorithm = c.Digest.Algorithm() // all bytes come with this request
	}
	if u.Algorithm == dossier.SHA512 {
		w.other = sha512.New()
	}
	if anew {
		u.Key = blob.NewKey()
		if w.blob, err = w.config.Blobs.Create(ctx, u.Key); err != nil {
			return err
		}
		return w.moveOut(ctx, content)
	}
	if w.other != nil {
		if err := w.other.(encoding.BinaryUnmarshaler).UnmarshalBinary(u.Hash); err != nil {
			return &dossier.Error{Kind: dossier.KindInternal, Op: "resuming upload", Subject: u.ID, Err: err}
		}
	}
	w.blob, err = w.config.Blobs.Resume(ctx, u.Key, u.Token)
	return err
}

// moveOut begins a blob that grows too large for a row with what was in it.
func (w *writing) moveOut(ctx context.Context, content []byte) error {
	if len(content) == 0 {
		return nil
	}
	if w.other != nil {
		w.other.Write(content)
	}
	if _, err := w.blob.Append(ctx, bytes.NewReader(content)); err != nil {
		return errors.Join(err, w.blob.Abort(context.WithoutCancel(ctx)))
	}
	return nil
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
	promised, err := contentRange(c.r.Header.Get("Content-Range"), w.upload.Size, c.r.ContentLength)
	if err != nil {
		if saveErr := w.save(ctx); saveErr != nil {
			return errors.Join(err, saveErr)
		}
		c.w.Header().Set("Location", "/v2/"+c.Repository+"/blobs/uploads/"+w.upload.ID)
		c.w.Header().Set("Range", fmt.Sprintf("0-%d", max(0, w.upload.Size-1)))
		return err
	}
	in := c.r.Body.(*body)
	in.left = w.config.MaxBlob - w.upload.Size
	defer in.rest()
	if w.upload.ID != "" && !w.unheld {
		in.beat = w.renewal(ctx)
	}
	from := io.Reader(gathered{in})
	if promised >= 0 {
		from = io.LimitReader(in, promised)
	}
	if w.other != nil {
		from = io.TeeReader(from, w.other)
	}
	n, err := w.blob.Append(ctx, blob.Promised{Reader: from, Size: c.r.ContentLength})
	w.upload.Size += n
	switch {
	case err == nil && promised >= 0 && n != promised:
		err = fault(CodeSizeInvalid, "Content-Range promises %d bytes, there are %d", promised, n)
	case err == nil:
		return nil
	case errors.Is(in.err, errBlobTooLarge):
		return errors.Join(&Error{Code: CodeSizeInvalid, Err: errBlobTooLarge}, w.drop(ctx))
	case in.err == nil && ctx.Err() == nil:
		return errors.Join(err, w.drop(ctx))
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
	err = w.config.Store.UpdateSoon(ctx, func(tx store.Tx) error {
		if err := w.claim(ctx, tx); err != nil {
			return err
		}
		return tx.SaveUpload(ctx, u)
	})
	if err != nil && w.unheld {
		return errors.Join(err, w.forget(ctx, token))
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

// letGo gives up the hold and changes nothing.
func (w *writing) letGo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	return w.config.Store.UpdateSoon(ctx, func(tx store.Tx) error { return tx.SaveUpload(ctx, w.upload) })
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

// finish makes a blob of the upload: bytes first, then the row that names them.
func (w *writing) finish(ctx context.Context, c *call) error {
	want := c.Digest
	if want.Algorithm() != w.upload.Algorithm {
		w.other = nil // it was said to have another
	}
	if w.other != nil {
		if got := dossier.FromHash(w.upload.Algorithm, w.other); got != want {
			return errors.Join(wrongDigest(want, got), w.drop(ctx))
		}
	}
	size, got, err := w.blob.Commit(ctx)
	if err != nil {
		return errors.Join(err, w.end(context.WithoutCancel(ctx)))
	}
	switch {
	case w.other != nil:
		got = want
	case want.Algorithm() != dossier.SHA256:
		if got, err = w.hashAgain(ctx, want); err != nil {
			return errors.Join(err, w.discard(ctx))
		}
	}
	if got != want {
		return errors.Join(wrongDigest(want, got), w.discard(ctx))
	}
	content, inRow := w.inRow()
	kept, lost := false, false
	err = w.config.Store.Update(ctx, func(tx store.Tx) (err error) {
		if err := w.claim(ctx, tx); err != nil {
			lost = true
			return err
		}
		lost = false // when it is run again
		at := w.now()
		if _, err := tx.PutRepository(ctx, w.upload.Repository, at); err != nil {
			return err
		}
		b := store.Blob{Digest: want, Key: w.upload.Key, Size: size}
		if inRow {
			kept, err = putSmall(ctx, tx, b, content)
		} else {
			kept, err = tx.PutBlob(ctx, b)
		}
		if err != nil {
			return err
		}
		if err := tx.LinkBlob(ctx, w.upload.Repository, want, at, at.Add(w.config.Lease)); err != nil {
			return err
		}
		body := dossier.EventBody{Object: dossier.ObjectBlob, Size: size}
		if err := c.event(ctx, tx, dossier.FactPush, want, at, body); err != nil || w.upload.ID == "" {
			return err
		}
		return tx.EndUpload(ctx, w.upload.ID, w.upload.Holder)
	})
	if _, over := errors.AsType[*store.OverQuota](err); over {
		return errors.Join(err, w.discard(ctx))
	}
	if lost {
		return errors.Join(err, w.remove(context.WithoutCancel(ctx)))
	}
	if err != nil {
		// Whether the row was written may not be known: the bytes stay.
		return when(err, dossier.KindConflict, CodeUploadInvalid)
	}
	if !kept { // the same bytes were there
		if err := w.remove(context.WithoutCancel(ctx)); err != nil {
			w.config.Logger.WarnContext(ctx, "a blob that nobody needs could not be removed", "key", w.upload.Key, "error", err)
		}
	}
	return nil
}

// putSmall keeps a blob in a row, unless its bytes are kept already.
func putSmall(ctx context.Context, tx store.Tx, b store.Blob, content []byte) (kept bool, err error) {
	if b.Key, err = tx.PutSmallBlob(ctx, content); err != nil {
		return false, err
	}
	if kept, err = tx.PutBlob(ctx, b); err != nil || kept {
		return kept, err
	}
	return false, tx.DeleteSmallBlob(ctx, b.Key)
}

// remove removes committed bytes that no row names.
func (w *writing) remove(ctx context.Context) error {
	if _, ok := w.inRow(); ok {
		return nil // the transaction that would have kept them did not
	}
	return w.config.Blobs.Delete(ctx, w.upload.Key)
}

// hashAgain reads a blob whose digest has another algorithm than the upload was
// said to.
func (w *writing) hashAgain(ctx context.Context, want dossier.Digest) (dossier.Digest, error) {
	if content, ok := w.inRow(); ok {
		h := want.NewHash()
		h.Write(content)
		return dossier.FromHash(want.Algorithm(), h), nil
	}
	from, err := w.config.Blobs.Open(ctx, w.upload.Key, 0, -1)
	if err != nil {
		return "", err
	}
	defer from.Close()
	h := want.NewHash()
	if _, err := io.Copy(h, from); err != nil {
		return "", fmt.Errorf("reading blob %s: %w", w.upload.Key, err)
	}
	return dossier.FromHash(want.Algorithm(), h), nil
}

// discard removes committed bytes that no row names, and ends the upload.
func (w *writing) discard(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	return errors.Join(w.remove(ctx), w.end(ctx))
}

func wrongDigest(want, got dossier.Digest) error {
	return &Error{Code: CodeDigestInvalid, Detail: map[string]dossier.Digest{"want": want, "got": got},
		Err: fmt.Errorf("the bytes are %s, not %s", got, want)}
}

var _ http.Handler = (*Handler)(nil)
