// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/minio/minio-go/v7"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
)

const (
	inFlight    = 2        // parts of one Writer that are sent at a time, while the next is filled
	firstBuffer = 64 << 10 // bytes; it grows up to the size of a part
	cleaning    = 3        // requests' times, for what must be done even if the caller has gone
	markHeader  = "Dossier-Upload"
)

// writer fills a buffer and sends it as a part whenever it is full.
type writer struct {
	store    *Store
	key      string
	mark     string // tells the object of this upload from others of its name
	hash     hash.Hash
	size     int64
	partSize int
	upload   string               // ID of the multipart upload; empty: not begun
	parts    []minio.CompletePart // that were sent or are being sent, by number from 1
	flying   []*flight            // those of them that did not arrive yet, the oldest first
	buffer   []byte               // what follows the parts
	from     state                // of the token that it went on from
	ended    bool
}

// flight is a part on its way. One that failed stays until it is sent again.
type flight struct {
	number int
	bytes  []byte
	done   chan struct{} // closed when etag or err is there
	etag   string
	err    error
}

var errEnded = errors.New("the upload has ended")

// Create implements [blob.Store]. An upload of the key that is suspended, or that
// another process has begun, is found by Commit only.
func (s *Store) Create(ctx context.Context, key string) (blob.Writer, error) {
	const op = "creating blob"
	if err := begin(ctx, op, key); err != nil {
		return nil, err
	}
	if !s.claim(key) {
		return nil, dossier.Errorf(dossier.KindConflict, op, key, "somebody else writes it")
	}
	_, err := s.stat(ctx, key)
	if err == nil {
		err = dossier.Errorf(dossier.KindConflict, op, key, "the key is used already")
	}
	if !is(err, minio.NoSuchKey) {
		s.release(key)
		return nil, fault(op, key, err)
	}
	return &writer{store: s, key: key, mark: blob.NewKey(), hash: sha256.New(), partSize: s.partSize}, nil
}

// Size implements [blob.Writer].
func (w *writer) Size() int64 { return w.size }

// Append implements [blob.Writer]. When it returns, nothing is on its way any
// more; what did not arrive is sent again by the next method.
func (w *writer) Append(ctx context.Context, r io.Reader) (n int64, err error) {
	const op = "writing blob"
	if w.ended {
		return 0, fault(op, w.key, errEnded)
	}
	if err := w.resend(ctx); err != nil {
		return 0, fault(op, w.key, err)
	}
	n, readErr, err := w.fill(ctx, r)
	if landErr := w.land(0); err == nil {
		err = landErr
	}
	switch {
	case err != nil:
		return n, fault(op, w.key, err)
	case readErr != nil:
		return n, fmt.Errorf("reading bytes for blob %s: %w", w.key, readErr)
	}
	return n, nil
}

// fill reads all that r gives, and sends what is full.
func (w *writer) fill(ctx context.Context, r io.Reader) (n int64, readErr, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return n, nil, err
		}
		if len(w.buffer) == w.partSize {
			if err := w.launch(ctx); err != nil {
				return n, nil, err
			}
		}
		w.grow()
		free := w.buffer[len(w.buffer):min(cap(w.buffer), w.partSize)]
		got, readErr := r.Read(free)
		w.hash.Write(free[:got])
		w.buffer = w.buffer[:len(w.buffer)+got]
		w.size += int64(got)
		n += int64(got)
		if readErr == io.EOF {
			return n, nil, nil
		}
		if readErr != nil {
			return n, readErr, nil
		}
	}
}

// grow makes room in the buffer.
func (w *writer) grow() {
	if len(w.buffer) < cap(w.buffer) {
		return
	}
	size := min(max(2*len(w.buffer), firstBuffer), w.partSize)
	if len(w.parts) > 0 {
		size = w.partSize // it will be full
	}
	bigger := make([]byte, len(w.buffer), size)
	copy(bigger, w.buffer)
	w.buffer = bigger
}

