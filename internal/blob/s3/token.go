// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"hash"

	"github.com/minio/minio-go/v7"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
)

// The limits of S3 and of tokens.
const (
	maxParts    = 10_000
	maxUploadID = 2 << 10  // bytes; Amazon's have some 130
	maxInline   = 32 << 10 // bytes of a tail that lies in the token; base64 makes 43 KiB of them
)

// state is what a token holds, as JSON. All parts have PartSize bytes; what
// follows them is the tail: in the token, or in an object.
//
// The ETags of the parts would not fit into a token: there is their sum, and the
// place lists them.
type state struct {
	Key      string `json:"key"`
	Mark     string `json:"mark"`
	Upload   string `json:"upload"` // ID of the multipart upload
	Size     int64  `json:"size"`
	Hash     []byte `json:"sha256"` // of the bytes so far, as crypto/sha256 writes its state
	PartSize int    `json:"partSize"`
	Parts    int    `json:"parts"`
	PartsSum []byte `json:"partsSum"`         // see sumParts
	Tail     []byte `json:"tail,omitempty"`   // when there is no object of it
	Stored   stored `json:"stored,omitzero"`  // the object of the tail
	Before   string `json:"before,omitempty"` // name of that of the token before, which must last as long as this token is not kept
}

// stored is a tail that is an object.
type stored struct {
	Name string `json:"name"`
	Sum  []byte `json:"sha256"`
}

// tailSize returns how many bytes follow the parts.
func (s state) tailSize() int64 { return s.Size - int64(s.Parts)*int64(s.PartSize) }

// parseToken reads a token of a key.
func parseToken(key string, token blob.Token) (state, hash.Hash, error) {
	invalid := func(err error) (state, hash.Hash, error) {
		return state{}, nil, &dossier.Error{Kind: dossier.KindInvalid, Op: "reading upload token", Subject: key, Err: err}
	}
	if len(token) > blob.MaxToken {
		return invalid(errors.New("it is larger than MaxToken"))
	}
	var s state
	if err := json.Unmarshal(token, &s); err != nil {
		return invalid(err)
	}
	if s.Key != key {
		return invalid(errors.New("it is of another upload"))
	}
	if err := s.check(); err != nil {
		return invalid(err)
	}
	h := sha256.New()
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(s.Hash); err != nil {
		return invalid(err)
	}
	return s, h, nil
}

// check finds what no token of ours says.
func (s state) check() error {
	tail := s.tailSize()
	switch {
	case s.Upload == "" || len(s.Upload) > maxUploadID:
		return errors.New("it names no upload")
	case blob.CheckKey(s.Mark) != nil:
		return errors.New("it has no mark")
	case s.PartSize < MinPartSize || s.PartSize > MaxPartSize, s.Parts < 0 || s.Parts >= maxParts:
		return errors.New("its parts cannot be")
	case tail < 0 || tail >= int64(s.PartSize):
		return errors.New("its size is not that of its parts and its tail")
	case s.Stored.Name == "" && int64(len(s.Tail)) != tail, s.Stored.Name != "" && len(s.Tail) > 0:
		return errors.New("its tail has another size")
	case s.Stored.Name != "" && blob.CheckKey(s.Stored.Name) != nil, s.Before != "" && blob.CheckKey(s.Before) != nil:
		return errors.New("its tail has no name of ours")
	}
	return nil
}

// sumParts returns a hash of the numbers and ETags of parts.
func sumParts(parts []minio.CompletePart) []byte {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d %s\n", p.PartNumber, p.ETag)
	}
	return h.Sum(nil)
}

// Resume implements [blob.Store].
func (s *Store) Resume(ctx context.Context, key string, token blob.Token) (blob.Writer, error) {
	const op = "resuming blob"
	if err := begin(ctx, op, key); err != nil {
		return nil, err
	}
	st, h, err := parseToken(key, token)
	if err != nil {
		return nil, err
	}
	if !s.claim(key) {
		return nil, dossier.Errorf(dossier.KindConflict, op, key, "somebody else writes it")
	}
	w := &writer{store: s, key: key, mark: st.Mark, hash: h, size: st.Size, partSize: st.PartSize, upload: st.Upload, from: st}
	if err := w.recall(ctx, op); err != nil {
		s.release(key)
		return nil, fault(op, key, err)
	}
	return w, nil
}

// recall makes sure that the parts and the tail of a token are there, and loads
// the tail.
func (w *writer) recall(ctx context.Context, op string) error {
	corrupt := func(err error) error {
		return &dossier.Error{Kind: dossier.KindCorrupt, Op: op, Subject: w.key, Err: err, Hint: hintAgain}
	}
	parts, err := w.store.listParts(ctx, w.key, w.upload, w.from.Parts)
	if err != nil {
		return err
	}
	for _, p := range parts {
		w.parts = append(w.parts, minio.CompletePart{PartNumber: p.PartNumber, ETag: p.ETag})
	}
	if len(parts) < w.from.Parts || !bytes.Equal(sumParts(w.parts), w.from.PartsSum) {
		return corrupt(fmt.Errorf("%d parts were suspended, and other ones are there", w.from.Parts))
	}
	if w.from.Stored.Name == "" {
		w.buffer = w.from.Tail
		return nil
	}
	w.buffer, err = w.loadTail(ctx)
	if is(err, minio.NoSuchKey) {
		return corrupt(errors.New("the last bytes that were suspended are gone"))
	}
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(w.buffer); !bytes.Equal(sum[:], w.from.Stored.Sum) {
		return corrupt(errors.New("the last bytes that were suspended are others now"))
	}
	return nil
}

// Suspend implements [blob.Writer].
func (w *writer) Suspend(ctx context.Context) (blob.Token, error) {
	const op = "suspending blob"
	if err := w.end(ctx, op); err != nil {
		return nil, err
	}
	defer w.leave()
	token, err := w.suspend(ctx)
	if err != nil {
		return nil, fault(op, w.key, err)
	}
	return token, nil
}

func (w *writer) suspend(ctx context.Context) (blob.Token, error) {
	if err := w.flush(ctx); err != nil {
		return nil, err
	}
	sum, err := w.hash.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return nil, err
	}
	next := state{
		Key: w.key, Mark: w.mark, Upload: w.upload, Size: w.size, Hash: sum,
		PartSize: w.partSize, Parts: len(w.parts), PartsSum: sumParts(w.parts),
	}
	switch {
	case len(w.buffer) <= maxInline:
		next.Tail = w.buffer
	case w.size == w.from.Size && w.from.Stored.Name != "": // nothing was appended
		next.Stored, next.Before = w.from.Stored, w.from.Before
	default:
		if next.Stored, err = w.storeTail(ctx); err != nil {
			return nil, err
		}
	}
	if next.Stored.Name != w.from.Stored.Name || next.Stored.Name == "" {
		next.Before = w.from.Stored.Name
		// The token that we went on from was kept, so nobody has the one before it.
		// An object that stays is removed with the upload.
		if w.from.Before != "" {
			_ = w.store.remove(ctx, w.tailName(w.from.Before))
		}
	}
	return json.Marshal(next)
}

// tailName returns the name of the object of a tail.
func (w *writer) tailName(name string) string { return w.store.tailDir(w.key) + name }
