// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer_test

import (
	"context"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/answer"
	"dossier.dev/dossier/internal/cluster"
	"dossier.dev/dossier/internal/contents"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/ingest"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/testimage"
)

// world is a registry, a store, what brings one into the other, and answers.
type world struct {
	t        *testing.T
	registry *testimage.Registry
	ingest   *ingest.Ingest
	answer.Answerer
	now time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, registry: testimage.NewRegistry(t, testimage.RegistryOptions{}), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	now := func() time.Time { return w.now }
	db, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(t.TempDir(), "dossier.db"), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	client := &image.Client{}
	read := func(ctx context.Context, ref string, l dossier.Edge, diffID dossier.Digest) (contents.LayerResult, error) {
		return contents.ReadLayer(ctx, contents.Layer{Digest: l.Child, DiffID: diffID, Open: func(ctx context.Context) (io.ReadCloser, error) {
			return client.Layer(ctx, ref, image.Descriptor{MediaType: l.MediaType, Digest: l.Child, Size: l.Size})
		}}, contents.Options{TempDir: t.TempDir()})
	}
	w.ingest = ingest.New(ingest.Config{Store: db, Images: client, Layer: read, Now: now})
	w.Answerer = answer.Answerer{Store: db, Now: now}
	return w
}

func (w *world) push(repository, tag string, b testimage.Builder) *testimage.Content {
	w.t.Helper()
	return testimage.MustPush(w.t, w.registry, repository, tag, b)
}

// place is one container of one pod. runs is what its runtime says, or "".
func (w *world) place(namespace, pod, requested, runs string) dossier.Place {
	p := dossier.Place{
		Workload: dossier.Workload{Cluster: "c", Namespace: namespace, Kind: "Deployment", Name: strings.TrimRight(pod, "-0123456789")},
		Pod:      pod, PodUID: "uid-" + pod,
		Container: "main", Type: dossier.Container, Platform: "linux/amd64",
		Requested: w.registry.Host + "/" + requested, ImageID: runs, PullPolicy: "IfNotPresent",
		Labels: "app=" + strings.TrimRight(pod, "-0123456789"),
	}
	if id, err := cluster.ParseImageID(runs); err == nil {
		p.Digest = id.Digest
	}
	return p
}

func (w *world) ref(repository string, d dossier.Digest) string {
	return w.registry.Host + "/" + repository + "@" + string(d)
}

// collect applies a list of places and does the work that follows.
func (w *world) collect(places ...dossier.Place) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	if _, err := w.ingest.Apply(ctx, cluster.Snapshot{Cluster: dossier.Cluster{ID: "c", Name: "test"}, Places: places}); err != nil {
		w.t.Fatal(err)
	}
	if err := w.ingest.Drain(ctx, ingest.Kinds(), nil); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) images(q dossier.ImagesQuery) []dossier.Dossier {
	w.t.Helper()
	list, err := w.Images(w.t.Context(), q)
	if err != nil {
		w.t.Fatal(err)
	}
	return list.Images
}

func (w *world) only(q dossier.ImagesQuery) dossier.Dossier {
	w.t.Helper()
	images := w.images(q)
	if len(images) != 1 {
		w.t.Fatalf("%d images, want one: %+v", len(images), images)
	}
	return images[0]
}

var built = time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)

func app(platform, version string) testimage.Image {
	return testimage.Image{
		Platform: platform, Created: built,
		Labels: map[string]string{
			"org.opencontainers.image.title": "app", "org.opencontainers.image.version": version,
			"org.opencontainers.image.source": "https://git.example/app", "org.opencontainers.image.revision": "0123456789abcdef0123456789abcdef01234567",
		},
		Layers: []testimage.Layer{
			{CreatedBy: "ADD base", Files: map[string]testimage.File{"base": testimage.Text(platform)}},
			{CreatedBy: "COPY app", Files: map[string]testimage.File{"app": testimage.Text(version)}},
		},
	}
}

func TestConfigDigestIsResolved(t *testing.T) {
	w := newWorld(t)
	c := w.push("app", "1", app("linux/amd64", "1"))
	config := dossier.FromBytes(c.Config())
	for _, imageID := range []string{string(config), "docker://" + string(config)} {
		w.collect(w.place("ns", "web-1", "app:1", imageID))
		d := w.only(dossier.ImagesQuery{})
		if d.Digest != c.Digest() || d.Answers.What.Summary != "app 1" || d.Pods() != 1 {
			t.Errorf("imageID %s is %s %q in %d pods, want the manifest %s", imageID, d.Digest, d.Answers.What.Summary, d.Pods(), c.Digest())
		}
	}
	// A configuration that nobody can be asked for stays what it is.
	foreign := dossier.FromBytes([]byte("imported by hand"))
	w.collect(w.place("ns", "web-1", "app:1", string(foreign)))
	d := w.only(dossier.ImagesQuery{})
	if d.Digest != foreign || d.Answers.What.Status != dossier.StatusUnknown {
		t.Errorf("a foreign configuration is %s, %s; want itself, unknown", d.Digest, d.Answers.What.Status)
	}
}

