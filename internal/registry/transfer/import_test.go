// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package transfer_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/registry/transfer"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/store/storetest/pgtest"
	"dossier.dev/dossier/internal/testimage"
)

// sampleRoot is a storage root with an index, two images, a signature, a tag that
// moved, one whose manifest was deleted, and a repository within another.
func sampleRoot(t testing.TB) (storage, map[string]*testimage.Content) {
	s := newStorage(t)
	c := map[string]*testimage.Content{"one": image(t, "one"), "two": image(t, "two"), "gone": image(t, "gone")}
	c["index"] = testimage.Must(t, testimage.Index{Entries: []testimage.Entry{
		{Of: testimage.Image{Platform: "linux/amd64", Author: "index"}}, {Of: testimage.Image{Platform: "linux/arm64", Author: "index"}},
	}})
	c["signature"] = testimage.Must(t, testimage.Artifact{ArtifactType: "x/signature", Subject: &c["one"].Root})
	s.push("org/app", c["one"], day(1))
	s.push("org/app", c["signature"], day(2))
	s.push("org/app", c["two"], day(3))
	s.push("org/app", c["gone"], day(4))
	s.push("org/app/deep", c["index"], day(5))
	s.tag("org/app", "latest", c["one"].Digest(), day(1))
	s.tag("org/app", "1.0.0", c["one"].Digest(), day(6))
	s.tag("org/app", "old", c["gone"].Digest(), day(6))
	s.tag("org/app", "latest", c["two"].Digest(), day(7))
	s.tag("org/app/deep", "stable", c["index"].Digest(), day(8))
	s.remove(s.revision("org/app", c["gone"].Digest()))
	return s, c
}

func TestImportStorageRoot(t *testing.T) {
	for name, config := range map[string]func(t *testing.T) sqlstore.Config{
		"SQLite":     func(*testing.T) sqlstore.Config { return sqlstore.Config{} },
		"PostgreSQL": func(t *testing.T) sqlstore.Config { return sqlstore.Config{URL: pgtest.Start(t)} },
	} {
		t.Run(name, func(t *testing.T) { testImportStorageRoot(t, newLab(t, config(t))) })
	}
}

func testImportStorageRoot(t *testing.T, l *lab) {
	s, c := sampleRoot(t)
	r := l.load(t.Context(), s.dir, nil)
	if r.err != nil || len(r.problems) > 0 {
		t.Fatalf("%v, %q", r.err, r.problems)
	}
	got := r.Report
	got.Bytes, got.Blobs = 0, 0
	if want := (transfer.Report{Repositories: 2, Manifests: 6, Tags: 3, Dangling: 1}); got != want {
		t.Errorf("report %+v, want %+v", got, want)
	}
	short := func(name string) string { return c[name].Digest().Short() }
	content := l.content(t)
	for _, want := range []string{
		"tag 1.0.0 " + short("one") + " 2026-01-06T08:30:00.123456Z to now",
		"tag latest " + short("one") + " 2026-01-01T08:30:00.123456Z to 2026-01-07T08:30:00.123456Z",
		"tag latest " + short("two") + " 2026-01-07T08:30:00.123456Z to now",
		"tag stable " + short("index") + " 2026-01-08T08:30:00.123456Z to now",
		"manifest " + short("one") + " 2026-01-01T08:30:00.123456Z subject",
		"manifest " + short("signature") + " 2026-01-02T08:30:00.123456Z subject \"" + string(c["one"].Digest()) + "\"",
	} {
		if !strings.Contains(content, want+"\n") && !strings.Contains(content, want) {
			t.Errorf("there is no %q in\n%s", want, content)
		}
	}
	if strings.Contains(content, short("gone")) || strings.Contains(content, "tag old") {
		t.Errorf("what was deleted is there:\n%s", content)
	}
	// Again: nothing changes.
	facts := l.facts(t)
	again := l.load(t.Context(), s.dir, nil)
	if want := (transfer.Report{Repositories: 2, Known: 9, Dangling: 1}); again.Report != want || again.err != nil {
		t.Errorf("the second time: %+v, %v, want %+v", again.Report, again.err, want)
	}
	if diff := cmp.Diff(content, l.content(t)); diff != "" || l.facts(t) != facts {
		t.Errorf("%d facts, then %d (-first +second):\n%s", facts, l.facts(t), diff)
	}
	// What happens here afterwards stays; what happens there later comes.
	if _, err := l.local.Restore(t.Context(), "org/app", "latest", day(2)); err != nil {
		t.Fatal(err)
	}
	if r := l.load(t.Context(), s.dir, nil); r.Tags != 0 || r.Problems != 0 {
		t.Errorf("after a tag was moved here: %+v %q", r.Report, r.problems)
	}
	if !strings.Contains(l.content(t), "tag latest "+short("one")+" "+now.Format(time.RFC3339)+" to now") {
		t.Errorf("the tag that was moved here is elsewhere:\n%s", l.content(t))
	}
	s.tag("org/app", "next", c["two"].Digest(), day(9))
	s.tag("org/app", "1.0.0", c["two"].Digest(), day(10))
	r = l.load(t.Context(), s.dir, nil)
	if r.Tags != 1 || len(r.problems) != 1 || !strings.Contains(r.problems[0], "1.0.0/current/link") || !strings.Contains(r.problems[0], string(c["one"].Digest())) {
		t.Errorf("after tags were moved there: %+v %q", r.Report, r.problems)
	}
}

