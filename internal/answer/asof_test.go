// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer_test

import (
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/answer"
	"dossier.dev/dossier/internal/cluster"
	"dossier.dev/dossier/internal/ingest"
	"dossier.dev/dossier/internal/testimage"
)

// apply applies places and leaves the work that follows to be done later.
func (w *world) apply(places ...dossier.Place) {
	w.t.Helper()
	if _, err := w.ingest.Apply(w.t.Context(), cluster.Snapshot{Cluster: dossier.Cluster{ID: "c", Name: "test"}, Places: places}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) drain() {
	w.t.Helper()
	if err := w.ingest.Drain(w.t.Context(), ingest.Kinds(), nil); err != nil {
		w.t.Fatal(err)
	}
}

// later moves the clock and returns a time between then and now.
func (w *world) later() time.Time {
	between := w.now.Add(time.Hour)
	w.now = w.now.Add(2 * time.Hour)
	return between
}

func (w *world) evidence(d dossier.Digest, at dossier.Times) answer.Evidence {
	w.t.Helper()
	list, err := w.Gather(w.t.Context(), []dossier.Digest{d}, at)
	if err != nil {
		w.t.Fatal(err)
	}
	return list[0]
}

// pastTimes are the ways to ask for what was so, or known, at a time.
func pastTimes(at time.Time) map[string]dossier.Times {
	return map[string]dossier.Times{"valid": {Valid: at}, "recorded": {Recorded: at}, "both": {Valid: at, Recorded: at}}
}

func TestTagsOfThePastKnowNoLaterChecks(t *testing.T) {
	w := newWorld(t)
	one := w.push("app", "1", app("linux/amd64", "1"))
	place := w.place("ns", "web-1", "app:1", w.ref("app", one.Digest()))
	w.collect(place)
	began := w.now
	past := w.later()
	w.collect(place) // it is looked at again
	w.later()
	w.push("app", "1", app("linux/amd64", "2"))
	w.collect(place)
	for name, at := range pastTimes(past) {
		e := w.evidence(one.Digest(), at)
		if len(e.Tags) != 1 || len(e.Requested) != 1 || e.Requested[0].Interval == nil {
			t.Fatalf("%s: tags %+v, requested %+v", name, e.Tags, e.Requested)
		}
		want := past
		if !at.Recorded.IsZero() {
			want = began // of a look in between nothing is kept
		}
		for _, i := range []dossier.TagInterval{e.Tags[0], *e.Requested[0].Interval} {
			if !i.To.IsZero() || !i.CheckedAt.Equal(want) {
				t.Errorf("%s: interval to %s, checked at %s; want open, %s", name, i.To, i.CheckedAt, want)
			}
		}
	}
	if e := w.evidence(one.Digest(), dossier.Times{}); e.Requested[0].Interval.Digest == one.Digest() {
		t.Error("now the tag still points at the first image")
	}
}

func TestWhatWasReadLaterWasNotKnown(t *testing.T) {
	w := newWorld(t)
	index := w.push("app", "1", testimage.Of(app("linux/amd64", "1"), app("linux/arm64", "1")))
	amd := w.place("ns", "web-1", "app:1", w.ref("app", index.Digest()))
	arm := amd
	arm.Pod, arm.PodUID, arm.Platform = "web-2", "uid-web-2", "linux/arm64"
	w.collect(amd)
	w.later()
	w.collect() // it ends, so that all platforms are shown
	past := w.later()
	w.collect(arm)
	e := w.evidence(index.Digest(), dossier.Times{Recorded: past})
	if len(e.Platforms) != 2 {
		t.Fatalf("platforms %+v, want both", e.Platforms)
	}
	for _, p := range e.Platforms {
		if got, want := p.Config != "", p.Platform == "linux/amd64"; got != want {
			t.Errorf("%s: configuration known %v, want %v", p.Platform, got, want)
		}
		for _, edge := range e.Edges {
			if edge.Parent == p.Manifest && p.Platform == "linux/arm64" {
				t.Errorf("%s was not read, and an edge leads from it: %+v", p.Platform, edge)
			}
		}
	}
	if e := w.evidence(index.Digest(), dossier.Times{Valid: past}); e.Platforms[0].Config == "" || e.Platforms[1].Config == "" {
		t.Errorf("what we know now of then leaves out %+v", e.Platforms)
	}
}

func TestImagesOfThePastAreNotComparedWithLaterOnes(t *testing.T) {
	w := newWorld(t)
	c := w.push("app", "1", app("linux/amd64", "1"))
	config := dossier.FromBytes(c.Config())
	w.apply(w.place("ns", "web-1", "app:1", w.ref("app", c.Digest())), w.place("ns", "old-1", "other:1", string(config)))
	past := w.later()
	w.drain()
	e := w.evidence(c.Digest(), dossier.Times{Recorded: past})
	if e.Image != nil || len(e.Requested) != 1 || len(e.Requested[0].Running) != 1 || e.Requested[0].Running[0].Kind != "" {
		t.Errorf("image %+v, requested %+v; want both unread", e.Image, e.Requested)
	}
	var got []dossier.Digest
	for _, d := range w.images(dossier.ImagesQuery{At: dossier.Times{Recorded: past}}) {
		got = append(got, d.Digest)
	}
	if len(got) != 2 {
		t.Errorf("images %v, want the configuration apart: which manifest it is of was not known", got)
	}
	if now := w.images(dossier.ImagesQuery{}); len(now) != 1 || now[0].Digest != c.Digest() {
		t.Errorf("now there are %d images, want the manifest alone", len(now))
	}
}

func TestBasesOfThePast(t *testing.T) {
	w := newWorld(t)
	c := w.push("app", "1", app("linux/amd64", "1"))
	w.collect(w.place("ns", "web-1", "app:1", w.ref("app", c.Digest())))
	past := w.later()
	base := app("linux/amd64", "1")
	base.Layers = base.Layers[:1]
	w.push("base", "1", base)
	if _, err := w.ingest.Inspect(t.Context(), w.registry.Host+"/base:1", false); err != nil {
		t.Fatal(err)
	}
	if e := w.evidence(c.Digest(), dossier.Times{}); len(e.Bases) != 1 || e.Bases[0].Name != w.registry.Host+"/base:1" {
		t.Fatalf("bases now: %+v, want one", e.Bases)
	}
	if e := w.evidence(c.Digest(), dossier.Times{Recorded: past}); len(e.Bases) != 0 {
		t.Errorf("bases known then: %+v, want none", e.Bases)
	}
	between := w.later()
	if _, err := w.ingest.Inspect(t.Context(), w.registry.Host+"/base@"+string(testimage.MustPush(t, w.registry, "copy", "1", base).Digest()), false); err != nil {
		t.Fatal(err)
	}
	if e := w.evidence(c.Digest(), dossier.Times{Recorded: between}); len(e.Bases) != 1 {
		t.Errorf("bases known later: %+v, want one", e.Bases)
	}
}
