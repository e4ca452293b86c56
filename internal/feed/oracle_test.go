// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/contents"
	"dossier.dev/dossier/internal/match"
	"dossier.dev/dossier/internal/store"
)

// oracleEnv turns on a test that installs a Debian system, which takes minutes.
const oracleEnv = "DOSSIER_ORACLE"

// TestDebianOracle installs a release of Debian as it was published, and asks
// which vulnerabilities its security updates mended since. The truth is in their
// changelogs: each entry above the installed version names what it mends. The
// same facts, as Debian's tracker would write them, must give the same findings
// in the image of that system. It tests how packages, their sources and the order of
// versions are read, not the tracker.
func TestDebianOracle(t *testing.T) {
	if os.Getenv(oracleEnv) == "" {
		t.Skipf("SKIPPED: %s is not set", oracleEnv)
	}
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: only root can install a system")
	}
	for _, suite := range strings.Fields(os.Getenv(oracleEnv)) {
		t.Run(suite, func(t *testing.T) { askOracle(t, suite) })
	}
}

func askOracle(t *testing.T, suite string) {
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	run(t, dir, "debootstrap", "--variant=minbase", "--include=curl,python3-requests,openssl", suite, root)
	packages := imageOf(t, dir, root)
	facts, installed := map[string][]change{}, map[string]string{}
	for name, archive := range updates(t, dir, root, suite) {
		i := slices.IndexFunc(packages, func(p dossier.PackageAt) bool { return p.Type == "deb" && p.Name == name })
		if i < 0 {
			t.Errorf("%s is installed, and was not read", name)
			continue
		}
		if source := packages[i].Source; facts[source] == nil {
			facts[source], installed[source] = changelogIn(t, archive), packages[i].SourceVersion
		}
	}
	want, sources := map[string][]string{}, 0
	for source, changes := range facts {
		now := slices.IndexFunc(changes, func(c change) bool { return c.version == installed[source] })
		if now < 0 {
			t.Logf("%s %s is not in the changelog of its update: it is left out", source, installed[source])
			delete(facts, source)
			continue
		}
		sources++
		for _, c := range changes[:now] {
			want[source] = append(want[source], c.cves...)
		}
		slices.Sort(want[source])
		if want[source] = slices.Compact(want[source]); len(want[source]) == 0 {
			delete(want, source)
		}
	}
	got := findBySource(t, packages, trackerOf(t, suite, facts))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("vulnerabilities by source package (-changelogs +found):\n%s", diff)
	}
	n := 0
	for _, list := range want {
		n += len(list)
	}
	if sources < 5 || n < 10 {
		t.Errorf("%d source packages with %d vulnerabilities show too little", sources, n)
	}
	t.Logf("%s: %d source packages, %d vulnerabilities", suite, sources, n)
}

// run runs a program and returns what it prints.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out[max(0, len(out)-2000):], stderr.Bytes())
	}
	return string(out)
}

// imageOf returns the packages of an image of one layer, the system below root.
func imageOf(t *testing.T, dir, root string) []dossier.PackageAt {
	t.Helper()
	layer := filepath.Join(dir, "layer.tar")
	run(t, dir, "tar", "--sort=name", "--exclude=./proc/*", "--exclude=./sys/*", "--exclude=./dev/*", "-C", root, "-cf", layer, ".")
	b, err := os.ReadFile(layer)
	if err != nil {
		t.Fatal(err)
	}
	d := dossier.FromBytes(b)
	r, err := contents.ReadLayer(t.Context(), contents.Layer{Digest: d, DiffID: d, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b)), nil
	}}, contents.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return contents.Fold([]contents.LayerResult{r}).All()
}

var installLine = regexp.MustCompile(`(?m)^Inst (\S+) \[\S+\] \((\S+)`)

