// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"

	"dossier.dev/dossier"
)

// Open implements [blob.Store]. The context holds for the reading as well. When
// the connection breaks while bytes are read, the rest is asked for again.
func (s *Store) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	const op = "reading blob"
	if err := begin(ctx, op, key); err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, outside(op, key)
	}
	r, err := s.read(ctx, key, s.object(key), offset, length)
	if err != nil {
		return nil, fault(op, key, err)
	}
	return r, nil
}

func outside(op, key string) error {
	return dossier.Errorf(dossier.KindInvalid, op, key, "the offset lies outside")
}

// read reads a part of an object.
func (s *Store) read(ctx context.Context, key, name string, offset, length int64) (io.ReadCloser, error) {
	end := int64(-1) // of the range, exclusive
	if length >= 0 && length <= math.MaxInt64-offset {
		end = offset + length
	}
	if length == 0 {
		return s.nothing(ctx, key, name, offset)
	}
	r := &reader{key: key, at: offset}
	r.open = func() error {
		return s.retry(ctx, "GetObject", func(ctx context.Context) error {
			body, size, etag, err := s.get(ctx, name, r.etag, r.at, end)
			if err == nil {
				r.body, r.end, r.etag = body, size, etag
			}
			return err
		})
	}
	err := r.open()
	if is(err, minio.InvalidRange) {
		return s.nothing(ctx, key, name, offset)
	}
	if err != nil {
		return nil, err
	}
	r.again = func(try int) bool { return try < s.tries && s.pause(ctx, try) }
	return r, nil
}

// nothing reads no bytes of an object that has offset bytes or more.
func (s *Store) nothing(ctx context.Context, key, name string, offset int64) (io.ReadCloser, error) {
	var info minio.ObjectInfo
	err := s.call(ctx, "HeadObject", s.quick, func(ctx context.Context) (err error) {
		info, err = s.core.StatObject(ctx, s.bucket, name, minio.StatObjectOptions{})
		return err
	})
	if err == nil && offset > info.Size {
		err = outside("reading blob", key)
	}
	if err != nil {
		return nil, err
	}
	return io.NopCloser(strings.NewReader("")), nil
}

// get asks for the bytes of an object from one on, before end unless that is
// negative, and returns where those end that come. With an ETag it must have that.
func (s *Store) get(ctx context.Context, name, etag string, from, end int64) (body io.ReadCloser, last int64, _ string, err error) {
	var options minio.GetObjectOptions
	ranged := from > 0 || end >= 0
	switch {
	case end >= 0:
		options.Set("Range", fmt.Sprintf("bytes=%d-%d", from, end-1))
	case ranged:
		options.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	if etag != "" {
		if err := options.SetMatchETag(etag); err != nil {
			return nil, 0, "", err
		}
	}
	body, info, header, err := s.core.GetObject(ctx, s.bucket, name, options)
	if err != nil {
		return nil, 0, "", err
	}
	if ranged && !strings.HasPrefix(header.Get("Content-Range"), "bytes "+strconv.FormatInt(from, 10)+"-") {
		err = &dossier.Error{Kind: dossier.KindUnsupported, Op: "reading blob", Hint: hintOther,
			Err: fmt.Errorf("%s was asked for bytes from %d on and sends others", s.where, from)}
		return nil, 0, "", errors.Join(err, body.Close())
	}
	return body, from + info.Size, info.ETag, nil
}

// reader reads an object to an end that is known.
type reader struct {
	key   string
	body  io.ReadCloser
	etag  string
	at    int64 // of the next byte
	end   int64 // exclusive
	tries int   // since the last byte
	open  func() error
	again func(try int) bool
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if r.at >= r.end {
		return 0, io.EOF
	}
	for {
		n, err := r.body.Read(p[:min(int64(len(p)), r.end-r.at)])
		if n > 0 || err == nil {
			r.at += int64(n)
			r.tries = 0
			return n, nil // an error comes again
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		r.tries++
		if !r.again(r.tries) {
			return 0, &dossier.Error{Kind: dossier.KindUnavailable, Op: "reading blob", Subject: r.key, Hint: hintLater,
				Err: fmt.Errorf("it broke off %d times, %d bytes before the end: %w", r.tries, r.end-r.at, err)}
		}
		_ = r.body.Close() // it is broken
		if err := r.open(); err != nil {
			return 0, fault("reading blob", r.key, err)
		}
	}
}

// Close implements io.Closer.
func (r *reader) Close() error { return r.body.Close() }