// TestImportGoesOn breaks an import off after each thing that it takes, and runs
// it again: in the end all is as if it had not been broken off.
func TestImportGoesOn(t *testing.T) {
	s, _ := sampleRoot(t)
	whole := newLab(t, sqlstore.Config{})
	if r := whole.load(t.Context(), s.dir, nil); r.err != nil || r.Problems > 0 {
		t.Fatalf("%v %q", r.err, r.problems)
	}
	l := newLab(t, sqlstore.Config{})
	broken := errors.New("broken off")
	runs := 0
	for ; runs < 100; runs++ {
		ctx, cancel := context.WithCancelCause(t.Context())
		before := l.content(t)
		r := l.load(ctx, s.dir, func(c *transfer.ImportConfig) {
			c.Workers = 1
			c.Progress = func(r transfer.Report) {
				if r.Blobs+r.Manifests+r.Tags > 0 {
					cancel(broken)
				}
			}
		})
		cancel(nil)
		if r.err != nil && !errors.Is(r.err, broken) && !errors.Is(r.err, context.Canceled) {
			t.Fatal(r.err)
		}
		if r.Problems > 0 {
			t.Fatalf("%q", r.problems)
		}
		if r.err == nil && l.content(t) == before {
			break
		}
	}
	if runs < 5 {
		t.Errorf("it was broken off %d times only", runs)
	}
	if diff := cmp.Diff(whole.content(t), l.content(t)); diff != "" || whole.facts(t) != l.facts(t) {
		t.Errorf("%d and %d facts (-in one +in %d runs):\n%s", whole.facts(t), l.facts(t), runs, diff)
	}
}

// TestImportDamagedRoot damages single files. What does not need them is taken,
// the file is told, and once it is mended the rest comes.
func TestImportDamagedRoot(t *testing.T) {
	whole := newLab(t, sqlstore.Config{})
	good, _ := sampleRoot(t)
	whole.load(t.Context(), good.dir, nil)
	want := whole.content(t)
	for name, tt := range map[string]struct {
		file  func(s storage, c map[string]*testimage.Content) string
		bytes string // empty: it is not there
		told  string
	}{
		"a layer of other bytes":    {func(s storage, c map[string]*testimage.Content) string { return s.blob(c["two"].Blobs[2].Digest) }, "x", "the bytes are "},
		"a layer that is gone":      {func(s storage, c map[string]*testimage.Content) string { return s.blob(c["two"].Blobs[2].Digest) }, "", "it is not there"},
		"a manifest of other bytes": {func(s storage, c map[string]*testimage.Content) string { return s.blob(c["two"].Digest()) }, "{}", "its bytes have another digest"},
		"a manifest that is gone":   {func(s storage, c map[string]*testimage.Content) string { return s.blob(c["two"].Digest()) }, "", "it is not there"},
		"a child of an index that is gone": {func(s storage, c map[string]*testimage.Content) string {
			return s.revision("org/app/deep", c["index"].Manifests[0].Digest)
		}, "", "it is not there"},
		"a link to a layer that is gone": {func(s storage, c map[string]*testimage.Content) string {
			d := c["two"].Blobs[2].Digest
			return s.file("repositories", "org/app", "_layers", d.Algorithm(), d.Hex(), "link")
		}, "", "it is not there"},
		"a link that leads elsewhere": {func(s storage, c map[string]*testimage.Content) string {
			return s.revision("org/app", c["two"].Digest())
		}, "sha256:" + strings.Repeat("0", 64), "it leads to sha256:00"},
		"a link that is none": {func(s storage, c map[string]*testimage.Content) string {
			return s.revision("org/app", c["two"].Digest())
		}, "../../../etc", "its content is no digest"},
		"a tag that is none": {func(s storage, c map[string]*testimage.Content) string {
			return s.file("repositories/org/app/_manifests/tags/latest/current/link")
		}, "latest", "its content is no digest"},
		"a link too large": {func(s storage, c map[string]*testimage.Content) string {
			return s.file("repositories/org/app/_manifests/tags/latest/current/link")
		}, strings.Repeat("x", transfer.MaxLink+1), "it has more than"},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := sampleRoot(t)
			file := tt.file(s, c)
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			if tt.bytes == "" {
				s.remove(file)
			} else {
				s.write([]byte(tt.bytes), time.Time{}, strings.TrimPrefix(file, s.file()))
			}
			l := newLab(t, sqlstore.Config{})
			r := l.load(t.Context(), s.dir, nil)
			if r.err != nil || len(r.problems) == 0 {
				t.Fatalf("%v %q", r.err, r.problems)
			}
			if !strings.Contains(r.problems[0], file) || !strings.Contains(r.problems[0], tt.told) {
				t.Errorf("told %q, want %s: %s", r.problems, file, tt.told)
			}
			if r.Manifests < 3 {
				t.Errorf("of the others not all were taken: %+v", r.Report)
			}
			s.write(before, info.ModTime(), strings.TrimPrefix(file, s.file()))
			if r := l.load(t.Context(), s.dir, nil); r.Problems > 0 {
				t.Errorf("mended: %q", r.problems)
			}
			if diff := cmp.Diff(want, l.content(t)); diff != "" {
				t.Errorf("mended (-want +got):\n%s", diff)
			}
		})
	}
}

