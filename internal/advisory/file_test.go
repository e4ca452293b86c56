// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

// write makes files in a directory and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "my feeds!")
	for name, body := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// found writes what was found: "feed (kind): ID ID".
func found(t *testing.T, list []Found) []string {
	t.Helper()
	out := []string{}
	for _, f := range list {
		line := fmt.Sprintf("%s (%s)", f.Feed, f.Kind)
		if f.Kind != KindKEV && f.Kind != KindEPSS {
			line += ":"
			for r, err := range f.Records(Limits{}) {
				if err != nil {
					line += " " + string(dossier.KindOf(err))
					continue
				}
				line += " " + r.ID
			}
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}

func TestFind(t *testing.T) {
	files := map[string]string{
		"Go/all.zip":            string(archiveOf(t, osv("GO-1"))),
		"AlmaLinux-8.zip":       string(archiveOf(t, osv("ALSA-1"), osv("ALSA-2"))),
		"records/A-1.json":      osv("A-1").body,
		"records/deep/A-2.json": osv("A-2").body,
		"records/twice.json":    osv("A-1").body,
		"records/broken.json":   `{"id":"A-3","affected":[{}]}`,
		"secdb/main.json":       `{"distroversion":"v3.20","reponame":"main","packages":[{"pkg":{"name":"a","secfixes":{"1-r0":["CVE-2024-0001"]}}}]}`,
		"tracker.json":          `{"a":{"CVE-2024-0001":{"releases":{"bookworm":{"status":"open"}}}}}`,
		"DSA-list":              "[11 Jun 2023] DSA-1-1 a - x\n\t[bookworm] - a 1-1\n",
		"CVE-list":              "CVE-2024-0002 (x)\n\t- a 1-1\n",
		"vex/cve.json":          vexDocument,
		"kev.json":              `{"catalogVersion":"1","vulnerabilities":[{"cveID":"CVE-2021-44228","dateAdded":"2021-12-10"}]}`,
		"epss.csv.gz":           zipped(scores),
		"readme.md":             "# Feeds",
		"empty":                 "",
		"other.json":            `{"hello":"world"}`,
		"cut.json":              `{"id":`,
	}
	dir := write(t, files)
	list, err := Find(dir, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"Alpine:v3.20 main (alpine secdb): ALPINE-CVE-2024-0001",
		"AlmaLinux-8 (osv archive): ALSA-1 ALSA-2",
		"Debian (debian tracker): DEBIAN-CVE-2024-0001",
		"Debian CVE (debian list): DEBIAN-CVE-2024-0002",
		"Debian DSA (debian list): DSA-1-1",
		"EPSS (epss)",
		"Go (osv archive): GO-1",
		"KEV (kev)",
		"my feeds- (csaf): CVE-2024-0001",
		"my feeds- (osv): A-1 invalid A-2 conflict",
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, found(t, list)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	one, err := Find(filepath.Join(dir, "secdb", "main.json"), Limits{})
	if diff := cmp.Diff([]string{"Alpine:v3.20 main (alpine secdb): ALPINE-CVE-2024-0001"}, found(t, one)); err != nil || diff != "" {
		t.Errorf("one file: %v (-want +got):\n%s", err, diff)
	}
	for _, name := range []string{"readme.md", "empty", "other.json", "cut.json"} {
		if _, err := Find(filepath.Join(dir, name), Limits{}); dossier.KindOf(err) != dossier.KindUnsupported || !strings.Contains(dossier.HintOf(err), "OSV") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Find(filepath.Join(dir, "nothing"), Limits{}); dossier.KindOf(err) != dossier.KindNotFound {
		t.Errorf("nothing: %v", err)
	}
	if _, err := Find(t.TempDir(), Limits{}); dossier.KindOf(err) != dossier.KindNotFound {
		t.Errorf("an empty directory: %v", err)
	}
}

// TestDocumentsAreBounded gives a file that is larger than may be.
func TestDocumentsAreBounded(t *testing.T) {
	dir := write(t, map[string]string{"tracker.json": `{"a":{"CVE-2024-0001":{"releases":{}}}}` + strings.Repeat(" ", 1000)})
	list, err := Find(filepath.Join(dir, "tracker.json"), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range list[0].Records(Limits{Document: 500}) {
		if dossier.KindOf(err) != dossier.KindLimit {
			t.Errorf("%v", err)
		}
	}
}
