// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
)

// bufferSize is how much Append reads and writes at a time.
const bufferSize = 256 << 10

// Room is made for what was promised, at least so much and at most so much at a time: a
// file in one piece costs less to write, and a disk that has no room says so before the
// bytes have come. Whoever promises more than comes takes no more than that from others.
const (
	leastRoom = 1 << 20
	mostRoom  = 64 << 20
)

// writer writes a file in uploads, which it has locked.
type writer struct {
	store *Store
	key   string
	file  *os.File
	hash  hash.Hash
	size  int64
	room  int64 // the size for which there is room, if that is more
	ended bool
}

// state is what a token holds, as JSON.
type state struct {
	Key  string `json:"key"`
	Size int64  `json:"size"`
	Hash []byte `json:"sha256"` // of the bytes so far, as crypto/sha256 writes its state
	// Boot is the run of the machine that has the bytes in its memory; they may
	// not be on the disk. "": they are.
	Boot string `json:"boot,omitempty"`
}

var errEnded = errors.New("the upload has ended")

// Create implements [blob.Store].
func (s *Store) Create(ctx context.Context, key string) (blob.Writer, error) {
	const op = "creating blob"
	if err := begin(ctx, op, key); err != nil {
		return nil, err
	}
	f, err := s.root.OpenFile(upload(key), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrNotExist) { // no fault of the key's
		return nil, &dossier.Error{Kind: dossier.KindUnavailable, Op: op, Subject: key, Err: fmt.Errorf("the directory of uploads is gone: %w", err),
			Hint: "Look at the data directory: it may not be mounted."}
	}
	if err != nil {
		return nil, fault(op, key, err)
	}
	w := &writer{store: s, key: key, file: f, hash: sha256.New()}
	// Who has the file has the key, unless it was used before.
	_, err = s.root.Lstat(place(key))
	switch {
	case err == nil:
		err = dossier.Errorf(dossier.KindConflict, op, key, "the key is used already")
	case errors.Is(err, fs.ErrNotExist):
		err = w.lock(op)
	}
	if err != nil {
		return nil, errors.Join(fault(op, key, err), w.remove())
	}
	return w, nil
}

// Resume implements [blob.Store].
func (s *Store) Resume(ctx context.Context, key string, token blob.Token) (blob.Writer, error) {
	const op = "resuming blob"
	if err := begin(ctx, op, key); err != nil {
		return nil, err
	}
	size, h, boot, err := parseToken(key, token)
	if err != nil {
		return nil, err
	}
	if boot != "" && boot != s.boot {
		return nil, dossier.Errorf(dossier.KindNotFound, op, key, "the machine was started anew since it was suspended")
	}
	f, err := s.root.OpenFile(upload(key), os.O_RDWR, 0)
	if err != nil {
		return nil, fault(op, key, err)
	}
	w := &writer{store: s, key: key, file: f, hash: h, size: size}
	if err := w.rewind(op); err != nil {
		return nil, errors.Join(fault(op, key, err), f.Close())
	}
	return w, nil
}

// rewind goes back to where the token was made.
func (w *writer) rewind(op string) error {
	if err := w.lock(op); err != nil {
		return err
	}
	same, err := w.store.isAt(w.file, upload(w.key))
	if err != nil {
		return err
	}
	if !same {
		return fs.ErrNotExist // ended before the lock was had
	}
	info, err := w.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() < w.size {
		return dossier.Errorf(dossier.KindCorrupt, op, w.key, fmt.Sprintf("%d bytes were suspended, %d are there", w.size, info.Size()))
	}
	if err := w.file.Truncate(w.size); err != nil {
		return err
	}
	_, err = w.file.Seek(w.size, io.SeekStart)
	return err
}

// lock makes sure that nobody else writes the file.
func (w *writer) lock(op string) error {
	ok, err := lock(w.file)
	if err == nil && !ok {
		err = dossier.Errorf(dossier.KindConflict, op, w.key, "somebody else writes it")
	}
	return err
}

// parseToken reads a token of a key.
func parseToken(key string, token blob.Token) (size int64, h hash.Hash, boot string, err error) {
	invalid := func(err error) (int64, hash.Hash, string, error) {
		return 0, nil, "", &dossier.Error{Kind: dossier.KindInvalid, Op: "reading upload token", Subject: key, Err: err}
	}
	if len(token) > blob.MaxToken {
		return invalid(errors.New("it is larger than MaxToken"))
	}
	var s state
	if err := json.Unmarshal(token, &s); err != nil {
		return invalid(err)
	}
	if s.Key != key || s.Size < 0 {
		return invalid(errors.New("it is of another upload"))
	}
	h = sha256.New()
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(s.Hash); err != nil {
		return invalid(err)
	}
	return s.Size, h, s.Boot, nil
}

