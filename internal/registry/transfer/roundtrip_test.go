// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package transfer_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/registry/transfer"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/testimage"
)

// indexOf returns the entries of a layout as "TAG DIGEST", with "-" for no tag.
func indexOf(t *testing.T, dir string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "index.json"))
	must(t, err)
	var index struct {
		Manifests []struct {
			Digest      dossier.Digest
			Annotations map[string]string
		}
	}
	must(t, json.Unmarshal(b, &index))
	var list []string
	for _, m := range index.Manifests {
		tag := m.Annotations["org.opencontainers.image.ref.name"]
		if tag == "" {
			tag = "-"
		}
		list = append(list, tag+" "+m.Digest.Short())
	}
	return list
}

// TestExportAndImport writes all repositories out, takes them into another registry,
// and compares: what is not told is only where tags pointed before.
func TestExportAndImport(t *testing.T) {
	from, to := newLab(t, sqlstore.Config{}), newLab(t, sqlstore.Config{})
	s, c := sampleRoot(t)
	if r := from.load(t.Context(), s.dir, nil); r.err != nil {
		t.Fatal(r.err)
	}
	dir := filepath.Join(t.TempDir(), "out")
	for i := range 2 { // the second time finds all blobs there
		r, err := transfer.Export(t.Context(), dir, transfer.ExportConfig{Registry: from.local})
		if err != nil || r.Repositories != 2 || r.Manifests != 6 || r.Tags != 3 || (r.Blobs == 0) != (i == 1) {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	short := func(name string) string { return c[name].Digest().Short() }
	want := []string{"1.0.0 " + short("one"), "latest " + short("two"), "- " + short("signature")}
	if got := indexOf(t, filepath.Join(dir, "org/app")); !slices.Equal(got, want) {
		t.Errorf("index: %q, want %q", got, want)
	}
	if got := indexOf(t, filepath.Join(dir, "org/app/deep")); !slices.Equal(got, []string{"stable " + short("index")}) {
		t.Errorf("index: %q", got)
	}
	if r := to.load(t.Context(), dir, nil); r.err != nil || r.Problems > 0 {
		t.Fatalf("%v %q", r.err, r.problems)
	}
	strip := func(content string) string { // times of manifests, and what was before
		var kept []string
		for line := range strings.Lines(content) {
			fields := strings.Fields(line)
			switch {
			case fields[0] == "manifest":
				kept = append(kept, strings.Join(append(fields[:2], fields[3:]...), " "))
			case fields[0] != "tag" || fields[len(fields)-1] == "now":
				kept = append(kept, strings.TrimSpace(line))
			}
		}
		return strings.Join(kept, "\n")
	}
	if diff := cmp.Diff(strip(from.content(t)), strip(to.content(t))); diff != "" {
		t.Errorf("(-exported +imported):\n%s", diff)
	}
	noneUnfinished(t, dir)
}

func noneUnfinished(t *testing.T, dir string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(name, ".unfinished") {
			t.Errorf("%s is left", name)
		}
		return err
	}))
}