// launch sends the full buffer on its way and begins a new one.
func (w *writer) launch(ctx context.Context) error {
	if len(w.parts) == maxParts-1 { // the last is for what is left at the end
		return &dossier.Error{Kind: dossier.KindLimit, Op: "writing blob", Subject: w.key, Hint: "Make parts larger: ?part-size=64MiB.",
			Err: fmt.Errorf("it has more than %d parts of %d bytes", maxParts-1, w.partSize)}
	}
	if err := w.open(ctx); err != nil {
		return err
	}
	if err := w.land(inFlight - 1); err != nil {
		return err
	}
	number := len(w.parts) + 1
	f := &flight{number: number, bytes: w.buffer}
	w.parts = append(w.parts, minio.CompletePart{PartNumber: number})
	w.flying = append(w.flying, f)
	w.buffer = nil
	f.start(ctx, w)
	return nil
}

// start sends a part in the background; land waits for it.
func (f *flight) start(ctx context.Context, w *writer) {
	f.done, f.err = make(chan struct{}), nil
	go func() {
		defer close(f.done)
		f.etag, f.err = w.store.putPart(ctx, w.key, w.upload, f.number, f.bytes)
	}()
}

// land waits until at most n parts are on their way. When one has failed it
// waits for all and returns the first error.
func (w *writer) land(n int) error {
	var first error
	var failed []*flight
	for len(w.flying) > n || (first != nil && len(w.flying) > 0) {
		f := w.flying[0]
		w.flying = w.flying[1:]
		<-f.done
		if f.err != nil {
			failed = append(failed, f)
			if first == nil {
				first = f.err
			}
			continue
		}
		w.parts[f.number-1].ETag = f.etag
	}
	w.flying = append(failed, w.flying...)
	return first
}

// resend sends again what did not arrive.
func (w *writer) resend(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, f := range w.flying {
		f.start(ctx, w)
	}
	return w.land(0)
}

// open begins the multipart upload.
func (w *writer) open(ctx context.Context) error {
	if w.upload != "" {
		return nil
	}
	return w.store.call(ctx, "CreateMultipartUpload", w.store.quick, func(ctx context.Context) error {
		id, err := w.store.core.NewMultipartUpload(ctx, w.store.bucket, w.store.object(w.key), w.options())
		if err == nil && (id == "" || len(id) > maxUploadID) {
			err = fmt.Errorf("the upload has an ID of %d bytes", len(id))
		}
		if err == nil {
			w.upload = id
		}
		return err
	})
}

// options are those of the object.
func (w *writer) options() minio.PutObjectOptions {
	return minio.PutObjectOptions{UserMetadata: map[string]string{markHeader: w.mark}, DisableContentSha256: true}
}

// flush sends what must be sent before the upload can be suspended.
func (w *writer) flush(ctx context.Context) error {
	if err := w.resend(ctx); err != nil {
		return err
	}
	if err := w.open(ctx); err != nil {
		return err
	}
	if len(w.buffer) < w.partSize {
		return nil
	}
	if err := w.launch(ctx); err != nil {
		return err
	}
	return w.land(0)
}

// Commit implements [blob.Writer]. KindConflict: another upload has the key.
func (w *writer) Commit(ctx context.Context) (int64, dossier.Digest, error) {
	const op = "finishing blob"
	if err := w.end(ctx, op); err != nil {
		return 0, "", err
	}
	defer w.leave()
	if err := w.finish(ctx); err != nil {
		return 0, "", fault(op, w.key, err)
	}
	return w.size, dossier.FromHash(dossier.SHA256, w.hash), nil
}

// finish makes an object of all bytes. The request that does so may have been
// heard although its answer says something else or never comes.
func (w *writer) finish(ctx context.Context) error {
	asked, err := false, w.resend(ctx)
	if err == nil && w.upload != "" && (len(w.buffer) > 0 || len(w.parts) == 0) {
		err = w.putLast(ctx)
	}
	if err == nil {
		asked, err = true, w.publish(ctx)
	}
	// What is left to do must be done, whatever becomes of the caller.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleaning*w.store.quick)
	defer cancel()
	if err != nil {
		err = w.settle(ctx, asked, err)
	}
	w.removeTails(ctx)
	return err
}

