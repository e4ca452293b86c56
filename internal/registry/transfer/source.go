// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"context"
	"io"
	"iter"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/registry"
)

const opImport = "importing"

// source is a directory from which repositories come.
type source interface {
	// repositories yields the repositories in the order of their paths. An error is
	// about one directory; others may follow it.
	repositories(ctx context.Context) iter.Seq2[repository, error]
}

// repository is one of a source. Its errors name the file.
type repository interface {
	// path is what it is called there: "org/app".
	path() string
	// manifests returns those that can be asked for by digest or tag. What lies
	// within an index may be missing.
	manifests(ctx context.Context) ([]manifest, error)
	// tags yields the tags. An error is about one of them.
	tags(ctx context.Context) iter.Seq2[tag, error]
	// open opens a manifest, or a blob, that the repository holds. One that it does
	// not hold is fs.ErrNotExist.
	open(d dossier.Digest, manifest bool) (content io.ReadCloser, err error)
	// file names the file in which the bytes of a digest should be.
	file(d dossier.Digest, manifest bool) string
}

// manifest is what is known of a manifest without reading it.
type manifest struct {
	image.Descriptor
	at time.Time // when it was pushed; zero: not known
}

// tag is a tag with where it pointed.
type tag struct {
	name   string
	file   string
	points []registry.TagPoint // a zero time is not known; the last is where it points now
}
