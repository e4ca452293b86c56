// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/testimage"
)

// TestConfigOfSeveralManifests: a configuration that several manifests name
// stands for the one that was asked for, also when that lies in an index.
func TestConfigOfSeveralManifests(t *testing.T) {
	w := newWorld(t)
	one, two := app("linux/amd64", "1"), app("linux/amd64", "1")
	one.Annotations, two.Annotations = map[string]string{"n": "1"}, map[string]string{"n": "2"}
	first, err := one.Build()
	if err != nil {
		t.Fatal(err)
	}
	w.push("app", "1", testimage.Of(one, app("linux/arm64", "1")))
	second := w.push("app", "2", two)
	config := string(dossier.FromBytes(second.Config()))
	w.collect(
		w.place("ns", "a-1", "app:1", config),
		w.place("ns", "b-1", "app:2", config),
		w.place("ns", "c-1", "app@"+string(second.Digest()), config),
		w.place("ns", "d-1", "elsewhere:1", config),
	)
	got := map[string]dossier.Digest{}
	for _, d := range w.images(dossier.ImagesQuery{}) {
		for _, r := range d.Running {
			got[r.Name] = d.Digest
		}
	}
	want := map[string]dossier.Digest{"a": first.Digest(), "b": second.Digest(), "c": second.Digest(), "d": dossier.Digest(config)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("workload: image (-want +got):\n%s", diff)
	}
}

// TestPinnedPlacesAreShown: a pod that asks for a digest and does not run yet is
// a place of that image, in the list and alone.
func TestPinnedPlacesAreShown(t *testing.T) {
	w := newWorld(t)
	c := w.push("app", "1", app("linux/amd64", "1"))
	w.collect(
		w.place("ns", "runs-1", "app:1", w.ref("app", c.Digest())),
		w.place("ns", "waits-1", "app@"+string(c.Digest()), ""),
		w.place("ns", "tagged-1", "app:1@"+string(c.Digest()), ""),
	)
	list := w.only(dossier.ImagesQuery{})
	shown, err := w.Digests(t.Context(), []dossier.Digest{c.Digest()}, dossier.Times{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(list.Running, shown[0].Running); diff != "" || len(list.Running) != 3 {
		t.Errorf("%d workloads in the list; alone (-list +alone):\n%s", len(list.Running), diff)
	}
	if diff := cmp.Diff(list.Requested, shown[0].Requested); diff != "" {
		t.Errorf("requested (-list +alone):\n%s", diff)
	}
}

// TestProblemsTellOfTheLastAttempt: not of when the job was made.
func TestProblemsTellOfTheLastAttempt(t *testing.T) {
	w := newWorld(t)
	d := dossier.FromBytes([]byte("missing"))
	w.collect(w.place("ns", "web-1", "missing@"+string(d), ""))
	made := w.now
	w.now = w.now.Add(time.Hour)
	w.drain()
	e := w.evidence(d, dossier.Times{})
	if len(e.Problems) != 1 || !e.Problems[0].At.Equal(made.Add(time.Hour)) || e.Problems[0].Kind != dossier.KindNotFound {
		t.Errorf("problems %+v, want one, of the second attempt", e.Problems)
	}
}

// TestIndexWithinIndex: the platforms of an image are manifests, however deep
// indexes nest.
func TestIndexWithinIndex(t *testing.T) {
	w := newWorld(t)
	amd, arm := app("linux/amd64", "1"), app("linux/arm64", "1")
	c := w.push("app", "1", testimage.Index{Entries: []testimage.Entry{
		{Of: testimage.Index{Entries: []testimage.Entry{{Of: testimage.Of(amd), Platform: "-"}}}, Platform: "-"},
		{Of: arm},
		{Of: testimage.Of(arm), Platform: "-"},
	}})
	place := w.place("ns", "web-1", "app:1", w.ref("app", c.Digest()))
	w.collect(place)
	d := w.only(dossier.ImagesQuery{})
	want, err := amd.Build()
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Platforms) != 1 || d.Platforms[0].Manifest != want.Digest() || d.Platforms[0].Pods != 1 || d.Platforms[0].Config == "" || d.Answers.What.Summary != "app 1" {
		t.Errorf("%q on %+v, want app 1 on %s alone", d.Answers.What.Summary, d.Platforms, want.Digest())
	}
	place.Platform = "" // nobody says what the nodes are
	w.collect(place)
	var got []string
	for _, p := range w.only(dossier.ImagesQuery{}).Platforms {
		got = append(got, p.Platform)
	}
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64"}, got); diff != "" {
		t.Errorf("platforms (-want +got):\n%s", diff)
	}
}
