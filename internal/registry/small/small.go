// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package small keeps blobs that are so small that a file or an object of their own would
// cost more than the row that names them: their bytes lie in the database (store.SmallKey)
// and come with the transaction that names them. Most configurations are that small.
//
// A Writer has such bytes in memory; while an upload is under way its token holds them.
package small

import (
	"bytes"
	"context"
	"errors"
	"io"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
	"dossier.dev/dossier/internal/store"
)

// Max is how many bytes a blob has at most that lies in a row: a token has room for them
// (blob.MaxToken).
const Max = 16 << 10

// blobs is a [blob.Store] that finds bytes in rows, too. What it is asked to write goes
// to the other store.
type blobs struct {
	blob.Store
	rows store.Store
}

// Over returns a [blob.Store] that finds what lies in the rows of a database and what lies
// in another store. It lists and prunes the other only.
func Over(other blob.Store, rows store.Store) blob.Store { return blobs{other, rows} }

// Open implements [blob.Store]. The bytes can be sought in.
func (b blobs) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if !store.IsSmallKey(key) {
		return b.Store.Open(ctx, key, offset, length)
	}
	content, err := b.content(ctx, key)
	if err != nil {
		return nil, err
	}
	if offset < 0 || offset > int64(len(content)) {
		return nil, dossier.Errorf(dossier.KindInvalid, "opening blob", key, "the offset is beyond the end")
	}
	content = content[offset:]
	if length >= 0 && length < int64(len(content)) {
		content = content[:length]
	}
	return reader{bytes.NewReader(content)}, nil
}

// reader reads bytes that need no closing.
type reader struct{ *bytes.Reader }

// Close implements io.Closer.
func (reader) Close() error { return nil }

func (b blobs) content(ctx context.Context, key string) (content []byte, err error) {
	err = b.rows.View(ctx, func(r store.Reader) (err error) {
		content, err = r.SmallBlob(ctx, key)
		return err
	})
	return content, err
}

// Stat implements [blob.Store]. A row does not tell its time.
func (b blobs) Stat(ctx context.Context, key string) (blob.Info, error) {
	if !store.IsSmallKey(key) {
		return b.Store.Stat(ctx, key)
	}
	content, err := b.content(ctx, key)
	if err != nil {
		return blob.Info{}, err
	}
	return blob.Info{Key: key, Size: int64(len(content))}, nil
}

// Delete implements [blob.Store].
func (b blobs) Delete(ctx context.Context, key string) error {
	if !store.IsSmallKey(key) {
		return b.Store.Delete(ctx, key)
	}
	return b.rows.Update(ctx, func(tx store.Tx) error { return tx.DeleteSmallBlobs(ctx, []string{key}) })
}

// mark begins the tokens of a Writer. Those of other stores are JSON.
const mark = 's'

// Content returns what was written before a token was made. ok: it is that of a Writer.
func Content(t blob.Token) (content []byte, ok bool) {
	if len(t) == 0 || t[0] != mark {
		return nil, false
	}
	return t[1:], true
}

// Writer has the bytes of a blob in memory. It is a [blob.Writer] but for this: who
// commits it has to keep Bytes.
type Writer struct {
	content []byte
	ended   bool
}

var (
	errEnded    = errors.New("the upload has ended")
	errTooLarge = errors.New("it is too large for a row")
)

// NewWriter returns a Writer to which something was written already.
func NewWriter(content []byte) *Writer { return &Writer{content: content} }

// Bytes returns what was written.
func (w *Writer) Bytes() []byte { return w.content }

// Append implements [blob.Writer]. What would be larger than Max is a KindLimit error.
func (w *Writer) Append(ctx context.Context, r io.Reader) (int64, error) {
	if err := w.check(ctx); err != nil {
		return 0, err
	}
	was := len(w.content)
	more, err := io.ReadAll(io.LimitReader(r, int64(Max-was)+1))
	fits := more[:min(len(more), Max-was)]
	w.content = append(w.content[:was:was], fits...) // a token may share what was there
	if err == nil && len(fits) < len(more) {
		err = &dossier.Error{Kind: dossier.KindLimit, Op: "writing blob", Err: errTooLarge}
	}
	return int64(len(fits)), err
}

// check fails when the Writer has ended or nobody waits.
func (w *Writer) check(ctx context.Context) error {
	if w.ended {
		return &dossier.Error{Kind: dossier.KindInvalid, Op: "writing blob", Err: errEnded}
	}
	return ctx.Err()
}

// Size implements [blob.Writer].
func (w *Writer) Size() int64 { return int64(len(w.content)) }

// Suspend implements [blob.Writer].
func (w *Writer) Suspend(ctx context.Context) (blob.Token, error) {
	if err := w.check(ctx); err != nil {
		return nil, err
	}
	w.ended = true
	return append(blob.Token{mark}, w.content...), nil
}

// Commit implements [blob.Writer], but for keeping the bytes.
func (w *Writer) Commit(ctx context.Context) (size int64, sha256 dossier.Digest, err error) {
	if err := w.check(ctx); err != nil {
		return 0, "", err
	}
	w.ended = true
	return w.Size(), dossier.FromBytes(w.content), nil
}

// Abort implements [blob.Writer].
func (w *Writer) Abort(context.Context) error {
	w.ended = true
	return nil
}
