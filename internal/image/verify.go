// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"fmt"
	"hash"
	"io"

	"dossier.dev/dossier"
)

// ceiling is a named limit of bytes.
type ceiling struct {
	name string
	n    int64
}

// readAll reads and closes body, which must have the digest of want, and its
// size when want has one.
func readAll(op string, body *body, want Descriptor, most ceiling) ([]byte, error) {
	r, err := verify(op, body, want, most)
	if err != nil {
		return nil, errors.Join(err, body.Close())
	}
	b, err := io.ReadAll(r)
	if closeErr := r.Close(); err == nil && closeErr != nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// verify returns body as a stream that ends in io.EOF only when all of it has
// the digest and size of want. It refuses at once what is announced to be too
// large.
func verify(op string, body *body, want Descriptor, most ceiling) (io.ReadCloser, error) {
	subject := string(want.Digest)
	h := want.Digest.NewHash()
	if h == nil {
		return nil, dossier.Errorf(dossier.KindInvalid, op, quote(subject), "it is no digest")
	}
	for _, announced := range []int64{want.Size, body.size} {
		if announced > most.n {
			return nil, limitError(op, subject, most.name, most.n, fmt.Sprintf("it has %d bytes", announced))
		}
	}
	if want.Size > 0 && body.size >= 0 && want.Size != body.size {
		return nil, sizeError(op, want, fmt.Sprint(body.size))
	}
	return &verified{op: op, body: body, want: want, most: most, hash: h}, nil
}

// verified checks a stream while it is read.
type verified struct {
	op   string
	body *body
	want Descriptor
	most ceiling
	hash hash.Hash
	n    int64
	err  error // sticky
}

// Read implements io.Reader. KindCorrupt: digest or size differ. KindLimit: it
// is larger than the limit. KindUnavailable: the source failed.
func (v *verified) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	n, err := v.body.Read(p)
	v.hash.Write(p[:n])
	v.n += int64(n)
	switch {
	case v.want.Size > 0 && v.n > v.want.Size:
		v.err = sizeError(v.op, v.want, "more")
	case v.n > v.most.n:
		v.err = limitError(v.op, string(v.want.Digest), v.most.name, v.most.n, "it has more bytes")
	case errors.Is(err, io.EOF):
		v.err = v.finish()
	case err != nil:
		v.err = sourceError(v.op, string(v.want.Digest), err)
	}
	if v.err != nil && !errors.Is(v.err, io.EOF) {
		return 0, v.err
	}
	return n, v.err
}

func (v *verified) finish() error {
	got := dossier.FromHash(v.want.Digest.Algorithm(), v.hash)
	if v.want.Size > 0 && v.n != v.want.Size {
		return fmt.Errorf("%w; they have the digest %s", sizeError(v.op, v.want, fmt.Sprint(v.n)), got)
	}
	if got != v.want.Digest {
		return dossier.Errorf(dossier.KindCorrupt, v.op, string(v.want.Digest), "the bytes received have the digest "+string(got))
	}
	return io.EOF
}

// Close implements io.Closer.
func (v *verified) Close() error { return v.body.Close() }

func sizeError(op string, want Descriptor, got string) error {
	return dossier.Errorf(dossier.KindCorrupt, op, string(want.Digest),
		fmt.Sprintf("it should have %d bytes and has %s", want.Size, got))
}
