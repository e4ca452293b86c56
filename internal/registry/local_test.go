// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/store/sqlstore/sqltest"
)

// manualClock is a clock that is set by hand.
type manualClock struct{ at atomic.Int64 }

func (c *manualClock) now() time.Time { return time.Unix(c.at.Load(), 0).UTC() }

// TestRestore moves a tag about and points it at what it was.
func TestRestore(t *testing.T) {
	for name, config := range map[string]func(t *testing.T) sqlstore.Config{
		"SQLite": func(t *testing.T) sqlstore.Config {
			return sqlstore.Config{Path: sqltest.File(t)}
		},
		"PostgreSQL": func(t *testing.T) sqlstore.Config { return sqlstore.Config{URL: sqltest.URL(t)} },
	} {
		t.Run(name, func(t *testing.T) { testRestore(t, config(t)) })
	}
}

func testRestore(t *testing.T, config sqlstore.Config) {
	c := &manualClock{}
	c.at.Store(100)
	l := newLabOn(t, config, func(r *registry.Config) {
		r.Now, r.Fixed = c.now, func(_, tag string) bool { return tag == "1.0.0" }
	})
	l.blob(t, "app", "{}")
	body := func(n int) []byte { return artifact(fmt.Sprintf(`,"annotations":{"n":"%d"}`, n)) }
	digest := func(n int) dossier.Digest { return dossier.FromBytes(body(n)) }
	push := func(tag string, n int, at int64) {
		t.Helper()
		c.at.Store(at)
		l.want(t, http.StatusCreated, "", http.MethodPut, "/v2/app/manifests/"+tag, body(n), "Content-Type: "+manifestType)
	}
	push("latest", 1, 1000)
	push("1.0.0", 1, 1000)
	push("latest", 2, 2000)
	push("latest", 3, 3000)
	c.at.Store(4000)
	l.want(t, http.StatusAccepted, "", http.MethodDelete, "/v2/app/manifests/"+string(digest(2)), nil)
	local := l.handler.Local(registry.Caller{}, "test")
	at := func(s int64) time.Time { return time.Unix(s, 0).UTC() }
	for _, tt := range []struct {
		what string
		tag  string
		at   int64
		now  int64
		want dossier.TagChange
		err  string
	}{
		{"before it was there", "latest", 999, 5000, dossier.TagChange{}, "it pointed at nothing then"},
		{"a manifest that is gone", "latest", 2500, 5000, dossier.TagChange{}, string(digest(2)) + ", which anonymous deleted at 1970-01-01T01:06:40Z"},
		{"no such tag", "none", 2500, 5000, dossier.TagChange{}, "it pointed at nothing then"},
		{"as it is", "latest", 3500, 5000, dossier.TagChange{Tag: "latest", Was: digest(3), Now: digest(3), At: at(5000)}, ""},
		{"moved", "latest", 1500, 6000, dossier.TagChange{Tag: "latest", Change: dossier.TagMoved, Was: digest(3), Now: digest(1), At: at(6000)}, ""},
		{"moved back", "latest", 5500, 7000, dossier.TagChange{Tag: "latest", Change: dossier.TagMoved, Was: digest(1), Now: digest(3), At: at(7000)}, ""},
		{"fixed, as it is", "1.0.0", 1000, 7000, dossier.TagChange{Tag: "1.0.0", Was: digest(1), Now: digest(1), At: at(7000)}, ""},
	} {
		c.at.Store(tt.now)
		got, err := local.Restore(t.Context(), "app", tt.tag, at(tt.at))
		if tt.err != "" {
			if dossier.KindOf(err) != dossier.KindNotFound || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: %v", tt.what, err)
			}
			continue
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tt.what, err, diff)
		}
	}
	// A fixed tag that was dropped can come back, and once it is there stays.
	c.at.Store(8000)
	l.want(t, http.StatusAccepted, "", http.MethodDelete, "/v2/app/manifests/1.0.0", nil)
	push("1.0.0", 3, 9000)
	_, err := local.Restore(t.Context(), "app", "1.0.0", at(2000))
	if held, ok := errors.AsType[*store.TagHeld](err); !ok || held.Digest != digest(3) || !held.Since.Equal(at(9000)) {
		t.Errorf("a fixed tag that points elsewhere: %v", err)
	}
	c.at.Store(10_000)
	l.want(t, http.StatusAccepted, "", http.MethodDelete, "/v2/app/manifests/1.0.0", nil)
	got, err := local.Restore(t.Context(), "app", "1.0.0", at(2000))
	if want := (dossier.TagChange{Tag: "1.0.0", Change: dossier.TagAdded, Now: digest(1), At: at(10_000)}); got != want || err != nil {
		t.Errorf("a fixed tag that is gone: %+v, %v", got, err)
	}
	l.checkTagFacts(t, digest(1), "latest", []string{"1000 true", "2000 false", "6000 true", "7000 false"})
}

// checkTagFacts compares the facts of what a tag of app did at a digest.
func (l *lab) checkTagFacts(t *testing.T, d dossier.Digest, tag string, want []string) {
	t.Helper()
	var got []string
	err := l.store.View(t.Context(), func(r store.Reader) error {
		for f, err := range r.Chain(t.Context(), d) {
			if err != nil {
				return err
			}
			if f.Kind == dossier.FactTag && f.Source == "registry:"+host+"/app:"+tag {
				got = append(got, fmt.Sprint(f.ValidAt.Unix(), " ", strings.Contains(string(f.Body), `"points":true`)))
			}
		}
		return nil
	})
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("facts of %s at %s: %v (-want +got):\n%s", tag, d, err, diff)
	}
}