// Peek implements [blob.Peeker].
func (w *writer) Peek() (blob.Peek, error) {
	const op = "reading blob"
	if w.ended {
		return nil, fault(op, w.key, errEnded)
	}
	f, err := w.store.root.Open(upload(w.key))
	if err != nil {
		return nil, fault(op, w.key, err)
	}
	return f, nil
}

// Size implements [blob.Writer].
func (w *writer) Size() int64 { return w.size }

// Append implements [blob.Writer].
func (w *writer) Append(ctx context.Context, r io.Reader) (n int64, err error) {
	const op = "writing blob"
	if w.ended {
		return 0, fault(op, w.key, errEnded)
	}
	buffer, ok := w.store.buffers.Get().(*[bufferSize]byte)
	if !ok {
		buffer = new([bufferSize]byte)
	}
	defer w.store.buffers.Put(buffer)
	promised := int64(-1)
	if p, ok := r.(blob.Promised); ok {
		promised = p.Size
	}
	for {
		if err := ctx.Err(); err != nil {
			return n, fault(op, w.key, err)
		}
		if err := w.makeRoom(promised - n); err != nil {
			return n, fault(op, w.key, err)
		}
		got, readErr := r.Read(buffer[:])
		written, err := w.file.Write(buffer[:got])
		w.hash.Write(buffer[:written])
		w.size += int64(written)
		n += int64(written)
		switch {
		case err != nil:
			return n, fault(op, w.key, err)
		case readErr == io.EOF:
			return n, nil
		case readErr != nil:
			return n, fmt.Errorf("reading bytes for blob %s: %w", w.key, readErr)
		}
	}
}

// makeRoom has the file system make room for bytes that are to come, if it can.
func (w *writer) makeRoom(promised int64) error {
	if promised < leastRoom || w.size < w.room {
		return nil
	}
	room := min(promised, mostRoom)
	if err := reserve(w.file, w.size, room); err != nil {
		return err
	}
	w.room = w.size + room
	return nil
}

// giveBack gives back the room that was not needed.
func (w *writer) giveBack() error {
	if w.room <= w.size {
		return nil
	}
	return w.file.Truncate(w.size)
}

// Suspend implements [blob.Writer]. It waits for the disk only where nothing
// tells one run of the machine from the next: Commit does in any case.
func (w *writer) Suspend(ctx context.Context) (blob.Token, error) {
	const op = "suspending blob"
	if err := w.end(ctx, op); err != nil {
		return nil, err
	}
	sum, err := w.hash.(encoding.BinaryMarshaler).MarshalBinary()
	if err == nil {
		err = w.giveBack()
	}
	if err == nil && w.store.boot == "" {
		if err = w.file.Sync(); err == nil {
			err = w.store.syncDir(uploadsDir)
		}
	}
	if err = errors.Join(err, w.file.Close()); err != nil {
		return nil, fault(op, w.key, err)
	}
	token, err := json.Marshal(state{Key: w.key, Size: w.size, Hash: sum, Boot: w.store.boot})
	if err != nil {
		return nil, fault(op, w.key, err)
	}
	return token, nil
}

// Commit implements [blob.Writer].
func (w *writer) Commit(ctx context.Context) (int64, dossier.Digest, error) {
	const op = "finishing blob"
	if err := w.end(ctx, op); err != nil {
		return 0, "", err
	}
	if err := w.publish(); err != nil {
		return 0, "", errors.Join(fault(op, w.key, err), w.remove())
	}
	if err := w.file.Close(); err != nil {
		return 0, "", fault(op, w.key, err)
	}
	return w.size, dossier.FromHash(dossier.SHA256, w.hash), nil
}

// publish moves the file to its place and makes both durable, at the same time: the
// place means nothing to anybody before that.
func (w *writer) publish() error {
	if err := w.giveBack(); err != nil {
		return err
	}
	target := place(w.key)
	if err := w.store.makeDir(path.Dir(target)); err != nil {
		return err
	}
	if err := w.store.root.Rename(upload(w.key), target); err != nil {
		return err
	}
	file := make(chan error, 1)
	go func() { file <- w.file.Sync() }()
	err := w.store.syncDir(path.Dir(target))
	if err = errors.Join(err, <-file); err != nil {
		return errors.Join(err, w.store.root.Remove(target))
	}
	return nil
}

// Abort implements [blob.Writer].
func (w *writer) Abort(context.Context) error {
	if w.ended {
		return nil
	}
	w.ended = true
	if err := w.remove(); err != nil {
		return fault("aborting blob", w.key, err)
	}
	return nil
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

// remove closes and removes the file.
func (w *writer) remove() error {
	err := w.store.root.Remove(upload(w.key))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, w.file.Close())
}
