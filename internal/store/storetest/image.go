// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

func imageCases() []testCase {
	return []testCase{
		{"images and edges", imagesAndEdges},
		{"an image is replaced", imageIsReplaced},
		{"a configuration replaces no manifest", configReplacesNoManifest},
		{"edges from elsewhere", edgesFromElsewhere},
		{"names", names},
		{"digest prefixes", digestPrefixes},
		{"images page by page", imagesPageByPage},
	}
}

// image returns an image and the edges to its children.
func image(name string, kind dossier.ImageKind, children ...dossier.Edge) (dossier.Image, []dossier.Edge) {
	for i := range children {
		children[i].Parent, children[i].Position = digest(name), i
	}
	return dossier.Image{Digest: digest(name), Kind: kind, MediaType: "type of " + name, Size: 1 << 40, Platform: "linux/arm64/v8"}, children
}

// child returns an edge to digest(name).
func child(name string, role dossier.Role) dossier.Edge {
	return dossier.Edge{Child: digest(name), Role: role, MediaType: "type of " + name, Size: 7, Platform: "linux/amd64"}
}

func putImage(t *testing.T, s store.Store, image dossier.Image, edges []dossier.Edge) {
	t.Helper()
	update(t, s, func(tx store.Tx) error { return tx.PutImage(t.Context(), image, edges) })
}

func imagesAndEdges(t *testing.T, s store.Store) {
	index, indexEdges := image("index", dossier.ImageIndex,
		child("one", dossier.RolePlatform), child("two", dossier.RolePlatform), child("attestation", dossier.RoleAttestation))
	one, oneEdges := image("one", dossier.ImageManifest,
		child("config", dossier.RoleConfig), child("layer", dossier.RoleLayer), child("layer", dossier.RoleLayer))
	two, twoEdges := image("two", dossier.ImageManifest, child("config", dossier.RoleConfig), child("layer", dossier.RoleLayer))
	putImage(t, s, index, indexEdges)
	putImage(t, s, one, oneEdges)
	putImage(t, s, two, append(twoEdges, twoEdges[1])) // one twice

	got := read(t, s, func(r store.Reader) (map[dossier.Digest]dossier.Image, error) {
		return r.Images(t.Context(), []dossier.Digest{index.Digest, two.Digest, digest("none"), two.Digest})
	})
	if diff := cmp.Diff(map[dossier.Digest]dossier.Image{index.Digest: index, two.Digest: two}, got); diff != "" {
		t.Errorf("Images (-want +got):\n%s", diff)
	}

	byParent := slices.Concat(indexEdges, oneEdges)
	slices.SortStableFunc(byParent, func(a, b dossier.Edge) int { return strings.Compare(string(a.Parent), string(b.Parent)) })
	layerOf := []dossier.Edge{oneEdges[1], oneEdges[2], twoEdges[1]}
	slices.SortStableFunc(layerOf, func(a, b dossier.Edge) int { return strings.Compare(string(a.Parent), string(b.Parent)) })
	tests := []struct {
		name string
		read func(store.Reader) ([]dossier.Edge, error)
		want []dossier.Edge
	}{
		{"of two parents", func(r store.Reader) ([]dossier.Edge, error) {
			return r.Edges(t.Context(), []dossier.Digest{one.Digest, index.Digest})
		}, byParent},
		{"of a role", func(r store.Reader) ([]dossier.Edge, error) {
			return r.Edges(t.Context(), []dossier.Digest{index.Digest}, dossier.RoleAttestation)
		}, indexEdges[2:]},
		{"of two roles", func(r store.Reader) ([]dossier.Edge, error) {
			return r.Edges(t.Context(), []dossier.Digest{index.Digest}, dossier.RoleAttestation, dossier.RolePlatform)
		}, indexEdges},
		{"of nobody", func(r store.Reader) ([]dossier.Edge, error) { return r.Edges(t.Context(), nil) }, nil},
		{"to a child", func(r store.Reader) ([]dossier.Edge, error) {
			return r.Parents(t.Context(), []dossier.Digest{digest("layer")})
		}, layerOf},
		{"to a child by a role", func(r store.Reader) ([]dossier.Edge, error) {
			return r.Parents(t.Context(), []dossier.Digest{digest("layer"), digest("attestation")}, dossier.RoleAttestation)
		}, indexEdges[2:]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, read(t, s, tt.read)); diff != "" {
				t.Errorf("edges (-want +got):\n%s", diff)
			}
		})
	}
}

