// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"io"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// finish makes a blob of the upload: bytes first, if they need a place of their own, then the
// row that names them.
func (w *writing) finish(ctx context.Context, c *call) error {
	if ctx.Err() != nil { // the client has left, and may come back
		return errors.Join(ctx.Err(), w.save(ctx))
	}
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
		return errors.Join(err, w.giveUp(ctx))
	}
	switch {
	case w.other != nil:
		got = want
	case want.Algorithm() != dossier.SHA256:
		if got, err = w.hashAgain(ctx, want); err != nil && w.anew {
			return errors.Join(err, w.remove(context.WithoutCancel(ctx)), w.letGo(ctx))
		}
		if err != nil {
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
		if w.anew {
			err = errors.Join(err, w.letGo(ctx))
		}
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
	return false, tx.DeleteSmallBlobs(ctx, []string{b.Key})
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
