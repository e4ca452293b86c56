// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package transfer_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob/disk"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/registry/transfer"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/testimage"
)

const host = "registry.example"

// now is when the tests take place.
var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// day returns a time before now.
func day(n int) time.Time { return time.Date(2026, 1, n, 8, 30, 0, 123456000, time.UTC) }

// lab is a registry into which to import.
type lab struct {
	store store.Store
	local registry.Local
	blobs string // directory
}

func newLab(t testing.TB, config sqlstore.Config, change ...func(*registry.Config)) *lab {
	t.Helper()
	dir := t.TempDir()
	if config.Path == "" && config.URL == "" {
		config.Path = filepath.Join(dir, "test.db")
	}
	db, err := sqlstore.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := disk.Open(disk.Config{Dir: filepath.Join(dir, "blobs")})
	if err != nil {
		t.Fatal(err)
	}
	c := registry.Config{
		Store: db, Blobs: blobs, Name: host, Now: func() time.Time { return now },
		Fixed: func(_, tag string) bool { return strings.Count(tag, ".") == 2 },
	}
	for _, f := range change {
		f(&c)
	}
	h, err := registry.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		_ = blobs.Close()
	})
	return &lab{db, h.Local(registry.Caller{Kind: registry.CallerLocal}, "test"), filepath.Join(dir, "blobs")}
}

// result is what an import said.
type result struct {
	transfer.Report
	problems []string
	err      error
}

func (l *lab) load(ctx context.Context, dir string, change func(*transfer.ImportConfig)) result {
	c := transfer.ImportConfig{Registry: l.local, Now: func() time.Time { return now }}
	var r result
	c.Problem = func(err error) { r.problems = append(r.problems, err.Error()) }
	if change != nil {
		change(&c)
	}
	r.Report, r.err = transfer.Import(ctx, dir, c)
	slices.Sort(r.problems)
	return r
}

// content writes all that the registry holds as text: repositories, manifests with
// what they need, tags with their intervals. Every blob is read and checked.
func (l *lab) content(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	err := l.store.View(t.Context(), func(r store.Reader) error {
		repos, err := r.Repositories(t.Context(), "", 1000)
		if err != nil {
			return err
		}
		for _, repo := range repos {
			fmt.Fprintf(&b, "%s\n", repo.Path)
			manifests, err := r.Manifests(t.Context(), repo.Path, "", 1000)
			if err != nil {
				return err
			}
			for _, m := range manifests {
				whole, err := r.Manifest(t.Context(), repo.Path, m.Digest)
				if err != nil {
					return err
				}
				if !m.Digest.Matches(whole.Body) {
					t.Errorf("manifest %s has other bytes", m.Digest)
				}
				fmt.Fprintf(&b, "  manifest %s %s subject %q\n", m.Digest.Short(), m.PushedAt.Format(time.RFC3339Nano), m.Subject)
				edges, err := r.Edges(t.Context(), []dossier.Digest{m.Digest}, dossier.RoleConfig, dossier.RoleLayer)
				if err != nil {
					return err
				}
				for _, e := range edges {
					l.checkBlob(t, repo.Path, e.Child)
				}
			}
			tags, err := r.TagHistory(t.Context(), repo.Name, "", 1000)
			if err != nil {
				return err
			}
			slices.SortStableFunc(tags, func(a, b dossier.TagInterval) int { return strings.Compare(a.Tag, b.Tag) })
			for _, i := range tags {
				to := "now"
				if !i.To.IsZero() {
					to = i.To.Format(time.RFC3339Nano)
				}
				fmt.Fprintf(&b, "  tag %s %s %s to %s\n", i.Tag, i.Digest.Short(), i.From.Format(time.RFC3339Nano), to)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func (l *lab) checkBlob(t testing.TB, path string, d dossier.Digest) {
	t.Helper()
	f, err := l.local.Blob(t.Context(), path, d)
	if err != nil {
		t.Errorf("blob %s of %s: %v", d, path, err)
		return
	}
	defer f.Close()
	h := d.NewHash()
	if _, err := io.Copy(h, f); err != nil || dossier.FromHash(d.Algorithm(), h) != d {
		t.Errorf("blob %s of %s has other bytes, %v", d, path, err)
	}
}

// facts counts the facts in the store.
func (l *lab) facts(t testing.TB) int {
	t.Helper()
	n := 0
	err := l.store.View(t.Context(), func(r store.Reader) error {
		list, err := r.Facts(t.Context(), 0, 1_000_000)
		n = len(list)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// image is an image of one layer.
func image(t testing.TB, text string) *testimage.Content {
	return testimage.Must(t, testimage.Image{
		Platform: "linux/amd64", Layers: []testimage.Layer{{Files: map[string]testimage.File{"base": testimage.Text("base")}}, {Files: map[string]testimage.File{"app": testimage.Text(text)}}},
		Labels: map[string]string{"text": text},
	})
}

// storage writes the storage root of a distribution registry.
type storage struct {
	t   testing.TB
	dir string
}

func newStorage(t testing.TB) storage { return storage{t, t.TempDir()} }

// file returns a path within the root.
func (s storage) file(parts ...string) string {
	return filepath.Join(append([]string{s.dir, "docker", "registry", "v2"}, parts...)...)
}

func (s storage) write(content []byte, at time.Time, parts ...string) {
	s.t.Helper()
	name := s.file(parts...)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o644); err != nil {
		s.t.Fatal(err)
	}
	if !at.IsZero() {
		if err := os.Chtimes(name, at, at); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s storage) blob(d dossier.Digest) string {
	return s.file("blobs", d.Algorithm(), d.Hex()[:2], d.Hex(), "data")
}

func (s storage) revision(repository string, d dossier.Digest) string {
	return s.file("repositories", repository, "_manifests", "revisions", d.Algorithm(), d.Hex(), "link")
}

// push puts content into a repository.
func (s storage) push(repository string, c *testimage.Content, at time.Time) {
	s.t.Helper()
	put := func(b testimage.Blob, dir string) {
		hex := b.Digest.Hex()
		s.write(b.Bytes, at, "blobs", b.Digest.Algorithm(), hex[:2], hex, "data")
		s.write([]byte(b.Digest), at, "repositories", repository, dir, b.Digest.Algorithm(), hex, "link")
	}
	for _, b := range c.Blobs {
		put(b, "_layers")
	}
	for _, m := range c.Manifests {
		put(m, "_manifests/revisions")
	}
}

// tag points a tag at content.
func (s storage) tag(repository, tag string, d dossier.Digest, at time.Time) {
	s.t.Helper()
	dir := "repositories/" + repository + "/_manifests/tags/" + tag
	s.write([]byte(d), at, dir, "index", d.Algorithm(), d.Hex(), "link")
	s.write([]byte(d), at, dir, "current", "link")
}

func (s storage) remove(name string) {
	s.t.Helper()
	if err := os.Remove(name); err != nil {
		s.t.Fatal(err)
	}
}