// TestExportSelection writes single tags and manifests, with what refers to them.
func TestExportSelection(t *testing.T) {
	l := newLab(t, sqlstore.Config{})
	s, c := sampleRoot(t)
	cosign := testimage.Must(t, testimage.Artifact{ArtifactType: "x/cosign"})
	companion := "sha256-" + c["two"].Digest().Hex() + ".sig"
	s.push("org/app", cosign, day(9))
	s.tag("org/app", companion, cosign.Digest(), day(9))
	if r := l.load(t.Context(), s.dir, nil); r.err != nil || r.Problems > 0 {
		t.Fatalf("%v %q", r.err, r.problems)
	}
	short := func(name string) string { return c[name].Digest().Short() }
	for _, tt := range []struct {
		name      string
		selection transfer.Selection
		want      []string
		kind      dossier.Kind
	}{
		{"a tag with its signature", transfer.Selection{Repository: "org/app", Tag: "1.0.0"}, []string{"1.0.0 " + short("one"), "- " + short("signature")}, ""},
		{"a tag with its companion", transfer.Selection{Repository: "org/app", Tag: "latest"}, []string{"latest " + short("two"), companion + " " + cosign.Digest().Short()}, ""},
		{"a digest", transfer.Selection{Repository: "org/app", Digest: c["one"].Digest()}, []string{"- " + short("one"), "- " + short("signature")}, ""},
		{"an index", transfer.Selection{Repository: "org/app/deep", Tag: "stable"}, []string{"stable " + short("index")}, ""},
		{"no tag", transfer.Selection{Repository: "org/app", Tag: "none"}, nil, dossier.KindNotFound},
		{"no manifest", transfer.Selection{Repository: "org/app", Digest: c["index"].Digest()}, nil, dossier.KindNotFound},
		{"no repository", transfer.Selection{Repository: "none"}, nil, dossier.KindNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := transfer.Export(t.Context(), dir, transfer.ExportConfig{Registry: l.local, Select: []transfer.Selection{tt.selection}})
			if dossier.KindOf(err) != tt.kind {
				t.Fatalf("%v, want %q", err, tt.kind)
			}
			if tt.kind != "" {
				return
			}
			got := indexOf(t, dir)
			slices.Sort(got)
			slices.Sort(tt.want)
			if !slices.Equal(got, tt.want) {
				t.Errorf("index: %q, want %q", got, tt.want)
			}
		})
	}
	both := t.TempDir()
	_, err := transfer.Export(t.Context(), both, transfer.ExportConfig{Registry: l.local, Select: []transfer.Selection{
		{Repository: "org/app", Tag: "latest"}, {Repository: "org/app/deep"}, {Repository: "org/app", Tag: "1.0.0"},
	}})
	must(t, err)
	if got := indexOf(t, filepath.Join(both, "org/app")); len(got) != 4 {
		t.Errorf("index: %q", got)
	}
	indexOf(t, filepath.Join(both, "org/app/deep"))
}

// TestExportOfDamage has the registry's own bytes damaged: they are not written out
// as what they are not.
func TestExportOfDamage(t *testing.T) {
	l := newLab(t, sqlstore.Config{}, func(c *registry.Config) { c.MaxSmall = -1 })
	s, c := sampleRoot(t)
	if r := l.load(t.Context(), s.dir, nil); r.err != nil {
		t.Fatal(r.err)
	}
	files, err := filepath.Glob(filepath.Join(l.blobs, "blobs", "*", "*"))
	must(t, err)
	for _, f := range files {
		must(t, os.WriteFile(f, []byte("damaged"), 0o600))
	}
	dir := t.TempDir()
	_, err = transfer.Export(t.Context(), dir, transfer.ExportConfig{Registry: l.local, Select: []transfer.Selection{{Repository: "org/app", Digest: c["one"].Digest()}}})
	if dossier.KindOf(err) != dossier.KindCorrupt {
		t.Errorf("%v, want it refused as corrupt", err)
	}
	checkLayoutBlobs(t, dir)
	noneUnfinished(t, dir)
}

// TestExportGoesOn breaks an export off after each step; no file that is there by
// its name is half written, and the index comes last.
func TestExportGoesOn(t *testing.T) {
	l := newLab(t, sqlstore.Config{})
	s, _ := sampleRoot(t)
	if r := l.load(t.Context(), s.dir, nil); r.err != nil {
		t.Fatal(r.err)
	}
	dir := t.TempDir()
	broken := errors.New("broken off")
	for after := 1; ; after++ {
		ctx, cancel := context.WithCancelCause(t.Context())
		n := 0
		_, err := transfer.Export(ctx, dir, transfer.ExportConfig{
			Registry: l.local, Select: []transfer.Selection{{Repository: "org/app"}},
			Progress: func(transfer.Report) {
				if n++; n == after {
					cancel(broken)
				}
			},
		})
		cancel(nil)
		checkLayoutBlobs(t, dir)
		if err == nil {
			break
		}
		if _, statErr := os.Stat(filepath.Join(dir, "index.json")); !errors.Is(statErr, fs.ErrNotExist) {
			t.Fatalf("after step %d, where it ended with %v, there is an index", after, err)
		}
		if after > 100 {
			t.Fatal("it does not end")
		}
	}
	if got := indexOf(t, dir); len(got) != 3 {
		t.Errorf("index: %q", got)
	}
	noneUnfinished(t, dir)
}

// checkLayoutBlobs checks every blob of a layout.
func checkLayoutBlobs(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*"))
	must(t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		must(t, err)
		if d := dossier.FromBytes(b); d.Hex() != filepath.Base(f) {
			t.Errorf("%s is %s", f, d)
		}
	}
}
