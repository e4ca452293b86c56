// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"io"

	"dossier.dev/dossier"
)

// Kept is a repository, or a part of one, that is kept in this process: it is read
// without asking the registry that references name. KindNotFound: it is not kept.
type Kept interface {
	// Head returns what a tag points at.
	Head(ctx context.Context, tag string) (Descriptor, error)
	// Manifest returns the bytes of an index or a manifest.
	Manifest(ctx context.Context, d dossier.Digest) ([]byte, error)
	// Blob begins to read a blob, of which only the digest is looked at.
	Blob(ctx context.Context, d Descriptor) (io.ReadCloser, error)
}

// keptSource is a source that is kept. What it gives is checked as any other's.
type keptSource struct {
	ref  dossier.Reference
	kept Kept
	// rest is asked where tags point and for what is not kept; nil: all there is is kept.
	rest func() (source, error)
}

func (s *keptSource) name() string { return s.ref.Name() }
func (s *keptSource) close() error { return nil }

// resolve implements source.
func (s *keptSource) resolve(ctx context.Context) (Descriptor, error) {
	if s.ref.Digest != "" {
		return Descriptor{Digest: s.ref.Digest}, nil
	}
	if s.rest == nil {
		return s.kept.Head(ctx, s.ref.Tag)
	}
	rest, err := s.rest()
	if err != nil {
		return Descriptor{}, err
	}
	return rest.resolve(ctx)
}

// open implements source.
func (s *keptSource) open(ctx context.Context, p part, d dossier.Digest) (*body, error) {
	b, err := s.openKept(ctx, p, d)
	if dossier.KindOf(err) != dossier.KindNotFound || s.rest == nil {
		return b, err
	}
	rest, err := s.rest()
	if err != nil {
		return nil, err
	}
	return rest.open(ctx, p, d)
}

func (s *keptSource) openKept(ctx context.Context, p part, d dossier.Digest) (*body, error) {
	if p == manifests {
		text, err := s.kept.Manifest(ctx, d)
		if err != nil {
			return nil, err
		}
		return &body{ReadCloser: io.NopCloser(bytes.NewReader(text)), size: int64(len(text))}, nil
	}
	from, err := s.kept.Blob(ctx, Descriptor{Digest: d})
	if err != nil {
		return nil, err
	}
	return &body{ReadCloser: from, size: -1}, nil
}
