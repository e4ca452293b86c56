// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/contents"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/record"
	"dossier.dev/dossier/internal/store"
)

// Inspect reads one image now, because somebody waits for it: where the
// reference points, its manifests and configurations, and with layers also
// what it holds. It returns the digest of the image. References
// are those of the image package. Facts recorded before an error stay.
func (g *Ingest) Inspect(ctx context.Context, ref string, layers bool) (dossier.Digest, error) {
	var tally image.Tally
	ctx = image.WithTally(ctx, &tally)
	root, finish, err := g.inspect(ctx, ref)
	g.Logger.InfoContext(ctx, "image read", "image", ref, "requests", tally.Requests(), "bytes", tally.Bytes())
	if err != nil {
		return "", err
	}
	if finish != nil {
		if err := g.Store.Update(ctx, finish); err != nil {
			return "", err
		}
	}
	if root == "" {
		return "", dossier.Errorf(dossier.KindNotFound, "resolving", ref, "the tag was there before and is gone")
	}
	if !layers || g.Layer == nil {
		return root, nil
	}
	return root, g.inspectContents(ctx, ref, root)
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

// inspectLease is how long a layer that somebody waits for may take.
const inspectLease = 10 * time.Minute

// inspectContents reads what an image holds, as far as nobody did yet. What
// cannot be read does not make the rest of the answers worse: it is logged, and
// the job that stands for it is done later.
func (g *Ingest) inspectContents(ctx context.Context, ref string, root dossier.Digest) error {
	manifests, err := g.manifestsUnder(ctx, root)
	if err != nil {
		return err
	}
	for _, m := range manifests {
		if dossier.IsLocal(ref) {
			err = g.localContents(ctx, ref, m)
		} else {
			err = g.contentsNow(ctx, m)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			g.Logger.WarnContext(ctx, "the contents of an image could not be read", "manifest", m, "error", err)
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

// stackOf reads what is known of the layers of a manifest.
func (g *Ingest) stackOf(ctx context.Context, m dossier.Digest) (s stack, err error) {
	err = g.Store.View(ctx, func(r store.Reader) (err error) {
		s, err = readStack(ctx, r, m)
		return err
	})
	return s, err
}

// localContents reads the layers of a local image and lays them: for these there
// are no jobs, since nobody else can read them.
func (g *Ingest) localContents(ctx context.Context, ref string, m dossier.Digest) error {
	s, err := g.stackOf(ctx, m)
	if err != nil || s.config == nil {
		return err
	}
	var mu sync.Mutex
	lost := map[dossier.Digest]string{}
	unread := s.unread()
	held, err := g.held(ctx, m)
	if err != nil {
		return err
	}
	g.sideBySide(ctx, unread, func(i int) {
		finish, err := g.readLayer(ctx, ref, s, i)
		if err == nil {
			err = g.Store.Update(ctx, finish)
		}
		if err != nil {
			mu.Lock()
			defer mu.Unlock()
			lost[s.layers[i].Child] = err.Error()
		}
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !isCurrent(held) || len(unread) > 0 {
		finish, err := g.lay(ctx, s, lost)
		if err == nil && finish != nil {
			err = g.Store.Update(ctx, finish)
		}
		if err != nil {
			return err
		}
	}
	if g.Artifacts == nil {
		return nil
	}
	finish, found, err := g.billsOf(ctx, ref, m)
	if err != nil || !found && held.Looked.After(time.Unix(0, 0)) {
		return err // nothing is new, and that somebody looked is known
	}
	return g.Store.Update(ctx, finish)
}

// contentsNow does the jobs that read the layers of an image, and the one that
// lays them, as far as nobody does them already.
func (g *Ingest) contentsNow(ctx context.Context, m dossier.Digest) error {
	s, err := g.stackOf(ctx, m)
	if err != nil || s.config == nil {
		return err
	}
	unread := s.unread()
	if held, err := g.held(ctx, m); err != nil || isCurrent(held) && len(unread) == 0 {
		return errors.Join(err, g.lookNow(ctx, m))
	}
	if err := g.Store.Update(ctx, func(tx store.Tx) error { return record.ReadContents(ctx, tx, m, "") }); err != nil {
		return err
	}
	if len(unread) > 0 {
		// This one asks for the layers, and the last of them for it again.
		if err := g.doNow(ctx, JobContents, string(m)); err != nil {
			return err
		}
	}
	errs := make([]error, len(s.layers))
	g.sideBySide(ctx, unread, func(i int) { errs[i] = g.doNow(ctx, JobLayer, string(s.layers[i].Child)) })
	errs = append(errs, g.doNow(ctx, JobContents, string(m)), g.lookNow(ctx, m))
	return errors.Join(errs...)
}

// lookNow reads what is attached to an image, unless somebody did so lately.
func (g *Ingest) lookNow(ctx context.Context, m dossier.Digest) error {
	asked := false
	err := g.Store.Update(ctx, func(tx store.Tx) (err error) {
		if asked, err = g.lookFor(ctx, tx, m, g.now().Add(-g.TagFresh)); err == nil && !asked {
			err = errNoJob
		}
		return err
	})
	if errors.Is(err, errNoJob) {
		return nil
	}
	return errors.Join(err, g.doNow(ctx, JobBill, string(m)))
}

// held returns what is kept of the contents of an image; zero: nothing.
func (g *Ingest) held(ctx context.Context, m dossier.Digest) (held store.ImageContents, err error) {
	err = g.Store.View(ctx, func(r store.Reader) error {
		known, err := r.ImageContents(ctx, []dossier.Digest{m})
		held = known[m]
		return err
	})
	return held, err
}

// isCurrent reports whether the layers of an image were laid by this program or a
// newer one.
func isCurrent(held store.ImageContents) bool {
	return held.Serial >= contents.Serial(contents.Version)
}

// sideBySide calls f for each of the positions, a few at a time, and waits.
func (g *Ingest) sideBySide(ctx context.Context, positions []int, f func(i int)) {
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(g.Readers, len(positions)) {
		workers.Go(func() {
			for i := range next {
				if ctx.Err() == nil {
					f(i)
				}
			}
		})
	}
	for _, i := range positions {
		next <- i
	}
	close(next)
	workers.Wait()
}

// doNow does a job, if there is one that nobody does already. Without one it
// was done before.
func (g *Ingest) doNow(ctx context.Context, kind, key string) error {
	var mine store.Job
	err := g.Store.Update(ctx, func(tx store.Tx) error {
		there, err := tx.Jobs(ctx, kind, []string{key}, 1)
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
		jobs, err := tx.Lease(ctx, g.owner, []string{kind}, 1, g.now(), inspectLease)
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
