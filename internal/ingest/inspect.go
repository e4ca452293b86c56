// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"context"
	"errors"
	"slices"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/store"
)

// Inspect reads one image now, because somebody waits for it: where the
// reference points, its manifests and configurations, and with programs also
// the programs that it starts. It returns the digest of the image. References
// are those of the image package. Facts recorded before an error stay.
func (g *Ingest) Inspect(ctx context.Context, ref string, programs bool) (dossier.Digest, error) {
	var tally image.Tally
	ctx = image.WithTally(ctx, &tally)
	root, finish, err := g.inspect(ctx, ref)
	g.Logger.InfoContext(ctx, "image read", "image", ref, "requests", tally.Requests(), "bytes", tally.Bytes())
	if err != nil {
		return "", err
	}
	if err := g.Store.Update(ctx, finish); err != nil {
		return "", err
	}
	if root == "" {
		return "", dossier.Errorf(dossier.KindNotFound, "resolving", ref, "the tag was there before and is gone")
	}
	if !programs || g.Program == nil {
		return root, nil
	}
	return root, g.inspectPrograms(ctx, ref, root)
}

func (g *Ingest) inspect(ctx context.Context, ref string) (dossier.Digest, finisher, error) {
	f := finding{at: g.now()}
	var root image.Descriptor
	if dossier.IsLocal(ref) {
		var err error
		if root, err = g.Images.Resolve(ctx, ref); err != nil {
			return "", nil, err
		}
	} else {
		parsed, err := dossier.ParseReference(ref)
		if err != nil {
			return "", nil, err
		}
		if parsed = parsed.WithDefaultTag(); parsed.Digest == "" {
			return g.resolveTag(ctx, tagPayload{Name: parsed.Name(), Tag: parsed.Tag})
		}
		root.Digest, f.name = parsed.Digest, parsed.Name()
	}
	f.root = root.Digest
	var err error
	if f.tree, err = g.readResolved(ctx, ref, root, nil); err != nil {
		return "", nil, err
	}
	return f.root, g.keep(ctx, f), nil
}

// inspectLease is how long programs that somebody waits for may take.
const inspectLease = 10 * time.Minute

// inspectPrograms reads the programs of an image that nobody has read yet. One
// that cannot be read does not make the rest of the answers worse: it is
// logged, and the job that stands for it is done later.
func (g *Ingest) inspectPrograms(ctx context.Context, ref string, root dossier.Digest) error {
	manifests, err := g.manifestsUnder(ctx, root)
	if err != nil {
		return err
	}
	for _, m := range manifests {
		if dossier.IsLocal(ref) {
			err = g.localProgram(ctx, ref, m)
		} else {
			err = g.programNow(ctx, m)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			g.Logger.WarnContext(ctx, "the program of an image could not be read", "manifest", m, "error", err)
		}
	}
	return nil
}

// manifestsUnder returns the platform manifests of an index, or the root itself.
func (g *Ingest) manifestsUnder(ctx context.Context, root dossier.Digest) ([]dossier.Digest, error) {
	var manifests []dossier.Digest
	err := g.Store.View(ctx, func(r store.Reader) error {
		manifests = nil
		edges, err := r.Edges(ctx, []dossier.Digest{root}, dossier.RolePlatform, dossier.RoleConfig)
		for _, e := range edges {
			if e.Role == dossier.RoleConfig {
				e.Child = root
			}
			if !slices.Contains(manifests, e.Child) {
				manifests = append(manifests, e.Child)
			}
		}
		return err
	})
	return manifests, err
}

// localProgram reads the program of a local image: for these there are no jobs,
// since nobody else can read them.
func (g *Ingest) localProgram(ctx context.Context, ref string, m dossier.Digest) error {
	finish, err := g.programOf(ctx, ref, m)
	if err != nil || finish == nil {
		return err
	}
	return g.Store.Update(ctx, finish)
}

// programNow does the job that reads the program of m, if there is one that
// nobody does already. Without one it was done before.
func (g *Ingest) programNow(ctx context.Context, m dossier.Digest) error {
	var mine store.Job
	err := g.Store.Update(ctx, func(tx store.Tx) error {
		there, err := tx.Jobs(ctx, JobProgram, []string{string(m)}, 1)
		if err != nil {
			return err
		}
		if len(there) == 0 {
			return errNoJob
		}
		first := there[0]
		first.RunAt = time.Unix(0, 0) // so that it is the one leased
		if _, err := tx.Enqueue(ctx, first); err != nil {
			return err
		}
		jobs, err := tx.Lease(ctx, g.owner, []string{JobProgram}, 1, g.now(), inspectLease)
		if err != nil {
			return err
		}
		if len(jobs) == 0 || jobs[0].ID != first.ID {
			return errNoJob // somebody does it
		}
		mine = jobs[0]
		return nil
	})
	if errors.Is(err, errNoJob) {
		return nil
	}
	if err != nil {
		return err
	}
	o := g.do(ctx, mine)
	return errors.Join(o.failed, o.broken)
}