// settle finds out what came of an upload that failed, and makes sure that it
// comes to nothing unless it is done.
func (w *writer) settle(ctx context.Context, asked bool, err error) error {
	discardErr := w.discard(ctx) // once that is heard, no request of ours makes an object any more
	if !asked {
		return err
	}
	info, statErr := w.store.stat(ctx, w.key)
	switch {
	case statErr == nil && w.made(info):
		return nil
	case statErr == nil:
		return &dossier.Error{Kind: dossier.KindConflict, Op: "finishing blob", Subject: w.key,
			Err: fmt.Errorf("another upload has the key: %w", err)}
	case !is(statErr, minio.NoSuchKey):
		return fmt.Errorf("%w; whether the object was made is not known: %w", err, statErr)
	case discardErr != nil:
		return fmt.Errorf("%w; nor could the upload be removed: %w", err, discardErr)
	}
	return err
}

// putLast sends what is left as the last part, which may be of any size.
func (w *writer) putLast(ctx context.Context) error {
	number := len(w.parts) + 1
	etag, err := w.store.putPart(ctx, w.key, w.upload, number, w.buffer)
	w.parts = append(w.parts, minio.CompletePart{PartNumber: number, ETag: etag})
	return err
}

// publish asks the place to make the object, unless there is one of its name.
func (w *writer) publish(ctx context.Context) error {
	s, options := w.store, w.options()
	options.SetMatchETagExcept("*")
	if w.upload == "" {
		return s.call(ctx, "PutObject", s.slow, func(ctx context.Context) error {
			return s.put(ctx, s.object(w.key), w.buffer, options)
		})
	}
	options.UserMetadata = nil // was given when the upload began
	return s.call(ctx, "CompleteMultipartUpload", s.slow, func(ctx context.Context) error {
		_, err := s.core.CompleteMultipartUpload(ctx, s.bucket, s.object(w.key), w.upload, w.parts, options)
		return err
	})
}

// made reports whether an object is of this upload.
func (w *writer) made(info minio.ObjectInfo) bool {
	for name, value := range info.UserMetadata {
		if strings.EqualFold(name, markHeader) {
			return value == w.mark && info.Size == w.size
		}
	}
	return false
}

// Abort implements [blob.Writer]. It does so even when ctx has ended, for at most
// three times Config.Timeout.
func (w *writer) Abort(ctx context.Context) error {
	if w.ended {
		return nil
	}
	w.ended = true
	defer w.leave()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleaning*w.store.quick)
	defer cancel()
	if err := w.discard(ctx); err != nil {
		return fault("aborting blob", w.key, err)
	}
	w.removeTails(ctx)
	return nil
}

// discard removes the multipart upload.
func (w *writer) discard(ctx context.Context) error {
	if w.upload == "" {
		return nil
	}
	return w.store.abort(ctx, w.key, w.upload)
}

// removeTails removes the tails of the token that the writer went on from.
func (w *writer) removeTails(ctx context.Context) {
	for _, name := range []string{w.from.Stored.Name, w.from.Before} {
		if name != "" {
			_ = w.store.remove(ctx, w.tailName(name)) // what stays is removed by Prune
		}
	}
}

// end marks the writer as ended, unless the context has ended before it.
func (w *writer) end(ctx context.Context, op string) error {
	if w.ended {
		return fault(op, w.key, errEnded)
	}
	if err := ctx.Err(); err != nil {
		return fault(op, w.key, err)
	}
	w.ended = true
	return nil
}

// leave gives back the key and the memory.
func (w *writer) leave() {
	w.store.release(w.key)
	w.buffer, w.flying = nil, nil
}
