// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"dossier.dev/dossier/internal/blob"
)

// Prune implements [blob.Store]. It goes by the clock of the object store, and by
// what has arrived there. It also removes tails that a crash has left. An object
// store that lists uploads by their exact name only, as MinIO does, shows those
// that have a tail; it removes the others itself after a time.
func (s *Store) Prune(ctx context.Context, since time.Time) (int, error) {
	const op = "removing old uploads"
	keys := map[string]bool{}
	err := s.uploads(ctx, s.object(""), func(key string, u minio.ObjectMultipartInfo) {
		if u.Initiated.Before(since) {
			keys[key] = true
		}
	})
	if err != nil {
		return 0, fault(op, "", err)
	}
	last := "" // tails of a key follow each other
	for info, err := range s.objects(ctx, s.prefix+uploadsDir, "") {
		if err != nil {
			return 0, fault(op, "", err)
		}
		key, _, _ := strings.Cut(strings.TrimPrefix(info.Key, s.prefix+uploadsDir), "/")
		if key != last && blob.CheckKey(key) == nil && info.LastModified.Before(since) {
			keys[key] = true
			last = key
		}
	}
	removed := 0
	for key := range keys {
		ok, err := s.prune(ctx, key, since)
		if err != nil {
			return removed, fault(op, key, err)
		}
		if ok {
			removed++
		}
	}
	return removed, nil
}

// uploads calls f for each multipart upload of a key whose object's name begins
// with prefix.
func (s *Store) uploads(ctx context.Context, prefix string, f func(key string, u minio.ObjectMultipartInfo)) error {
	var keyMarker, idMarker string
	for {
		var page minio.ListMultipartUploadsResult
		err := s.call(ctx, "ListMultipartUploads", s.quick, func(ctx context.Context) (err error) {
			page, err = s.core.ListMultipartUploads(ctx, s.bucket, prefix, keyMarker, idMarker, "", pageSize)
			return err
		})
		if err != nil {
			return err
		}
		for _, u := range page.Uploads {
			if key := strings.TrimPrefix(u.Key, s.object("")); blob.CheckKey(key) == nil {
				f(key, u)
			}
		}
		if !page.IsTruncated || (page.NextKeyMarker == keyMarker && page.NextUploadIDMarker == idMarker) {
			return nil
		}
		keyMarker, idMarker = page.NextKeyMarker, page.NextUploadIDMarker
	}
}

// prune removes the uploads and the tails of a key, unless one of them is new or
// somebody writes it. It reports whether there was an upload.
func (s *Store) prune(ctx context.Context, key string, since time.Time) (bool, error) {
	if !s.claim(key) {
		return false, nil
	}
	defer s.release(key)
	var tails []string
	for info, err := range s.objects(ctx, s.tailDir(key), "") {
		if err != nil {
			return false, err
		}
		if !info.LastModified.Before(since) {
			return false, nil
		}
		tails = append(tails, info.Key)
	}
	var uploads []string
	isNew := false
	err := s.uploads(ctx, s.object(key), func(found string, u minio.ObjectMultipartInfo) {
		if found == key {
			uploads = append(uploads, u.UploadID)
			isNew = isNew || !u.Initiated.Before(since)
		}
	})
	if err != nil || isNew {
		return false, err
	}
	for _, id := range uploads {
		parts, err := s.listParts(ctx, key, id, maxParts)
		if err != nil && !is(err, minio.NoSuchUpload) {
			return false, err
		}
		if slices.ContainsFunc(parts, func(p minio.ObjectPart) bool { return !p.LastModified.Before(since) }) {
			return false, nil
		}
	}
	for _, id := range uploads {
		if err := s.abort(ctx, key, id); err != nil {
			return false, err
		}
	}
	for _, name := range tails {
		if err := s.remove(ctx, name); err != nil {
			return false, err
		}
	}
	return len(uploads) > 0, nil
}