// updates fetches the security updates for the system below root: its packages
// by name, as files.
func updates(t *testing.T, dir, root, suite string) map[string]string {
	t.Helper()
	list := filepath.Join(dir, "sources.list")
	put(t, list, "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian-security "+suite+"-security main\n")
	for _, d := range []string{"state/lists/partial", "cache/archives/partial", "debs"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	debs := filepath.Join(dir, "debs")
	apt := func(args ...string) string {
		return run(t, debs, "apt-get", append([]string{
			"-qq", "-o", "Dir::Etc::SourceList=" + list, "-o", "Dir::Etc::SourceParts=/dev/null", "-o", "Dir::State=" + filepath.Join(dir, "state"),
			"-o", "Dir::State::status=" + filepath.Join(root, "var/lib/dpkg/status"), "-o", "Dir::Cache=" + filepath.Join(dir, "cache"), "-o", "APT::Sandbox::User=root",
		}, args...)...)
	}
	apt("update")
	out := map[string]string{}
	for _, m := range installLine.FindAllStringSubmatch(apt("--simulate", "dist-upgrade"), -1) {
		apt("download", m[1]+"="+m[2])
		files, err := filepath.Glob(filepath.Join(debs, m[1]+"_*.deb"))
		if err != nil || len(files) != 1 {
			t.Fatalf("%s: %v %v", m[1], files, err)
		}
		out[m[1]] = files[0]
	}
	return out
}

// change is an entry of a changelog.
type change struct {
	version string
	cves    []string
}

var (
	changeLine = regexp.MustCompile(`^\S+ \(([^)]+)\) `)
	cveName    = regexp.MustCompile(`CVE-[0-9]{4}-[0-9]{4,}`)
)

// changelogIn returns the entries of the changelog in a package, the newest
// first; nil when it has none.
func changelogIn(t *testing.T, archive string) []change {
	t.Helper()
	files := tar.NewReader(strings.NewReader(run(t, filepath.Dir(archive), "dpkg-deb", "--fsys-tarfile", archive)))
	for {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		base := filepath.Base(h.Name)
		if h.Typeflag != tar.TypeReg || base != "changelog.Debian.gz" && base != "changelog.gz" {
			continue
		}
		z, err := gzip.NewReader(files)
		if err != nil {
			t.Fatal(err)
		}
		var out []change
		for lines := bufio.NewScanner(z); lines.Scan(); {
			if m := changeLine.FindStringSubmatch(lines.Text()); m != nil {
				out = append(out, change{version: m[1]})
			} else if len(out) > 0 {
				last := &out[len(out)-1]
				last.cves = append(last.cves, cveName.FindAllString(lines.Text(), -1)...)
			}
		}
		if len(out) > 0 {
			return out
		}
	}
}

// trackerOf writes facts as Debian's tracker does. What several entries name is
// mended by the newest.
func trackerOf(t *testing.T, suite string, facts map[string][]change) string {
	t.Helper()
	type release struct {
		Status string `json:"status"`
		Fixed  string `json:"fixed_version"`
	}
	type entry struct {
		Releases map[string]release `json:"releases"`
	}
	tracker := map[string]map[string]entry{}
	for source, changes := range facts {
		for _, c := range slices.Backward(changes) {
			for _, cve := range c.cves {
				if tracker[source] == nil {
					tracker[source] = map[string]entry{}
				}
				tracker[source][cve] = entry{map[string]release{suite: {"resolved", c.version}}}
			}
		}
	}
	b, err := json.Marshal(tracker)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "tracker.json")
	put(t, path, string(b))
	return path
}

// findBySource imports a tracker and returns what is found in packages, by the
// source package.
func findBySource(t *testing.T, packages []dossier.PackageAt, tracker string) map[string][]string {
	t.Helper()
	k := newKeeper(t, "")
	if err := k.Import(t.Context(), tracker, func(r Report) error {
		t.Logf("%d advisories are made from the changelogs", r.Feed.Records)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	err := k.Store.View(t.Context(), func(r store.Reader) error {
		for _, p := range packages {
			list, err := r.Advisories(t.Context(), store.AdvisoryQuery{Keys: match.Keys(p.Package)})
			if err != nil {
				return err
			}
			for _, f := range match.Match(p.Package, list).Findings {
				out[p.Source] = append(out[p.Source], f.ID)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for source := range out {
		slices.Sort(out[source])
		out[source] = slices.Compact(out[source])
	}
	return out
}