func imageIsReplaced(t *testing.T, s store.Store) {
	first, edges := image("a", dossier.ImageIndex, child("old", dossier.RolePlatform))
	putImage(t, s, first, edges)
	want, wantEdges := image("a", dossier.ImageManifest, child("new", dossier.RoleConfig))
	want.Size, want.Platform = 3, ""
	putImage(t, s, want, wantEdges)
	view(t, s, func(r store.Reader) error {
		got, err := r.Images(t.Context(), []dossier.Digest{want.Digest})
		if err != nil {
			return err
		}
		if diff := cmp.Diff(map[dossier.Digest]dossier.Image{want.Digest: want}, got); diff != "" {
			t.Errorf("Images (-want +got):\n%s", diff)
		}
		gotEdges, err := r.Edges(t.Context(), []dossier.Digest{want.Digest})
		if diff := cmp.Diff(wantEdges, gotEdges); diff != "" {
			t.Errorf("Edges (-want +got):\n%s", diff)
		}
		return err
	})
}

func configReplacesNoManifest(t *testing.T, s store.Store) {
	config := dossier.Image{Digest: digest("m"), Kind: dossier.ImageConfig, Size: 1}
	manifest, edges := image("m", dossier.ImageManifest, dossier.Edge{Child: digest("c"), Role: dossier.RoleConfig})
	read := func() (map[dossier.Digest]dossier.Image, []dossier.Edge) {
		t.Helper()
		edges := read(t, s, func(r store.Reader) ([]dossier.Edge, error) {
			return r.Edges(t.Context(), []dossier.Digest{digest("m")})
		})
		return read(t, s, func(r store.Reader) (map[dossier.Digest]dossier.Image, error) {
			return r.Images(t.Context(), []dossier.Digest{digest("m")})
		}), edges
	}
	putImage(t, s, config, nil)
	config.Size = 2
	putImage(t, s, config, nil)
	if images, _ := read(); images[digest("m")] != config {
		t.Errorf("a configuration replaced by a configuration is %+v", images)
	}
	for _, put := range []func(){func() { putImage(t, s, manifest, edges) }, func() { putImage(t, s, config, nil) }} {
		put()
		if images, got := read(); images[digest("m")] != manifest || !cmp.Equal(edges, got) {
			t.Errorf("it is %+v with edges %v, want the manifest", images, got)
		}
	}
}

func edgesFromElsewhere(t *testing.T, s store.Store) {
	a, _ := image("a", dossier.ImageIndex)
	_, edges := image("b", dossier.ImageIndex, child("c", dossier.RolePlatform))
	wantKind(t, s.Update(t.Context(), func(tx store.Tx) error { return tx.PutImage(t.Context(), a, edges) }), dossier.KindInvalid)
}

