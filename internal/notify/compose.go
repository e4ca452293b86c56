// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/match"
	"dossier.dev/dossier/internal/store"
)

// Limits of a step of the composer.
const (
	noticesAtOnce   = 2000
	packagesAtOnce  = 500
	holdersAtOnce   = 50_000 // when packages have more holders, everything is compared
	workloadsAtOnce = 500    // of which events are made in one transaction
	maxStates       = 2000   // images of which findings are remembered within a step
)

// How long things may be in between before they are told.
const (
	// absence is how long nothing of a workload runs an image before that is told:
	// pods are replaced. What runs from time to time has longer.
	absence    = 2 * time.Minute
	absenceJob = 24 * time.Hour
	// patience is how long it is waited for that the image that replaces another is read.
	patience = time.Hour
)

// state is what is known of the findings of an image.
type state struct {
	known      bool // its contents were read and compared
	findings   []Finding
	suppressed map[string][]string // who says that it does not count, by ID
	unassessed int
}

// composing is one step of a composer.
type composing struct {
	*Service
	all      bool
	affected map[dossier.Digest]bool
	states   map[dossier.Digest]state
	clusters map[string]string // names
	again    time.Time         // when to look once more; zero: no need to
	wait     []dossier.Digest  // at these
	at       time.Time
}

// compose does the work of the notices that are there. It returns when to look
// again; zero: when there is something new.
func (s *Service) compose(ctx context.Context, job store.Job) error {
	c := &composing{Service: s, affected: map[dossier.Digest]bool{}, states: map[dossier.Digest]state{}, at: s.now()}
	var notices []store.Notice
	unmatched := false
	if err := s.Store.View(ctx, func(r store.Reader) (err error) {
		if notices, err = r.Notices(ctx, 0, noticesAtOnce); err != nil {
			return err
		}
		list, err := r.UnmatchedPackages(ctx, match.Rules, 1)
		unmatched = len(list) > 0
		return err
	}); err != nil {
		return err
	}
	if unmatched && c.at.Sub(job.CreatedAt) < maxUnmatched {
		return s.later(ctx, job, c.at.Add(s.poll()))
	}
	if err := c.read(ctx, notices); err != nil {
		return err
	}
	workloads, err := c.workloads(ctx)
	if err != nil {
		return err
	}
	chunks := slices.Collect(slices.Chunk(workloads, workloadsAtOnce))
	if len(chunks) == 0 {
		chunks = [][]dossier.Workload{nil}
	}
	for i, part := range chunks {
		out, err := c.compare(ctx, part)
		if err != nil {
			return err
		}
		if err := c.commit(ctx, job, out, notices, i == len(chunks)-1); err != nil {
			return err
		}
	}
	return nil
}

// maxUnmatched is for how long it is waited until all packages were compared.
const maxUnmatched = 5 * time.Minute

// read finds out which images notices are about.
func (c *composing) read(ctx context.Context, notices []store.Notice) error {
	var packages []int64
	var digests []dossier.Digest
	for _, n := range notices {
		var err error
		switch n.Topic {
		case topicAll:
			c.all = true
		case topicDigests:
			var list []dossier.Digest
			err = json.Unmarshal(n.Body, &list)
			digests = append(digests, list...)
		case topicPackages:
			var list []int64
			err = json.Unmarshal(n.Body, &list)
			packages = append(packages, list...)
		}
		if err != nil { // nobody but this package writes them: look at everything
			c.all = true
		}
	}
	slices.Sort(packages)
	packages = slices.Compact(packages)
	return c.Store.View(ctx, func(r store.Reader) error {
		clusters, err := r.Clusters(ctx)
		if err != nil {
			return err
		}
		c.clusters = map[string]string{}
		for _, one := range clusters {
			c.clusters[one.ID] = one.Name
		}
		for part := range slices.Chunk(packages, packagesAtOnce) {
			if c.all {
				break
			}
			holders, err := r.PackageHolders(ctx, part, holdersAtOnce)
			if err != nil {
				return err
			}
			c.all = len(holders) == holdersAtOnce
			for _, h := range holders {
				digests = append(digests, h.Manifest)
			}
		}
		return c.addWithParents(ctx, r, digests)
	})
}

// addWithParents adds images and those that contain them.
func (c *composing) addWithParents(ctx context.Context, r store.Reader, level []dossier.Digest) error {
	for len(level) > 0 && !c.all {
		var fresh []dossier.Digest
		for _, d := range level {
			if !c.affected[d] {
				c.affected[d] = true
				fresh = append(fresh, d)
			}
		}
		if len(fresh) == 0 {
			return nil
		}
		parents, err := r.Parents(ctx, fresh, dossier.RolePlatform)
		if err != nil {
			return err
		}
		level = nil
		for _, e := range parents {
			level = append(level, e.Parent)
		}
	}
	return nil
}

