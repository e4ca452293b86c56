// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/cluster"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/store"
)

// wish is an image that places name, and on which platforms.
type wish struct {
	name, tag string         // tag is empty when a digest is wished for
	digest    dossier.Digest // empty when a tag is wished for
}

// ask makes jobs for what the places need: digests that nobody has read, and
// tags that nobody has looked at lately.
func (g *Ingest) ask(ctx context.Context, places []dossier.Place) error {
	wishes := wishesFor(places)
	if len(wishes) == 0 {
		return nil
	}
	var jobs []store.Job
	err := g.Store.View(ctx, func(r store.Reader) (err error) {
		jobs, err = g.jobsFor(ctx, r, wishes)
		return err
	})
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(jobs, keysPerUpdate) {
		err := g.Store.Update(ctx, func(tx store.Tx) error { return enqueue(ctx, tx, chunk) })
		if err != nil {
			return err
		}
	}
	return nil
}

// wishesFor says what has to be read to know the images of places, and for which
// platforms.
func wishesFor(places []dossier.Place) map[wish]map[string]bool {
	wishes := map[wish]map[string]bool{}
	for _, p := range places {
		for _, w := range wishesOf(p) {
			if wishes[w] == nil {
				wishes[w] = map[string]bool{}
			}
			wishes[w][p.Platform] = true
		}
	}
	return wishes
}

// wishesOf says what has to be read to know the image of a place.
func wishesOf(p dossier.Place) []wish {
	var wishes []wish
	if id, err := cluster.ParseImageID(p.ImageID); err == nil && id.Name != "" && id.Digest != "" {
		wishes = append(wishes, wish{name: id.Name, digest: id.Digest})
	}
	ref, err := dossier.ParseReference(p.Requested)
	if err != nil {
		return wishes // the answer says so
	}
	ref = ref.WithDefaultTag()
	switch {
	case ref.Digest == "":
		wishes = append(wishes, wish{name: ref.Name(), tag: ref.Tag})
	case len(wishes) == 0:
		wishes = append(wishes, wish{name: ref.Name(), digest: ref.Digest})
	}
	return wishes
}

// jobsFor leaves out what is known and fresh, and what is being done already.
func (g *Ingest) jobsFor(ctx context.Context, r store.Reader, wishes map[wish]map[string]bool) ([]store.Job, error) {
	fresh, err := g.freshTags(ctx, r, wishes)
	if err != nil {
		return nil, err
	}
	roots, err := digestsOf(ctx, r, wishes)
	if err != nil {
		return nil, err
	}
	var jobs []store.Job
	for _, w := range slices.SortedFunc(maps.Keys(wishes), compareWishes) {
		platforms := platformsOf(wishes[w])
		switch {
		case w.tag != "" && !fresh[store.NameTag{Name: w.name, Tag: w.tag}]:
			jobs = append(jobs, tagPayload{Name: w.name, Tag: w.tag, Platforms: platforms}.job())
		case w.digest != "" && !roots.complete(w.digest, platforms):
			job := readPayload{Name: w.name, Digest: w.digest, Platforms: platforms}.job()
			// Before the tags: one that points at it then needs no reading.
			job.RunAt = g.now().Add(-time.Second)
			jobs = append(jobs, job)
		}
	}
	return g.withoutThose(ctx, r, jobs)
}

func compareWishes(a, b wish) int {
	return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.tag, b.tag), cmp.Compare(a.digest, b.digest))
}

// platformsOf returns the platforms to read, sorted: none means all, which is
// so when one of the nodes' platforms is unknown.
func platformsOf(set map[string]bool) []string {
	if set[""] {
		return nil
	}
	return slices.Sorted(maps.Keys(set))
}