// TestLocalTakes puts blobs, manifests and tags as an import does.
func TestLocalTakes(t *testing.T) {
	c := &manualClock{}
	c.at.Store(10_000)
	l := newLab(t, func(r *registry.Config) {
		r.Now, r.MaxBlob = c.now, 100
		r.Fixed = func(_, tag string) bool { return tag == "1.0.0" }
	})
	ctx, local := t.Context(), l.handler.Local(registry.Caller{}, "test")
	empty, other := dossier.FromBytes([]byte("{}")), dossier.FromBytes([]byte("other"))
	manifest := artifact("", other)
	d := image.Descriptor{Digest: dossier.FromBytes(manifest)}
	// What cannot be taken leaves nothing.
	broken := errors.New("broken")
	for what, tt := range map[string]struct {
		err  error
		want dossier.Kind
	}{
		"other bytes":     {local.PutBlob(ctx, "app", empty, strings.NewReader("[]")), dossier.KindCorrupt},
		"a broken source": {local.PutBlob(ctx, "app", empty, io.MultiReader(strings.NewReader("{"), iotest.ErrReader(broken))), dossier.KindInternal},
		"too much":        {local.PutBlob(ctx, "app", empty, strings.NewReader(strings.Repeat("x", 101))), dossier.KindLimit},
		"no name":         {local.PutBlob(ctx, "../app", empty, strings.NewReader("{}")), dossier.KindInvalid},
		"no repository":   {local.PutManifest(ctx, "app", d, manifest, c.now()), dossier.KindNotFound},
		"other manifest":  {local.PutManifest(ctx, "app", d, artifact(""), c.now()), dossier.KindCorrupt},
	} {
		if tt.err == nil || what != "a broken source" && dossier.KindOf(tt.err) != tt.want {
			t.Errorf("%s: %v, want %s", what, tt.err, tt.want)
		}
		if what == "a broken source" && !errors.Is(tt.err, broken) {
			t.Errorf("%s: %v", what, tt.err)
		}
	}
	if files, err := filepath.Glob(filepath.Join(l.dir, "blobs", "*", "*", "*")); len(files) > 0 || err != nil {
		t.Errorf("left behind: %q, %v", files, err)
	}
	if err := local.PutBlob(ctx, "app", empty, strings.NewReader("{}")); err != nil {
		t.Error(err)
	}
	if err := local.PutBlob(ctx, "lib", other, strings.NewReader("other")); err != nil {
		t.Error(err)
	}
	for _, tt := range []struct {
		path string
		d    dossier.Digest
		want bool
	}{{"app", empty, true}, {"app", other, true}, {"app", d.Digest, false}} {
		if got, err := local.HasBlob(ctx, tt.path, tt.d); got != tt.want || err != nil {
			t.Errorf("%s has %s: %v, %v", tt.path, tt.d, got, err)
		}
	}
	pushed := time.Unix(500, 0).UTC()
	for range 2 {
		if err := local.PutManifest(ctx, "app", d, manifest, pushed); err != nil {
			t.Error(err)
		}
	}
	a := l.want(t, http.StatusOK, "", http.MethodGet, "/v2/app/manifests/"+string(d.Digest), nil)
	if string(a.body) != string(manifest) {
		t.Errorf("the manifest came back as %s", a.body)
	}
	l.want(t, http.StatusOK, "", http.MethodGet, "/v2/app/blobs/"+string(other), nil)
	// Tags keep their times; manifests that are not here are left out.
	second := artifact(`,"annotations":{"n":"2"}`, other)
	e := image.Descriptor{Digest: dossier.FromBytes(second)}
	if err := local.PutManifest(ctx, "app", e, second, pushed); err != nil {
		t.Error(err)
	}
	points := []registry.TagPoint{{Digest: e.Digest, From: time.Unix(2000, 0)}, {Digest: empty, From: time.Unix(1500, 0)}, {Digest: d.Digest, From: time.Unix(1000, 0)}}
	for i, want := range []bool{true, false} {
		if got, err := local.Adopt(ctx, "app", "1.0.0", points); got != want || err != nil {
			t.Errorf("adopting %d: %v, %v", i, got, err)
		}
	}
	l.checkTagFacts(t, d.Digest, "1.0.0", []string{"1000 true", "2000 false"})
	l.checkTagFacts(t, e.Digest, "1.0.0", []string{"2000 true"})
	for d, want := range map[dossier.Digest][]string{d.Digest: {"anonymous tag 1.0.0 was "}, e.Digest: {"anonymous tag 1.0.0 was " + string(d.Digest)}} {
		if got := l.tagEvents(t, d); !slices.Equal(got, want) {
			t.Errorf("on record of %s: %q, want %q", d.Short(), got, want)
		}
	}
	_, err := local.Adopt(ctx, "app", "1.0.0", []registry.TagPoint{{Digest: d.Digest, From: time.Unix(3000, 0)}})
	if _, ok := errors.AsType[*store.TagHeld](err); !ok {
		t.Errorf("moving a fixed tag: %v", err)
	}
	if _, err := local.Adopt(ctx, "app", "-bad", points); dossier.KindOf(err) != dossier.KindInvalid {
		t.Errorf("a bad tag: %v", err)
	}
}

// tagEvents returns who pointed which tags at a digest, as the audit has it.
func (l *lab) tagEvents(t *testing.T, d dossier.Digest) []string {
	t.Helper()
	var list []string
	err := l.store.View(t.Context(), func(r store.Reader) error {
		for fact, err := range r.Chain(t.Context(), d) {
			if err != nil {
				return err
			}
			var body dossier.EventBody
			if fact.Kind != dossier.FactRetag {
				continue
			}
			if err := json.Unmarshal(fact.Body, &body); err != nil {
				return err
			}
			for _, tag := range body.Tags {
				list = append(list, fmt.Sprintf("%s %s %s was %s", body.Caller, body.Object, tag.Tag, tag.Was))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
