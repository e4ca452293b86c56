// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/minio/minio-go/v7"

	"dossier.dev/dossier/internal/blob"
)

// pageSize is how many parts or uploads are asked for at a time.
const pageSize = 1000

// sum returns the SHA-256 of bytes as requests carry it.
func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// put makes an object.
func (s *Store) put(ctx context.Context, name string, b []byte, options minio.PutObjectOptions) error {
	options.DisableContentSha256 = true // in chunks: sum is of the whole
	_, err := s.core.PutObject(ctx, s.bucket, name, bytes.NewReader(b), int64(len(b)), "", sum(b), options)
	return err
}

// putPart sends a part and returns its ETag.
func (s *Store) putPart(ctx context.Context, key, upload string, number int, b []byte) (etag string, err error) {
	err = s.call(ctx, fmt.Sprintf("UploadPart %d", number), s.slow, func(ctx context.Context) error {
		part, err := s.core.PutObjectPart(ctx, s.bucket, s.object(key), upload, number, bytes.NewReader(b), int64(len(b)),
			minio.PutObjectPartOptions{Sha256Hex: sum(b), DisableContentSha256: true})
		etag = part.ETag
		return err
	})
	return etag, err
}

// listParts returns the first n parts of an upload that are there, by number.
func (s *Store) listParts(ctx context.Context, key, upload string, n int) ([]minio.ObjectPart, error) {
	var parts []minio.ObjectPart
	for marker := 0; ; {
		var page minio.ListObjectPartsResult
		err := s.call(ctx, "ListParts", s.quick, func(ctx context.Context) (err error) {
			page, err = s.core.ListObjectParts(ctx, s.bucket, s.object(key), upload, marker, pageSize)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, p := range page.ObjectParts {
			p.ETag = strings.Trim(p.ETag, `"`)
			parts = append(parts, p)
		}
		if !page.IsTruncated || len(parts) >= n || page.NextPartNumberMarker <= marker {
			return parts[:min(n, len(parts))], nil
		}
		marker = page.NextPartNumberMarker
	}
}

// abort removes a multipart upload, if it is there.
func (s *Store) abort(ctx context.Context, key, upload string) error {
	err := s.call(ctx, "AbortMultipartUpload", s.quick, func(ctx context.Context) error {
		return s.core.AbortMultipartUpload(ctx, s.bucket, s.object(key), upload)
	})
	if is(err, minio.NoSuchUpload, minio.NoSuchKey) {
		return nil
	}
	return err
}

// storeTail keeps what is no part yet as an object.
func (w *writer) storeTail(ctx context.Context) (stored, error) {
	name, sha := blob.NewKey(), sha256.Sum256(w.buffer)
	return stored{Name: name, Sum: sha[:]}, w.store.call(ctx, "PutObject", w.store.slow, func(ctx context.Context) error {
		return w.store.put(ctx, w.tailName(name), w.buffer, minio.PutObjectOptions{})
	})
}

// loadTail reads the object of the tail of a token.
func (w *writer) loadTail(ctx context.Context) (b []byte, err error) {
	r, err := w.store.read(ctx, w.key, w.tailName(w.from.Stored.Name), 0, -1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return io.ReadAll(io.LimitReader(r, w.from.tailSize()+1))
}
