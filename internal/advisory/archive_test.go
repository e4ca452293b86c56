// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/match"
)

// testdata opens a file of real data, or skips the test.
func testdata(t testing.TB, name ...string) *os.File {
	t.Helper()
	dir := os.Getenv("DOSSIER_TESTDATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	f, err := os.Open(filepath.Join(append([]string{dir}, name...)...))
	if err != nil {
		t.Skipf("SKIPPED: no real data: %v", err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// readFeed reads a real feed; each record must be accepted.
func readFeed(t testing.TB, name string) []Record {
	t.Helper()
	f := testdata(t, "feeds", name+".zip")
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	var out []Record
	for r, err := range ReadArchive(f, info.Size(), Limits{}) {
		if err != nil {
			t.Error(err)
			continue
		}
		out = append(out, r)
	}
	return out
}

// index is advisories by the keys under which they are found.
type index map[match.Key][]dossier.Advisory

func newIndex(records []Record) index {
	x := index{}
	for _, r := range records {
		for _, k := range match.KeysOf(r.Advisory) {
			x[k] = append(x[k], r.Advisory)
		}
	}
	return x
}

// about returns the advisories that may concern a package.
func (x index) about(p dossier.Package) []dossier.Advisory {
	var out []dossier.Advisory
	for _, k := range match.Keys(p) {
		out = append(out, x[k]...)
	}
	return out
}

func TestFeeds(t *testing.T) {
	for name, want := range map[string]int{"Go": 4291, "PyPI": 2661, "AlmaLinux-8": 3237, "AlmaLinux-9": 1783, "AlmaLinux-10": 660} {
		t.Run(name, func(t *testing.T) {
			records := readFeed(t, name)
			if len(records) != want {
				t.Errorf("%d records, want %d", len(records), want)
			}
			for _, r := range records {
				if r.SHA256 != dossier.FromBytes(r.Bytes) {
					t.Fatalf("%s: its digest is not that of its bytes", r.ID)
				}
			}
			if keys := len(newIndex(records)); keys < 100 {
				t.Errorf("they are found under %d names only", keys)
			}
		})
	}
}

// TestAnswersOfOSV compares with what OSV.dev answered, ID by ID. A difference is
// explained, or it is a fault.
func TestAnswersOfOSV(t *testing.T) {
	f := testdata(t, "osv-answers", "go.json")
	var cases []struct {
		Ecosystem, Name, Version string
		IDs                      []string
	}
	if err := json.NewDecoder(f).Decode(&cases); err != nil {
		t.Fatal(err)
	}
	all := newIndex(readFeed(t, "Go"))
	explained := map[string]string{
		"golang.org/x/image 0.4.0 misses GHSA-q675-qj96-32m9": "a record of GitHub's that no record of the Go feed names; the feed is Go's alone",
	}
	later := map[string]string{ // fixed in a release that came after the answer was recorded
		"golang.org/x/image 0.4.0": "0.45.0",
		"stdlib 1.19":              "1.25.13",
		"stdlib 1.24.4":            "1.25.13",
	}
	agreed := 0
	for _, c := range cases {
		subject := c.Name + " " + c.Version
		p := dossier.Package{Type: "golang", Ecosystem: c.Ecosystem, Name: c.Name, Version: c.Version}
		ours, want := map[string]bool{}, map[string]bool{}
		for _, id := range c.IDs {
			want[id] = true
		}
		for _, finding := range match.Match(p, all.about(p)).Findings {
			known := want[finding.ID]
			ours[finding.ID] = true
			for _, id := range finding.Aliases {
				ours[id] = true
				known = known || want[id]
			}
			if !known && finding.FixedIn != later[subject] {
				t.Errorf("%s has %s, which OSV.dev did not say", subject, finding.Proof[0].Advisory)
			}
		}
		for _, id := range c.IDs {
			if ours[id] {
				agreed++
			} else if explained[subject+" misses "+id] == "" {
				t.Errorf("%s misses %s", subject, id)
			}
		}
	}
	if agreed != 171 {
		t.Errorf("%d IDs agree, want 171 of 172", agreed)
	}
	t.Logf("%d IDs of %d cases agree", agreed, len(cases))
}

// TestModulesOfAlmaLinux installs for each module stream the build that an update
// fixed: no update of another stream may concern it, and the same one neither.
func TestModulesOfAlmaLinux(t *testing.T) {
	records := readFeed(t, "AlmaLinux-8")
	all := newIndex(records)
	checked, others := 0, 0
	for _, r := range records {
		for _, e := range r.Affected {
			if e.Stream == "" || e.Name != "nodejs" && e.Name != "ruby" && e.Name != "postgresql-server" && e.Name != "podman" {
				continue
			}
			p := dossier.Package{
				Type: "rpm", Ecosystem: e.Ecosystem, Distribution: "almalinux 8", Name: e.Name,
				Version: firstFix(e.Ranges), Module: e.Stream + ":8060020220101000000:ad008a3a",
			}
			checked++
			for _, v := range match.Verdicts(p, all.about(p)) {
				if v.Advisory == r.ID && v.Reason == match.Affected {
					t.Errorf("%s concerns %s, which it fixed", r.ID, p.Version)
				}
				if v.Reason == match.Stream {
					others++
				}
				if v.Reason == match.Affected && !strings.Contains(v.Proof.Fixed, ".module") {
					t.Errorf("%s of %s is compared with %s of no module", e.Stream, p.Version, v.Proof.Fixed)
				}
			}
		}
	}
	if checked < 50 || others < 500 {
		t.Errorf("%d builds were checked, and %d updates are of other streams: too few to show anything", checked, others)
	}
	t.Logf("%d builds, %d updates of other streams", checked, others)
}

// member is a file of an archive.
type member struct{ name, body string }

func archiveOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range members {
		f, err := w.Create(m.name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(m.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func osv(id string) member {
	return member{id + ".json", fmt.Sprintf(`{"id":%q,"modified":"2024-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"a"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}]}]}`, id)}
}

// readAll reads an archive and writes what comes: IDs, refusals, and how it ends.
func readAll(b []byte, limits Limits) (got []string) {
	for r, err := range ReadArchive(bytes.NewReader(b), int64(len(b)), limits) {
		switch e := err.(type) {
		case nil:
			got = append(got, r.ID)
		case *Refused:
			got = append(got, fmt.Sprintf("refused %s: %s", e.Name, dossier.KindOf(e.Err)))
		default:
			got = append(got, "end: "+string(dossier.KindOf(err)))
		}
	}
	return got
}

func TestReadArchive(t *testing.T) {
	flipped := archiveOf(t, osv("A-1"))
	flipped[60] ^= 0xff
	bomb := archiveOf(t, member{"A-1.json", `{"id":"A-1","details":"` + strings.Repeat(" ", 30<<20) + `"}`})
	if len(bomb) > 100_000 {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	manyNames := make([]member, 3000)
	for i := range manyNames {
		manyNames[i] = member{fmt.Sprintf("A-%d%s.json", i, strings.Repeat("x", 200)), "{}"}
	}
	lying := bytes.Replace(archiveOf(t, osv("A-1")), []byte("A-1.json"), []byte("A-2.json"), -1)
	for _, tt := range []struct {
		name   string
		b      []byte
		limits Limits
		want   []string
	}{
		{"two records", archiveOf(t, osv("A-1"), osv("A-2")), Limits{}, []string{"A-1", "A-2"}},
		{"empty", archiveOf(t), Limits{}, nil},
		{"one of them broken", archiveOf(t, osv("A-1"), member{"A-2.json", "{"}, osv("A-3")), Limits{}, []string{"A-1", "refused A-2.json: invalid", "A-3"}},
		{"another's name", lying, Limits{}, []string{"end: corrupt"}},
		{"a path that leads out", archiveOf(t, member{"../../etc/A-1.json", osv("A-1").body}), Limits{}, []string{"end: corrupt"}},
		{"an absolute path", archiveOf(t, member{"/A-1.json", osv("A-1").body}), Limits{}, []string{"end: corrupt"}},
		{"a path of Windows", archiveOf(t, member{`..\A-1.json`, osv("A-1").body}), Limits{}, []string{"end: corrupt"}},
		{"a folder", archiveOf(t, member{"A-1.json/", ""}), Limits{}, []string{"end: corrupt"}},
		{"another file", archiveOf(t, member{"readme.txt", "hello"}), Limits{}, []string{"end: corrupt"}},
		{"a record twice", archiveOf(t, osv("A-1"), osv("A-1")), Limits{}, []string{"A-1", "end: corrupt"}},
		{"no archive", []byte("hello"), Limits{}, []string{"end: corrupt"}},
		{"the end missing", archiveOf(t, osv("A-1"))[:200], Limits{}, []string{"end: corrupt"}},
		{"a bit flipped", flipped, Limits{}, []string{"end: corrupt"}},
		{"a bomb", bomb, Limits{}, []string{"refused A-1.json: limit"}},
		{"too many", archiveOf(t, osv("A-1"), osv("A-2")), Limits{Records: 1}, []string{"end: limit"}},
		{"too much", archiveOf(t, osv("A-1"), osv("A-2")), Limits{Unpacked: 200}, []string{"A-1", "end: limit"}},
		{"too large", archiveOf(t, osv("A-1")), Limits{Archive: 10}, []string{"end: limit"}},
		{"a table of contents that is too large", archiveOf(t, manyNames...), Limits{Directory: 1000}, []string{"end: limit"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, readAll(tt.b, tt.limits)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzReadArchive(f *testing.F) {
	f.Add(archiveOf(f, osv("A-1"), osv("A-2")))
	f.Add(archiveOf(f, member{"../A-1.json", "{}"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		first := readAll(b, Limits{Unpacked: 1 << 20})
		if diff := cmp.Diff(first, readAll(b, Limits{Unpacked: 1 << 20})); diff != "" {
			t.Errorf("a second time:\n%s", diff)
		}
	})
}

// TestListedVersionsLieInRanges takes what the Python advisories say twice: as
// ranges, and as the versions that are in them. The two must agree.
func TestListedVersionsLieInRanges(t *testing.T) {
	explained := map[string]string{
		"PYSEC-2021-114": "2.11.6 is listed, and said to be fixed",
		"PYSEC-2023-177": "23.9.0 is listed, and said to be fixed",
		"PYSEC-2023-61":  "pre-releases of 3.2 and 4.2 are listed, and the ranges begin at 3.2 and 4.2",
	}
	agree := 0
	for _, r := range readFeed(t, "PyPI") {
		for _, e := range r.Affected {
			if len(e.Ranges) == 0 {
				continue
			}
			listed := e.Versions
			e.Versions = nil
			ranged := r.Advisory
			ranged.Affected, ranged.Withdrawn = []dossier.Affected{e}, time.Time{}
			for i := 0; i < len(listed); i += 1 + len(listed)/10 {
				p := dossier.Package{Type: "pypi", Ecosystem: "PyPI", Name: e.Name, Version: listed[i]}
				if len(match.Match(p, []dossier.Advisory{ranged}).Findings) == 1 {
					agree++
				} else if explained[r.ID] == "" {
					t.Errorf("%s lists %s of %s, and we do not find it in its ranges", r.ID, listed[i], e.Name)
				}
			}
		}
	}
	if agree < 10_000 {
		t.Errorf("only %d versions were compared", agree)
	}
	t.Logf("%d versions agree", agree)
}
