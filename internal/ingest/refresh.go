// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"context"
	"errors"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/contents"
	"dossier.dev/dossier/internal/record"
	"dossier.dev/dossier/internal/store"
)

// Mark says how far Refresh has come. The zero value is the beginning.
type Mark struct {
	layer store.LayerRead
	image store.ImageContents
	look  store.ImageContents
}

// Refresh asks for up to n layers to be read again that an older version of this
// program read, those read first before others; when there are no more for images to
// be laid again; and then for another look at what is attached to images at which
// nobody looked for a day. It returns how many it asked for; 0 when nothing is
// left, or when layers wait to be read for the first time: those go first.
// Where it stands it keeps in mark; what could not be read again is passed by
// until it has come to the end.
func (g *Ingest) Refresh(ctx context.Context, mark *Mark, n int) (asked int, err error) {
	if g.Layer == nil {
		return 0, nil
	}
	next := *mark
	err = g.Store.Update(ctx, func(tx store.Tx) error {
		asked, next = 0, *mark
		busy, err := waits(ctx, tx, JobLayer)
		if err != nil {
			return err
		}
		if busy {
			return errNoJob
		}
		for _, step := range []func(context.Context, store.Tx, *Mark, int) (int, error){g.refreshLayers, g.refreshImages, g.refreshBills} {
			if asked, err = step(ctx, tx, &next, n); err != nil || asked > 0 {
				return err
			}
		}
		next = Mark{}
		return errNoJob
	})
	if errors.Is(err, errNoJob) {
		err = nil
	}
	if err == nil {
		*mark = next
	}
	return asked, err
}

func (g *Ingest) refreshLayers(ctx context.Context, tx store.Tx, mark *Mark, n int) (asked int, err error) {
	for page := 0; asked < n && page < maxPages; page++ {
		layers, err := tx.OldLayers(ctx, contents.Serial(contents.Version), mark.layer, n)
		if err != nil || len(layers) == 0 {
			return asked, err
		}
		for _, l := range layers {
			mark.layer = l
			ok, err := g.readAgain(ctx, tx, l)
			if err != nil {
				return asked, err
			}
			if ok {
				if asked++; asked == n {
					break
				}
			}
		}
	}
	return asked, nil
}

func (g *Ingest) refreshImages(ctx context.Context, tx store.Tx, mark *Mark, n int) (int, error) {
	images, err := tx.OldImages(ctx, contents.Serial(contents.Version), mark.image, n)
	for _, image := range images {
		mark.image = image
		if err := record.ReadContents(ctx, tx, image.Manifest, ""); err != nil {
			return 0, err
		}
	}
	return len(images), err
}

func (g *Ingest) refreshBills(ctx context.Context, tx store.Tx, mark *Mark, n int) (asked int, err error) {
	since := g.now().Add(-lookedFor)
	for page := 0; asked < n && page < maxPages; page++ {
		images, err := tx.NotLooked(ctx, since, mark.look, n)
		if err != nil || len(images) == 0 {
			return asked, err
		}
		for _, image := range images {
			mark.look = image
			ok, err := g.lookFor(ctx, tx, image.Manifest, since)
			if err != nil {
				return asked, err
			}
			if ok {
				asked++
			}
		}
	}
	return asked, nil
}

// waits reports whether jobs of a kind are due or under way.
func waits(ctx context.Context, r store.Reader, kind string) (bool, error) {
	counts, err := r.CountJobs(ctx)
	for _, c := range counts {
		if c.Kind == kind && c.State != store.JobParked && c.N > 0 {
			return true, nil
		}
	}
	return false, err
}

// readAgain asks for a layer to be read again, from a repository that has an
// image with it, and reports whether there is one.
func (g *Ingest) readAgain(ctx context.Context, tx store.Tx, l store.LayerRead) (bool, error) {
	jobs, err := tx.Jobs(ctx, JobLayer, []string{string(l.Digest)}, 1)
	if err != nil || len(jobs) > 0 && !g.mayRun(jobs[0]) {
		return false, err
	}
	edges, err := tx.Parents(ctx, []dossier.Digest{l.Digest}, dossier.RoleLayer)
	if err != nil {
		return false, err
	}
	for _, e := range edges[:min(len(edges), maxParents)] {
		name, err := repositoryOf(ctx, tx, e.Parent)
		if err != nil {
			return false, err
		}
		if name != "" {
			job := layerPayload{Name: name, Manifest: e.Parent, Layer: l.Digest}.job()
			_, err := tx.Enqueue(ctx, job)
			return true, err
		}
	}
	return false, nil
}

// maxPages bounds how many lists of what cannot be asked for are looked through
// at a time.
const maxPages = 20

// maxParents bounds how many images are looked through for one whose repository
// is known.
const maxParents = 100