// workloads returns those that run, or ran, one of the images, in order.
func (c *composing) workloads(ctx context.Context) ([]dossier.Workload, error) {
	found := map[dossier.Workload]bool{}
	if !c.all && len(c.affected) == 0 {
		return nil, nil
	}
	err := c.Store.View(ctx, func(r store.Reader) error {
		clear(found)
		q := store.PlaceQuery{}
		if !c.all {
			q.Digests = slices.Sorted(maps.Keys(c.affected))
		}
		for p, err := range r.Places(ctx, q) {
			if err != nil {
				return err
			}
			if _, ok := p.RunOf(); ok {
				found[p.Workload] = true
			}
		}
		told, err := c.toldOf(ctx, r, q.Digests)
		for _, t := range told {
			found[t.Workload] = true
		}
		return err
	})
	return slices.SortedFunc(maps.Keys(found), compareWorkloads), err
}

// toldOf returns what was told of images, or without any of everything; without
// what it was.
func (c *composing) toldOf(ctx context.Context, r store.Reader, digests []dossier.Digest) ([]store.Told, error) {
	if len(digests) > 0 {
		return r.Told(ctx, store.ToldQuery{Digests: digests})
	}
	spaces, err := r.ToldNamespaces(ctx)
	if err != nil {
		return nil, err
	}
	var out []store.Told
	for _, space := range spaces {
		list, err := r.Told(ctx, store.ToldQuery{Cluster: space.Cluster, Namespace: space.Namespace})
		if err != nil {
			return nil, err
		}
		for _, t := range list {
			t.Body = nil
			out = append(out, t)
		}
	}
	return out, nil
}

func compareWorkloads(a, b dossier.Workload) int {
	return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
}

// running is an image in a workload.
type running struct {
	containers map[string]bool
	images     map[string]bool // as asked for
}

// present is what some workloads run, and what was told of them.
type present struct {
	runs map[dossier.Workload]map[dossier.Digest]*running
	told map[dossier.Workload]map[dossier.Digest]store.Told
}

// present reads both from one state.
func (c *composing) present(ctx context.Context, workloads []dossier.Workload) (present, error) {
	var p present
	type space struct{ cluster, namespace string }
	var spaces []space
	wanted := map[dossier.Workload]bool{}
	for _, w := range workloads {
		wanted[w] = true
		if s := (space{w.Cluster, w.Namespace}); len(spaces) == 0 || spaces[len(spaces)-1] != s {
			spaces = append(spaces, s)
		}
	}
	err := c.Store.View(ctx, func(r store.Reader) error {
		p = present{map[dossier.Workload]map[dossier.Digest]*running{}, map[dossier.Workload]map[dossier.Digest]store.Told{}}
		for _, s := range spaces {
			for place, err := range r.Places(ctx, store.PlaceQuery{Clusters: []string{s.cluster}, Namespaces: []string{s.namespace}}) {
				if err != nil {
					return err
				}
				if run, ok := place.RunOf(); ok && wanted[place.Workload] {
					p.add(run, place.Asked())
				}
			}
			told, err := r.Told(ctx, store.ToldQuery{Cluster: s.cluster, Namespace: s.namespace})
			if err != nil {
				return err
			}
			for _, t := range told {
				if !wanted[t.Workload] {
					continue
				}
				if p.told[t.Workload] == nil {
					p.told[t.Workload] = map[dossier.Digest]store.Told{}
				}
				p.told[t.Workload][t.Digest] = t
			}
		}
		return nil
	})
	return p, err
}

func (p present) add(r dossier.Run, asked string) {
	images := p.runs[r.Workload]
	if images == nil {
		images = map[dossier.Digest]*running{}
		p.runs[r.Workload] = images
	}
	one := images[r.Digest]
	if one == nil {
		one = &running{map[string]bool{}, map[string]bool{}}
		images[r.Digest] = one
	}
	one.containers[r.Container] = true
	if asked != "" {
		one.images[asked] = true
	}
}

// state returns what is known of an image.
func (c *composing) state(ctx context.Context, d dossier.Digest) (state, error) {
	if s, ok := c.states[d]; ok {
		return s, nil
	}
	list, err := c.List(ctx, d)
	s := state{}
	switch dossier.KindOf(err) {
	case "":
		s = state{known: true, findings: summarize(list.Findings), suppressed: map[string][]string{}, unassessed: len(list.NotAssessable)}
		for _, one := range list.Suppressed {
			for _, by := range one.By {
				text := bySaid(by)
				if !slices.Contains(s.suppressed[one.ID], text) {
					s.suppressed[one.ID] = append(s.suppressed[one.ID], text)
				}
			}
		}
	case dossier.KindNotFound, dossier.KindUnsupported, dossier.KindCorrupt, dossier.KindLimit: // it is not read, or cannot be
	default:
		return s, err
	}
	if len(c.states) >= maxStates {
		clear(c.states)
	}
	c.states[d] = s
	return s, nil
}

// bySaid says in a line who says that a finding does not count.
func bySaid(t dossier.Triage) string {
	text := t.Status + ", says " + cmp.Or(t.Author, "someone") + " in " + t.Source + t.Standing()
	if !t.Expires.IsZero() {
		text += " until " + t.Expires.UTC().Format(time.DateOnly)
	}
	if why := cmp.Or(t.Reason, t.Justification); why != "" {
		text += ": " + why
	}
	return text
}
