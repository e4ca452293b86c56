// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"io"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/contents"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/ingest"
)

// Pace of reading layers again with newer extractors: it must not be in the way
// of layers that nobody has read.
const (
	refreshEvery  = time.Minute
	refreshAtOnce = 16
)

// readLayer reads what a layer holds, from where it lies.
func (e *Engine) readLayer(ctx context.Context, ref string, l dossier.Edge, diffID dossier.Digest) (contents.LayerResult, error) {
	d := image.Descriptor{MediaType: l.MediaType, Digest: l.Child, Size: l.Size}
	return contents.ReadLayer(ctx, contents.Layer{
		Digest: l.Child, DiffID: diffID, Size: l.Size,
		Open: func(ctx context.Context) (io.ReadCloser, error) { return e.layer(ctx, ref, d) },
	}, contents.Options{})
}

// layer opens a layer, from where it lies.
func (e *Engine) layer(ctx context.Context, ref string, d image.Descriptor) (io.ReadCloser, error) {
	if from, own, err := e.own.layer(ctx, ref, d.Digest); own {
		return from, err
	}
	return e.images.Layer(ctx, ref, d)
}

// refresh asks for what older versions of this program read to be read again, a
// little at a time, until ctx ends.
func (e *Engine) refresh(ctx context.Context) {
	ticker := time.NewTicker(refreshEvery)
	defer ticker.Stop()
	var mark ingest.Mark
	for {
		if n, err := e.ingest.Refresh(ctx, &mark, refreshAtOnce); err != nil && ctx.Err() == nil {
			e.config.Logger.WarnContext(ctx, "what older versions read is not read again", "error", err)
		} else if n > 0 {
			e.config.Logger.InfoContext(ctx, "layers and images are read again with newer extractors", "count", n)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