// TestNoImageTakesOverAnother: whoever names the manifest of an image as his own
// configuration gets neither its pods nor its name, and changes nothing known of it.
func TestNoImageTakesOverAnother(t *testing.T) {
	for _, order := range []string{"the image first", "the other first"} {
		t.Run(order, func(t *testing.T) {
			w := newWorld(t)
			c := w.push("app", "1", app("linux/amd64", "1"))
			other := app("linux/amd64", "666")
			other.RawConfig = c.Bytes(c.Digest())
			o := w.push("other", "1", other)
			mine, theirs := w.place("ns", "web-1", "app:1", w.ref("app", c.Digest())), w.place("ns", "other-1", "other:1", w.ref("other", o.Digest()))
			local := w.place("ns", "local-1", "app:1", string(c.Digest()))
			want := w.what(c.Digest(), 2, func() {
				if order == "the image first" {
					w.collect(mine, local)
				} else {
					w.collect(theirs)
				}
			}, mine, local)
			got := w.what(c.Digest(), 2, func() { w.collect(mine, local, theirs) }, mine, local, theirs)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("beside the other (-want +got):\n%s", diff)
			}
		})
	}
}

// what answers, after some work, for an image that must have that many pods.
func (w *world) what(d dossier.Digest, pods int, work func(), places ...dossier.Place) dossier.Answers {
	w.t.Helper()
	work()
	w.collect(places...)
	for _, found := range w.images(dossier.ImagesQuery{}) {
		if found.Digest == d && found.Pods() == pods && found.Answers.What.Summary == "app 1" {
			return found.Answers
		}
		w.t.Logf("%s %q with %d pods", found.Digest, found.Answers.What.Summary, found.Pods())
	}
	w.t.Fatalf("%s is not among the images as app 1 with %d pods", d, pods)
	return dossier.Answers{}
}

func TestPlatformsThatRun(t *testing.T) {
	w := newWorld(t)
	c := w.push("app", "1", testimage.Of(app("linux/amd64", "1"), app("linux/arm64", "1")))
	place := w.place("ns", "web-1", "app:1", w.ref("app", c.Digest()))
	w.collect(place)
	d := w.only(dossier.ImagesQuery{})
	if len(d.Platforms) != 1 || d.Platforms[0].Platform != "linux/amd64" || d.Platforms[0].Pods != 1 || d.Platforms[0].Config == "" {
		t.Errorf("platforms %+v, want linux/amd64 with a pod and a configuration", d.Platforms)
	}
	// A node whose platform is not known may run any of them.
	place.Platform = ""
	w.collect(place)
	if d := w.only(dossier.ImagesQuery{}); len(d.Platforms) != 2 || d.Platforms[1].Config == "" {
		t.Errorf("platforms %+v, want both, read", d.Platforms)
	}
}