func names(t *testing.T, s store.Store) {
	puts := []struct {
		digest, name string
		at           int
		want         bool
	}{
		{"a", "example.com/x", 3, true},
		{"a", "example.com/x", 5, false}, // later
		{"a", "example.com/y", 2, true},
		{"a", "example.com/z", 4, true},
		{"b", "example.com/x", 9, true},
		{"a", "example.com/z", 1, false}, // earlier
		{"a", "EXAMPLE.com/x", 3, true},  // order is that of bytes
	}
	for _, p := range puts {
		got := written(t, s, func(tx store.Tx) (bool, error) {
			return tx.PutName(t.Context(), digest(p.digest), p.name, minute(p.at))
		})
		if got != p.want {
			t.Errorf("PutName(%s, %s, %d) reports %v, want %v", p.digest, p.name, p.at, got, p.want)
		}
	}
	want := map[dossier.Digest][]store.Name{
		digest("a"): {
			{Name: "example.com/z", FirstSeen: minute(1)},
			{Name: "example.com/y", FirstSeen: minute(2)},
			{Name: "EXAMPLE.com/x", FirstSeen: minute(3)},
			{Name: "example.com/x", FirstSeen: minute(3)},
		},
		digest("b"): {{Name: "example.com/x", FirstSeen: minute(9)}},
	}
	got := read(t, s, func(r store.Reader) (map[dossier.Digest][]store.Name, error) {
		return r.Names(t.Context(), []dossier.Digest{digest("a"), digest("b"), digest("none")})
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Names (-want +got):\n%s", diff)
	}
}

func digestPrefixes(t *testing.T, s store.Store) {
	hex := func(algorithm, prefix, fill string) dossier.Digest {
		n := map[string]int{dossier.SHA256: 64, dossier.SHA512: 128}[algorithm]
		return dossier.Digest(algorithm + ":" + prefix + strings.Repeat(fill, n-len(prefix)))
	}
	a0, a9, af := hex(dossier.SHA256, "abcdef01", "0"), hex(dossier.SHA256, "abcdef01", "9"), hex(dossier.SHA256, "abcdef01", "f")
	other, long := hex(dossier.SHA256, "abcdef02", "0"), hex(dossier.SHA512, "abcdef01", "5")
	update(t, s, func(tx store.Tx) error {
		for _, d := range []dossier.Digest{af, a0, other, long} {
			if err := tx.PutImage(t.Context(), dossier.Image{Digest: d, Kind: dossier.ImageManifest}, nil); err != nil {
				return err
			}
		}
		for _, d := range []dossier.Digest{a9, a0} { // one is an image as well
			p := place("c", "p"+string(d[:20]), "main", "")
			p.Digest = d
			if _, err := tx.PutPlaces(t.Context(), "c", keyed(p), minute(0)); err != nil {
				return err
			}
		}
		return nil
	})
	tests := []struct {
		prefix string
		limit  int
		want   []dossier.Digest
	}{
		{"abcdef01", 10, []dossier.Digest{a0, a9, af, long}},
		{"abcdef01", 3, []dossier.Digest{a0, a9, af}},
		{"abcdef01", 2, []dossier.Digest{a0, a9}},
		{"abcdef01", 0, nil},
		{"sha256:abcdef01", 10, []dossier.Digest{a0, a9, af}},
		{"sha512:abcdef01", 10, []dossier.Digest{long}},
		{"abcdef0", 10, []dossier.Digest{a0, a9, af, other, long}},
		{"abcdef01f", 10, []dossier.Digest{af}},
		{string(a9), 10, []dossier.Digest{a9}},
		{"ABCDEF01", 10, nil},
		{"abcdef01%", 10, nil},
		{"md5:abcdef01", 10, nil},
		{"12345678", 10, nil},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.prefix, " ", tt.limit), func(t *testing.T) {
			got := read(t, s, func(r store.Reader) ([]dossier.Digest, error) { return r.MatchDigest(t.Context(), tt.prefix, tt.limit) })
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("MatchDigest (-want +got):\n%s", diff)
			}
		})
	}
}

func imagesPageByPage(t *testing.T, s store.Store) {
	var want []dossier.Image
	update(t, s, func(tx store.Tx) error {
		for i := range 10 {
			img, _ := image(fmt.Sprint(i), dossier.ImageManifest)
			want = append(want, img)
			if err := tx.PutImage(t.Context(), img, nil); err != nil {
				return err
			}
		}
		return nil
	})
	slices.SortFunc(want, func(a, b dossier.Image) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	var got []dossier.Image
	for after := dossier.Digest(""); ; {
		page := read(t, s, func(r store.Reader) ([]dossier.Image, error) { return r.ListImages(t.Context(), after, 4) })
		if len(page) == 0 {
			break
		}
		got = append(got, page...)
		after = page[len(page)-1].Digest
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ListImages (-want +got):\n%s", diff)
	}
}
