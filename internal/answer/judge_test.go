// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

var update = flag.Bool("update", false, "write the golden files of the judges")

// proof is a golden file: evidence, and the answer that it gives.
type proof struct {
	Question dossier.Question `json:"question"`
	Evidence Evidence         `json:"evidence"`
	Answer   dossier.Answer   `json:"answer"`
}

// TestJudge judges the evidence in each golden file. That the file still holds
// the evidence of its case shows that evidence survives being a file.
func TestJudge(t *testing.T) {
	for _, c := range judgeCases() {
		t.Run(string(c.question)+"/"+c.name(), func(t *testing.T) {
			file := filepath.Join("testdata", "judge", string(c.question), c.name()+".json")
			e := c.evidence()
			answers := Judge(e, Policy{})
			if *update {
				writeProof(t, file, proof{c.question, e, *answers.Of(c.question)})
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want proof
			if err := json.Unmarshal(b, &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(indented(t, want.Evidence)), string(indented(t, e))); diff != "" {
				t.Errorf("the file holds other evidence; -want +got\n%s", diff)
			}
			answers = Judge(want.Evidence, Policy{})
			if diff := cmp.Diff(string(indented(t, want.Answer)), string(indented(t, answers.Of(c.question)))); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func indented(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

func writeProof(t *testing.T, file string, p proof) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, indented(t, p), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestGoldenFilesAreUsed finds files that no case reads any more.
func TestGoldenFilesAreUsed(t *testing.T) {
	used := map[string]bool{}
	for _, c := range judgeCases() {
		used[filepath.Join("testdata", "judge", string(c.question), c.name()+".json")] = true
	}
	files, err := filepath.Glob("testdata/judge/*/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !used[f] {
			t.Errorf("%s belongs to no case", f)
		}
	}
}

// TestJudgeIsDeterministic shuffles what has no order.
func TestJudgeIsDeterministic(t *testing.T) {
	for _, c := range judgeCases() {
		e := c.evidence()
		want := indented(t, Judge(e, Policy{}))
		for i := range e.Facts {
			j := len(e.Facts) - 1 - i
			if i < j {
				e.Facts[i], e.Facts[j] = e.Facts[j], e.Facts[i]
			}
		}
		if got := indented(t, Judge(e, Policy{})); !bytes.Equal(want, got) {
			t.Errorf("%s/%s: the order of facts matters\n%s", c.question, c.name(), cmp.Diff(string(want), string(got)))
		}
	}
}

// TestEveryRowHasACase reads the status tables of the specification: each row
// has a case whose answer has the row's status, and each case a row.
func TestEveryRowHasACase(t *testing.T) {
	tables := statusTables(t)
	covered := map[string]bool{}
	for _, c := range judgeCases() {
		row := string(c.question) + "/" + c.row
		status, ok := tables[row]
		if !ok {
			t.Errorf("%s/%s: the specification has no row %s", c.question, c.name(), c.row)
			continue
		}
		covered[row] = true
		answers := Judge(c.evidence(), Policy{})
		if got := answers.Of(c.question).Status; got != status {
			t.Errorf("%s/%s: got %s, the specification says %s", c.question, c.name(), got, status)
		}
	}
	for row := range tables {
		if !covered[row] {
			t.Errorf("no case for the row %s", row)
		}
	}
}

// statusTables returns the status of each row of docs/spec/answers.md, by
// "question/row".
func statusTables(t *testing.T) map[string]dossier.Status {
	t.Helper()
	b, err := os.ReadFile("../../docs/spec/answers.md")
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string]dossier.Status{}
	question := ""
	for line := range strings.Lines(string(b)) {
		if heading, ok := strings.CutPrefix(line, "#"); ok {
			question = ""
			if name, ok := strings.CutPrefix(heading, "## "); ok && slices.Contains(dossier.Questions(), dossier.Question(strings.TrimSpace(name))) {
				question = strings.TrimSpace(name)
			}
			continue
		}
		cells := strings.Split(line, "|")
		if question == "" || len(cells) != 6 || strings.TrimSpace(cells[1]) == "row" || strings.HasPrefix(cells[1], "---") {
			continue
		}
		tables[question+"/"+strings.TrimSpace(cells[1])] = dossier.Status(strings.TrimSpace(cells[3]))
	}
	if len(tables) < 30 {
		t.Fatalf("found %d rows only", len(tables))
	}
	return tables
}

// TestDetailsAreSpecified compares the keys of details with the specification.
func TestDetailsAreSpecified(t *testing.T) {
	want := map[dossier.Question]string{
		dossier.What:            "created description distribution licenses main missed name os packages title version",
		dossier.Origin:          "authors baseDigest baseName builder firstSeen revision source tag vendor",
		dossier.Rebuild:         "arguments base baseDigest builder gaps instructions revision source",
		dossier.Vulnerabilities: "exploited feeds missed notAssessable severities suppressed worst",
		dossier.Currency:        "checked created digests moved mutable pullPolicy tag",
	}
	for _, c := range judgeCases() {
		answers := Judge(c.evidence(), Policy{})
		for q, keys := range want {
			details := answers.Of(q).Details
			delete(details, "signedTag") // is there when a tag is signed
			if got := strings.Join(slices.Sorted(maps.Keys(details)), " "); got != keys {
				t.Errorf("%s/%s: details of %s: got %s, want %s", c.question, c.name(), q, got, keys)
			}
		}
	}
}