// freshTags returns the tags that were seen within TagFresh.
func (g *Ingest) freshTags(ctx context.Context, r store.Reader, wishes map[wish]map[string]bool) (map[store.NameTag]bool, error) {
	var tags []store.NameTag
	for w := range wishes {
		if w.tag != "" {
			tags = append(tags, store.NameTag{Name: w.name, Tag: w.tag})
		}
	}
	intervals, err := r.TagsAt(ctx, tags, time.Time{})
	if err != nil {
		return nil, err
	}
	fresh := map[store.NameTag]bool{}
	since := g.now().Add(-g.TagFresh)
	for _, t := range intervals {
		if t.CheckedAt.After(since) {
			fresh[store.NameTag{Name: t.Name, Tag: t.Tag}] = true
		}
	}
	return fresh, nil
}

// knownRoots is what is known of a set of root digests.
type knownRoots struct {
	images   map[dossier.Digest]dossier.Image // roots and what lies under them
	children map[dossier.Digest][]dossier.Edge
}

func digestsOf(ctx context.Context, r store.Reader, wishes map[wish]map[string]bool) (knownRoots, error) {
	var roots []dossier.Digest
	for w := range wishes {
		if w.digest != "" {
			roots = append(roots, w.digest)
		}
	}
	return readRoots(ctx, r, roots)
}

// readRoots reads roots level by level: an index may hold indexes.
func readRoots(ctx context.Context, r store.Reader, roots []dossier.Digest) (knownRoots, error) {
	k := knownRoots{images: map[dossier.Digest]dossier.Image{}, children: map[dossier.Digest][]dossier.Edge{}}
	for level := roots; len(level) > 0; {
		images, err := r.Images(ctx, level)
		if err != nil {
			return k, err
		}
		var indexes []dossier.Digest
		for _, d := range level {
			found, ok := images[d]
			if _, seen := k.images[d]; !ok || seen {
				continue
			}
			k.images[d] = found
			if found.Kind == dossier.ImageIndex {
				indexes = append(indexes, d)
			}
		}
		edges, err := r.Edges(ctx, indexes, dossier.RolePlatform)
		if err != nil {
			return k, err
		}
		level = level[:0:0]
		for _, e := range edges {
			k.children[e.Parent] = append(k.children[e.Parent], e)
			level = append(level, e.Child)
		}
	}
	return k, nil
}

// complete reports whether a digest was read for the platforms (none: for all),
// and so was what lies under it. To have read it as the configuration of another
// is not enough.
func (k knownRoots) complete(d dossier.Digest, platforms []string) bool {
	opt := image.ReadOptions{Platforms: platforms}
	seen := map[dossier.Digest]bool{d: true}
	for todo := []dossier.Digest{d}; len(todo) > 0; todo = todo[1:] {
		if read, ok := k.images[todo[0]]; !ok || read.Kind == dossier.ImageConfig {
			return false
		}
		for _, e := range k.children[todo[0]] {
			if opt.Wants(e) && !seen[e.Child] {
				seen[e.Child] = true
				todo = append(todo, e.Child)
			}
		}
	}
	return true
}

func isComplete(ctx context.Context, r store.Reader, d dossier.Digest, platforms []string) (bool, error) {
	k, err := readRoots(ctx, r, []dossier.Digest{d})
	return k.complete(d, platforms), err
}

// withoutThose drops jobs that are there and are to stay as they are.
func (g *Ingest) withoutThose(ctx context.Context, r store.Reader, jobs []store.Job) ([]store.Job, error) {
	if g.Revive {
		return jobs, nil
	}
	type id struct{ kind, key string }
	keys := map[string][]string{} // by kind
	for _, job := range jobs {
		keys[job.Kind] = append(keys[job.Kind], job.Key)
	}
	stay := map[id]bool{}
	for kind, list := range keys {
		for part := range slices.Chunk(list, keysPerUpdate) {
			there, err := r.Jobs(ctx, kind, part, len(part))
			if err != nil {
				return nil, err
			}
			for _, job := range there {
				stay[id{job.Kind, job.Key}] = !g.mayRun(job)
			}
		}
	}
	return slices.DeleteFunc(jobs, func(j store.Job) bool { return stay[id{j.Kind, j.Key}] }), nil
}

func enqueue(ctx context.Context, tx store.Tx, jobs []store.Job) error {
	for _, job := range jobs {
		if _, err := tx.Enqueue(ctx, job); err != nil {
			return err
		}
	}
	return nil
}
