// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"io"

	"dossier.dev/dossier"
)

// source is one place with images: a repository, a layout, an archive.
type source interface {
	// name is the registry and repository, "" for what is local.
	name() string
	// resolve finds what the location names. KindNotFound, KindInvalid.
	resolve(ctx context.Context) (Descriptor, error)
	// open begins to read bytes by their digest, unchecked. KindNotFound.
	open(ctx context.Context, p part, d dossier.Digest) (*body, error)
	// close releases what the source holds open; bodies live on.
	close() error
}

// part says which sort of bytes is asked for: registries keep them apart.
type part string

const (
	manifests part = "manifests"
	blobs     part = "blobs"
)

// body is bytes from outside, not yet checked.
type body struct {
	io.ReadCloser
	mediaType string // of a manifest, as the source says; may be empty
	size      int64  // as announced; -1 when unknown
}

// sourceError gives an error of reading a kind. One that has a kind keeps it.
func sourceError(op, subject string, err error) error {
	if _, ok := errors.AsType[*dossier.Error](err); ok {
		return err
	}
	return &dossier.Error{Kind: dossier.KindUnavailable, Op: op, Subject: subject, Err: err}
}
