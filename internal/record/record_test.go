// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
)

// nodes returns a manifest and its configuration.
func nodes(t *testing.T) (manifest, config image.Node) {
	t.Helper()
	diff := dossier.FromBytes([]byte("layer"))
	body := fmt.Appendf(nil, `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[%q]}}`, diff)
	config, err := image.ParseConfig(image.Descriptor{MediaType: "application/vnd.oci.image.config.v1+json"}, body)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
		"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[],
		"annotations":{"org.opencontainers.image.source":"https://git.example/app"}}`, config.MediaType, config.Digest, config.Size)
	manifest, err = image.ParseManifest(image.Descriptor{}, text)
	if err != nil {
		t.Fatal(err)
	}
	return manifest, config
}

// TestTwiceIsOnce records an image, its name and a tag that moves, twice: the
// second time changes nothing.
func TestTwiceIsOnce(t *testing.T) {
	s, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(t.TempDir(), "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	ctx := t.Context()
	manifest, config := nodes(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tag := store.NameTag{Name: "registry.example/app", Tag: "1"}
	all := func(tx store.Tx) error {
		for _, n := range []image.Node{manifest, config} {
			if _, err := Node(ctx, tx, n, []image.Node{manifest, config}); err != nil {
				return err
			}
		}
		if err := Terms(ctx, tx, manifest.Digest, config.Digest); err != nil {
			return err
		}
		if err := Name(ctx, tx, manifest.Digest, tag.Name, at); err != nil {
			return err
		}
		was, _, err := tx.PointTag(ctx, tag.Name, tag.Tag, manifest.Digest, at)
		if err != nil {
			return err
		}
		return Moved(ctx, tx, tag, was, manifest.Digest, at)
	}
	var facts []int
	for range 2 {
		if err := s.Update(ctx, all); err != nil {
			t.Fatal(err)
		}
		err := s.View(ctx, func(r store.Reader) error {
			list, err := r.Facts(ctx, 0, 100)
			facts = append(facts, len(list))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if want := []int{4, 4}; !cmp.Equal(facts, want) {
		t.Errorf("facts after each time: %v, want %v", facts, want)
	}
	err = s.View(ctx, func(r store.Reader) error {
		for _, key := range []string{"git.example/app", "registry.example/app", "registry.example/app:1"} {
			hits, err := r.FindTerms(ctx, store.TermQuery{Key: key, Limit: 10})
			if err != nil {
				return err
			}
			if len(hits) == 0 || hits[0].Digest != manifest.Digest {
				t.Errorf("%s: found %+v, want the manifest", key, hits)
			}
		}
		edges, err := r.Edges(ctx, []dossier.Digest{manifest.Digest}, dossier.RoleChain)
		if len(edges) != 1 {
			t.Errorf("edges to the chain: %v, want one", edges)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestMovedRecordsBothEnds(t *testing.T) {
	s, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(t.TempDir(), "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	a, b := dossier.FromBytes([]byte("a")), dossier.FromBytes([]byte("b"))
	err = s.Update(t.Context(), func(tx store.Tx) error {
		return Moved(t.Context(), tx, store.NameTag{Name: "r.example/x", Tag: "1"}, a, b, time.Unix(1, 0).UTC())
	})
	if err != nil {
		t.Fatal(err)
	}
	err = s.View(t.Context(), func(r store.Reader) error {
		for d, want := range map[dossier.Digest]string{a: `{"name":"r.example/x","tag":"1","points":false}`, b: `{"name":"r.example/x","tag":"1","points":true}`} {
			for f, err := range r.Chain(t.Context(), d) {
				if err != nil || string(f.Body) != want {
					t.Errorf("fact of %s: %s, %v; want %s", d, f.Body, err, want)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestTermsFollowTags moves tags about and checks after each step that the terms
// are those that Terms would make anew.
func TestTermsFollowTags(t *testing.T) {
	s, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(t.TempDir(), "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	ctx := t.Context()
	a, b := dossier.FromBytes([]byte("a")), dossier.FromBytes([]byte("b"))
	references := func() (list []store.TermHit) {
		err := s.View(ctx, func(r store.Reader) (err error) {
			list, err = r.FindTerms(ctx, store.TermQuery{Key: "r.example/x", Prefix: true, Limit: 100})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	for i, step := range []struct {
		tag string
		to  dossier.Digest // "": nowhere
	}{{"v1", a}, {"V1", a}, {"v1.git", a}, {"v1", b}, {"V1", ""}, {"v1.git", b}, {"V1", b}, {"v1", ""}} {
		at, tag := time.Unix(int64(i), 0).UTC(), store.NameTag{Name: "r.example/x", Tag: step.tag}
		err := s.Update(ctx, func(tx store.Tx) error {
			if step.to == "" {
				was, _, err := tx.DropTag(ctx, tag.Name, tag.Tag, at)
				return errors.Join(err, Moved(ctx, tx, tag, was, "", at))
			}
			was, _, err := tx.PointTag(ctx, tag.Name, tag.Tag, step.to, at)
			return errors.Join(err, Name(ctx, tx, step.to, tag.Name, at), Moved(ctx, tx, tag, was, step.to, at))
		})
		if err != nil {
			t.Fatal(err)
		}
		got := references()
		if err := s.Update(ctx, func(tx store.Tx) error { return Terms(ctx, tx, a, b) }); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(references(), got); diff != "" {
			t.Errorf("after step %d (-made anew +as they are):\n%s", i, diff)
		}
	}
	if got := len(references()); got != 4 {
		t.Errorf("%d terms in the end, want the name twice and two tags", got)
	}
}