func TestOneTagSeveralDigests(t *testing.T) {
	w := newWorld(t)
	one := w.push("app", "stable", app("linux/amd64", "1"))
	w.collect(w.place("a", "web-1", "app:stable", w.ref("app", one.Digest())))
	if got := w.only(dossier.ImagesQuery{}).Answers.Currency; got.Status != dossier.StatusWarn { // the tag has no digit: it may move
		t.Errorf("currency of a floating tag: %s %q", got.Status, got.Summary)
	}
	two := w.push("app", "stable", app("linux/amd64", "2"))
	w.now = w.now.Add(time.Hour)
	w.collect(w.place("a", "web-1", "app:stable", w.ref("app", one.Digest())), w.place("b", "web-2", "app:stable", w.ref("app", two.Digest())))
	// Also for who looks at one namespace alone.
	got := w.only(dossier.ImagesQuery{Namespaces: []string{"a"}})
	if got.Digest != one.Digest() || !strings.Contains(got.Answers.Currency.Summary, "moved") {
		t.Errorf("%s: %q, want that the tag moved away", got.Digest, got.Answers.Currency.Summary)
	}
	if len(got.Running) != 1 || got.Running[0].Namespace != "a" {
		t.Errorf("running %+v, want what runs in namespace a", got.Running)
	}
	// The dossier of one image is that of the list.
	single, err := w.Digests(t.Context(), []dossier.Digest{two.Digest()}, dossier.Times{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range w.images(dossier.ImagesQuery{}) {
		if d.Digest == two.Digest() {
			if diff := cmp.Diff(d, single[0]); diff != "" {
				t.Errorf("list and show differ (-list +show):\n%s", diff)
			}
		}
	}
}

func TestAsOf(t *testing.T) {
	w := newWorld(t)
	one := w.push("app", "1", app("linux/amd64", "1"))
	before := w.now
	w.now = w.now.Add(24 * time.Hour)
	w.collect(w.place("ns", "web-1", "app:1", w.ref("app", one.Digest())))
	then := w.now.Add(time.Minute)
	w.now = w.now.Add(24 * time.Hour)
	two := w.push("app", "2", app("linux/amd64", "2"))
	w.collect(w.place("ns", "web-2", "app:2", w.ref("app", two.Digest())))
	if got := w.only(dossier.ImagesQuery{}); got.Digest != two.Digest() {
		t.Errorf("now %s runs, want %s", got.Digest, two.Digest())
	}
	got := w.only(dossier.ImagesQuery{At: dossier.Times{Valid: then}})
	if got.Digest != one.Digest() || got.Answers.What.AsOf != then {
		t.Errorf("then %s ran as of %s, want %s", got.Digest, got.Answers.What.AsOf, one.Digest())
	}
	if images := w.images(dossier.ImagesQuery{At: dossier.Times{Valid: before}}); len(images) != 0 {
		t.Errorf("before anything ran: %+v", images)
	}
	known, err := w.Digests(t.Context(), []dossier.Digest{two.Digest()}, dossier.Times{Recorded: then})
	if err != nil {
		t.Fatal(err)
	}
	if d := known[0]; d.MediaType != "" || len(d.References) != 0 || d.Answers.What.Status != dossier.StatusUnknown {
		t.Errorf("what was known of it before it was read: %+v", d)
	}
}

func TestPendingAndBroken(t *testing.T) {
	w := newWorld(t)
	c := w.push("app", "1", app("linux/amd64", "1"))
	w.collect(
		w.place("ns", "pending-1", "app:1", ""),
		w.place("ns", "missing-1", "nothing:1", ""),
		w.place("ns", "typo-1", "App Name", ""),
	)
	images := w.images(dossier.ImagesQuery{})
	if len(images) != 3 {
		t.Fatalf("%d images, want 3: %+v", len(images), images)
	}
	for _, d := range images {
		what := d.Answers.What
		switch name := d.Requested[0]; {
		case strings.HasSuffix(name, "/app:1"):
			if d.Digest != c.Digest() || d.Pods() != 0 || what.Status != dossier.StatusOK {
				t.Errorf("pending: %s in %d pods: %s", d.Digest, d.Pods(), what.Status)
			}
		case d.Digest != "" || what.Status != dossier.StatusUnknown || what.Grade != dossier.GradeNone || what.Next == "":
			t.Errorf("%s: digest %q, %s (%s), next %q; want unknown with something to do", name, d.Digest, what.Status, what.Grade, what.Next)
		}
	}
}

func TestBases(t *testing.T) {
	w := newWorld(t)
	full := app("linux/amd64", "1")
	base := full
	base.Layers, base.Labels = full.Layers[:1], nil
	b := w.push("base", "3.20", testimage.Of(base))
	c := w.push("app", "1", full)
	for _, ref := range []string{"base:3.20", "app:1"} {
		if _, err := w.ingest.Inspect(t.Context(), w.registry.Host+"/"+ref, false); err != nil {
			t.Fatal(err)
		}
	}
	got, err := w.Digests(t.Context(), []dossier.Digest{c.Digest(), b.Digest()}, dossier.Times{})
	if err != nil {
		t.Fatal(err)
	}
	details := got[0].Answers.Origin.Details
	want := w.registry.Host + "/base:3.20"
	if v := details["baseName"]; len(v) != 1 || v[0].Value != want || v[0].Grade != dossier.GradeObserved {
		t.Errorf("base of the app: %+v, want %s, observed", v, want)
	}
	if v := got[1].Answers.Origin.Details["baseName"]; len(v) != 0 {
		t.Errorf("base of the base: %+v", v)
	}
	h, err := w.HistoryOf(t.Context(), "app", c.Digest(), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	var bases []string
	for _, l := range h.Layers {
		bases = append(bases, l.Base)
	}
	if diff := cmp.Diff([]string{want, ""}, bases); diff != "" {
		t.Errorf("bases of the layers (-want +got):\n%s", diff)
	}
}

func TestLookup(t *testing.T) {
	w := newWorld(t)
	c := w.push("app", "1", app("linux/amd64", "1"))
	if _, err := w.ingest.Inspect(t.Context(), w.registry.Host+"/app:1", false); err != nil {
		t.Fatal(err)
	}
	name := w.registry.Host + "/app"
	for _, ref := range []string{string(c.Digest()), c.Digest().Short(), "sha256:" + c.Digest().Short(), name + ":1", name, name + "@" + string(c.Digest())} {
		if got, err := w.Lookup(t.Context(), ref, dossier.Times{}); err != nil || got != c.Digest() {
			t.Errorf("Lookup(%s) = %s, %v; want %s", ref, got, err, c.Digest())
		}
	}
	for ref, want := range map[string]dossier.Kind{
		name + ":2": dossier.KindNotFound, "nothing": dossier.KindNotFound, "no/Such": dossier.KindInvalid, "ffffffffffff": dossier.KindNotFound, "": dossier.KindInvalid,
	} {
		if got, err := w.Lookup(t.Context(), ref, dossier.Times{}); dossier.KindOf(err) != want {
			t.Errorf("Lookup(%q) = %s, %v; want kind %s", ref, got, err, want)
		}
	}
}

func TestWhere(t *testing.T) {
	w := newWorld(t)
	c := w.push("app", "1", testimage.Of(app("linux/amd64", "1"), app("linux/arm64", "1")))
	w.collect(w.place("ns", "web-1", "app:1", w.ref("app", c.Digest())), w.place("ns", "web-2", "app:1", w.ref("app", c.Digest())))
	d := w.only(dossier.ImagesQuery{})
	layer := ""
	h, err := w.HistoryOf(t.Context(), "app", c.Digest(), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	layer = string(h.Layers[0].Layer)
	for term, field := range map[string]dossier.Field{
		string(c.Digest()): dossier.FieldDigest, c.Digest().Short(): dossier.FieldDigest,
		string(d.Platforms[0].Manifest): dossier.FieldDigest, string(d.Platforms[0].Config): dossier.FieldDigest,
		w.registry.Host + "/app:1": dossier.FieldReference, w.registry.Host + "/app": dossier.FieldReference,
		"git.example/app": dossier.FieldSource, "HTTPS://git.example/app.git": dossier.FieldSource, "git.exam*": dossier.FieldSource,
		"0123456": dossier.FieldRevision, layer: dossier.FieldLayer,
		"org.opencontainers.image.title=app": dossier.FieldLabel,
	} {
		got, err := w.Where(t.Context(), term, 10)
		if err != nil {
			t.Errorf("Where(%s): %v", term, err)
			continue
		}
		i := slices.IndexFunc(got.Found, func(f dossier.Found) bool { return f.Digest == c.Digest() })
		if i < 0 || got.Found[i].Field != field || len(got.Found[i].Running) != 1 || got.Found[i].Running[0].Pods != 2 {
			t.Errorf("Where(%s) found %+v, want %s by its %s in 2 pods", term, got.Found, c.Digest(), field)
		}
	}
	if got, err := w.Where(t.Context(), "nothing like it", 10); err != nil || len(got.Found) != 0 {
		t.Errorf("found %+v, %v", got.Found, err)
	}
	for _, term := range []string{"", "  ", "*"} {
		if _, err := w.Where(t.Context(), term, 10); dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("Where(%q): %v, want an error of kind invalid", term, err)
		}
	}
}

func TestSelector(t *testing.T) {
	w := newWorld(t)
	one, two := w.push("one", "1", app("linux/amd64", "1")), w.push("two", "1", app("linux/amd64", "2"))
	w.collect(w.place("ns", "web-1", "one:1", w.ref("one", one.Digest())), w.place("ns", "api-1", "two:1", w.ref("two", two.Digest())))
	if got := w.only(dossier.ImagesQuery{Selector: "app=api"}); got.Digest != two.Digest() {
		t.Errorf("selected %s, want %s", got.Digest, two.Digest())
	}
	if _, err := w.Images(t.Context(), dossier.ImagesQuery{Selector: "app in ("}); dossier.KindOf(err) != dossier.KindInvalid {
		t.Errorf("malformed selector: %v", err)
	}
}

func TestInheritedLabels(t *testing.T) {
	w := newWorld(t)
	full := app("linux/amd64", "1")
	full.Labels = map[string]string{"org.opencontainers.image.title": "base", "org.opencontainers.image.version": "3.20"}
	base := full
	base.Layers = full.Layers[:1]
	testimage.MustPush(t, w.registry, "base", "3.20", base)
	c := w.push("app", "1", full)
	for _, ref := range []string{"base:3.20", "app:1"} {
		if _, err := w.ingest.Inspect(t.Context(), w.registry.Host+"/"+ref, false); err != nil {
			t.Fatal(err)
		}
	}
	got, err := w.Digests(t.Context(), []dossier.Digest{c.Digest()}, dossier.Times{})
	if err != nil {
		t.Fatal(err)
	}
	if what := got[0].Answers.What; what.Status != dossier.StatusWarn || !strings.HasSuffix(what.Summary, "/app:1 on base 3.20") {
		t.Errorf("an image that says only what its base says is %s %q", what.Status, what.Summary)
	}
}