// TestImportLayouts takes single layouts and trees of them.
func TestImportLayouts(t *testing.T) {
	one, two := image(t, "one"), image(t, "two")
	single := t.TempDir()
	for tag, c := range map[string]*testimage.Content{"1.0.0": one, "latest": two} {
		if err := testimage.WriteLayout(single, tag, c); err != nil {
			t.Fatal(err)
		}
	}
	tree := t.TempDir()
	for dir, c := range map[string]*testimage.Content{"org/app": one, "org/app/deep": two, "other": two} {
		if err := testimage.WriteLayout(filepath.Join(tree, dir), "latest", c); err != nil {
			t.Fatal(err)
		}
	}
	named := t.TempDir()
	if err := testimage.WriteLayout(named, "docker.io/library/web:2", one); err != nil {
		t.Fatal(err)
	}
	if err := testimage.WriteLayout(named, "registry.example:5000/a/b:3", two); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	for _, tt := range []struct {
		name, dir, repository string
		want                  []string // tags
		problem               string
		kind                  dossier.Kind
	}{
		{"single", single, "my/app", []string{"my/app 1.0.0 one", "my/app latest two"}, "", ""},
		{"single without a name", single, "", nil, "its images say no repository", ""},
		{"tree", tree, "", []string{"org/app latest one", "org/app/deep latest two", "other latest two"}, "", ""},
		{"tree below a name", tree, "in", []string{"in/org/app latest one", "in/org/app/deep latest two", "in/other latest two"}, "", ""},
		{"named", named, "", []string{"a/b 3 two", "library/web 2 one"}, "", ""},
		{"named, and told another", named, "x", []string{"x 2 one", "x 3 two"}, "", ""},
		{"bad name", single, "UPPER", nil, "UPPER", ""},
		{"empty", empty, "", nil, "", dossier.KindNotFound},
		{"none", filepath.Join(empty, "none"), "", nil, "", dossier.KindNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, sqlstore.Config{})
			for range 2 {
				r := l.load(t.Context(), tt.dir, func(c *transfer.ImportConfig) { c.Repository = tt.repository })
				if dossier.KindOf(r.err) != tt.kind {
					t.Errorf("%v, want %q", r.err, tt.kind)
				}
				if told := strings.Join(r.problems, "\n"); (told == "") != (tt.problem == "") || !strings.Contains(told, tt.problem) {
					t.Errorf("problems %q, want %q", told, tt.problem)
				}
			}
			var got []string
			repository := ""
			for line := range strings.Lines(l.content(t)) {
				fields := strings.Fields(line)
				switch {
				case len(fields) == 1:
					repository = fields[0]
				case fields[0] == "tag":
					which := map[string]string{one.Digest().Short(): "one", two.Digest().Short(): "two"}[fields[2]]
					got = append(got, repository+" "+fields[1]+" "+which)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("tags (-want +got):\n%s", diff)
			}
		})
	}
}

// TestImportFailsWithTheRegistry ends an import when the database fails, rather
// than telling of every item.
func TestImportFailsWithTheRegistry(t *testing.T) {
	s, _ := sampleRoot(t)
	l := newLab(t, sqlstore.Config{})
	if err := l.store.Close(); err != nil {
		t.Fatal(err)
	}
	r := l.load(t.Context(), s.dir, nil)
	if dossier.KindOf(r.err) != dossier.KindUnavailable || r.Problems > 0 {
		t.Errorf("%v, %q", r.err, r.problems)
	}
}
