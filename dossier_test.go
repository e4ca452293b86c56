// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
	"github.com/google/go-cmp/cmp"
)

// TestImports: the vocabulary stands on the standard library alone, and does
// no I/O.
func TestImports(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		files++
		f, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range f.Imports {
			path, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(path, "/")
			if strings.Contains(first, ".") {
				t.Errorf("%s imports %s, which is not of the standard library", e.Name(), path)
			}
			for _, forbidden := range []string{"os", "net", "io/ioutil", "syscall", "log", "database"} {
				if path == forbidden || strings.HasPrefix(path, forbidden+"/") {
					t.Errorf("%s imports %s, which does I/O", e.Name(), path)
				}
			}
		}
	}
	if files == 0 {
		t.Error("found no files")
	}
}

func TestGrade(t *testing.T) {
	order := []dossier.Grade{dossier.GradeNone, dossier.GradeClaimed, dossier.GradeObserved, dossier.GradeSigned, dossier.GradeReproduced}
	words := []string{"none", "claimed", "observed", "signed", "reproduced"}
	for i, g := range order {
		if g.String() != words[i] {
			t.Errorf("grade %d is %q, want %q", i, g, words[i])
		}
		if i > 0 && order[i-1] >= g {
			t.Errorf("%s is not above %s", g, order[i-1])
		}
		text, err := g.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back dossier.Grade
		if err := back.UnmarshalText(text); err != nil || back != g {
			t.Errorf("%s comes back as %s, %v", g, back, err)
		}
	}
	for _, g := range []dossier.Grade{-1, 5} {
		if _, err := g.MarshalText(); dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("writing %v: %v", g, err)
		}
	}
	var g dossier.Grade
	for _, s := range []string{"", "Signed", "proven", "grade(7)"} {
		if err := g.UnmarshalText([]byte(s)); dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("reading %q: %v", s, err)
		}
	}
}

func TestLowest(t *testing.T) {
	tests := []struct {
		grades []dossier.Grade
		want   dossier.Grade
	}{
		{nil, dossier.GradeNone},
		{[]dossier.Grade{dossier.GradeSigned}, dossier.GradeSigned},
		{[]dossier.Grade{dossier.GradeSigned, dossier.GradeClaimed, dossier.GradeObserved}, dossier.GradeClaimed},
		{[]dossier.Grade{dossier.GradeReproduced, dossier.GradeNone}, dossier.GradeNone},
	}
	for _, test := range tests {
		if got := dossier.Lowest(test.grades...); got != test.want {
			t.Errorf("%v: got %v, want %v", test.grades, got, test.want)
		}
	}
}

func TestError(t *testing.T) {
	cause := errors.New("no route")
	tests := []struct {
		err  error
		text string
		kind dossier.Kind
		hint string
	}{
		{&dossier.Error{Kind: dossier.KindDenied, Op: "reading", Subject: "x", Hint: "Log in.", Err: cause}, "reading x: no route", dossier.KindDenied, "Log in."},
		{&dossier.Error{Kind: dossier.KindDenied, Op: "reading"}, "reading", dossier.KindDenied, ""},
		{&dossier.Error{Kind: dossier.KindDenied}, "denied", dossier.KindDenied, ""},
		{&dossier.Error{Err: cause}, "no route", dossier.KindInternal, ""},
		{dossier.Errorf(dossier.KindLimit, "reading", "x", "too long"), "reading x: too long", dossier.KindLimit, ""},
		{cause, "no route", dossier.KindInternal, ""},
		{
			fmt.Errorf("outer: %w", &dossier.Error{Kind: dossier.KindCorrupt, Op: "a", Err: &dossier.Error{Kind: dossier.KindLimit, Op: "b", Hint: "Do."}}),
			"outer: a: b", dossier.KindCorrupt, "Do.",
		},
		{errors.Join(cause, &dossier.Error{Kind: dossier.KindStorage, Op: "writing", Hint: "Free space."}), "no route\nwriting", dossier.KindStorage, "Free space."},
	}
	for _, test := range tests {
		if got := test.err.Error(); got != test.text {
			t.Errorf("text %q, want %q", got, test.text)
		}
		if got := dossier.KindOf(test.err); got != test.kind {
			t.Errorf("%v: kind %q, want %q", test.err, got, test.kind)
		}
		if got := dossier.HintOf(test.err); got != test.hint {
			t.Errorf("%v: hint %q, want %q", test.err, got, test.hint)
		}
	}
	if got := dossier.KindOf(nil); got != "" {
		t.Errorf("no error is of kind %q", got)
	}
	if got := dossier.HintOf(nil); got != "" {
		t.Errorf("no error has the hint %q", got)
	}
	if !errors.Is(tests[0].err, cause) {
		t.Error("the cause is lost")
	}
}

func sampleDossier() dossier.Dossier {
	at := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	a := dossier.Answer{
		Status: dossier.StatusOK, Grade: dossier.GradeObserved, Summary: "app 1.0", AsOf: at,
		Details:  map[string][]dossier.Value{"name": {{Value: "app", Grade: dossier.GradeClaimed, Evidence: []dossier.Digest{emptySHA256}}}},
		Evidence: []dossier.Citation{{ID: emptySHA256, Kind: "image.config", Source: "image", At: at, Grade: dossier.GradeClaimed, Summary: "labels"}},
	}
	unknown := dossier.Answer{Status: dossier.StatusUnknown, AsOf: at, Details: map[string][]dossier.Value{}, Evidence: []dossier.Citation{}, Next: "Sign it."}
	return dossier.Dossier{
		Digest: emptySHA256, MediaType: "application/vnd.oci.image.manifest.v1+json",
		Platforms:  []dossier.PlatformImage{{Platform: "linux/amd64", Manifest: emptySHA256, Config: emptySHA512, Pods: 2}},
		Requested:  []string{"app"},
		References: []string{"docker.io/library/app@" + emptySHA256},
		Running: []dossier.Running{{
			Workload:  dossier.Workload{Cluster: "c", Namespace: "n", Kind: "Deployment", Name: "d"},
			Container: "main", Type: dossier.Container, Pods: 2,
		}},
		Answers: dossier.Answers{What: a, Origin: a, Rebuild: unknown, Vulnerabilities: unknown, Currency: a},
	}
}

func TestDossierJSON(t *testing.T) {
	unknown := sampleDossier()
	unknown.Digest = ""
	for _, want := range []dossier.Dossier{sampleDossier(), unknown} {
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got dossier.Dossier
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("round trip (-want +got):\n%s", diff)
		}
		start := `{"digest":"` + string(want.Digest) + `","mediaType":`
		if want.Digest == "" {
			start = `{"digest":null,"mediaType":`
		}
		if !strings.HasPrefix(string(b), start) {
			t.Errorf("got %.80s..., want it to begin with %s", b, start)
		}
	}
}

// TestDossierJSONFields holds the names that the user contract promises.
func TestDossierJSONFields(t *testing.T) {
	b, err := json.Marshal(sampleDossier())
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	object := func(v any, path ...string) map[string]any {
		t.Helper()
		for _, p := range path {
			m, ok := v.(map[string]any)
			if !ok {
				t.Fatalf("%v leads to no object", path)
			}
			v = m[p]
			if list, ok := v.([]any); ok {
				v = list[0]
			}
		}
		return v.(map[string]any)
	}
	tests := []struct {
		name  string
		value map[string]any
		want  string
	}{
		{"dossier", all, "answers digest mediaType platforms references requested running"},
		{"platform", object(all, "platforms"), "config manifest platform pods"},
		{"running", object(all, "running"), "cluster container containerType kind name namespace pods"},
		{"answers", object(all, "answers"), "currency origin rebuild vulnerabilities what"},
		{"answer", object(all, "answers", "what"), "asOf details evidence grade next status summary"},
		{"value", object(all, "answers", "what", "details", "name"), "evidence grade value"},
		{"citation", object(all, "answers", "what", "evidence"), "at grade id kind source summary"},
	}
	for _, test := range tests {
		for _, field := range strings.Fields(test.want) {
			if _, ok := test.value[field]; !ok {
				t.Errorf("%s has no field %q", test.name, field)
			}
		}
	}
}

func TestAnswersOf(t *testing.T) {
	var a dossier.Answers
	for _, q := range dossier.Questions() {
		if p := a.Of(q); p == nil {
			t.Errorf("there is no answer to %q", q)
		} else {
			p.Summary = string(q)
		}
	}
	got := []string{a.What.Summary, a.Origin.Summary, a.Rebuild.Summary, a.Vulnerabilities.Summary, a.Currency.Summary}
	if diff := cmp.Diff([]string{"what", "origin", "rebuild", "vulnerabilities", "currency"}, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if a.Of("who") != nil {
		t.Error("there is an answer to a question that nobody asks")
	}
}

func TestSeverity(t *testing.T) {
	order := []dossier.Status{dossier.StatusOK, dossier.StatusUnknown, dossier.StatusWarn, dossier.StatusFail}
	for i := 1; i < len(order); i++ {
		if order[i-1].Severity() >= order[i].Severity() {
			t.Errorf("%s is not less severe than %s", order[i-1], order[i])
		}
	}
}

func TestPods(t *testing.T) {
	web := dossier.Workload{Cluster: "c", Namespace: "n", Kind: "Deployment", Name: "web"}
	job := dossier.Workload{Cluster: "c", Namespace: "n", Kind: "Job", Name: "job"}
	d := dossier.Dossier{Running: []dossier.Running{
		{Workload: web, Container: "a", Pods: 3}, {Workload: web, Container: "b", Pods: 2}, {Workload: job, Container: "a", Pods: 1},
	}}
	if got := d.Pods(); got != 4 {
		t.Errorf("got %d pods, want 4", got)
	}
}

func TestPlace(t *testing.T) {
	pod := dossier.Place{
		Workload: dossier.Workload{Cluster: "c", Namespace: "n", Kind: "Deployment", Name: "web"},
		Pod:      "web-1", PodUID: "u", Container: "main", Type: dossier.Container, Platform: "linux/amd64", Requested: "nginx", Digest: emptySHA256,
	}
	template := pod
	template.Pod, template.PodUID = "", ""
	for _, test := range []struct {
		place dossier.Place
		key   string
		runs  bool
	}{{pod, "pod/n/web-1/u", true}, {template, "template/n/Deployment/web", false}} {
		if got := test.place.Key(); got != test.key {
			t.Errorf("key %q, want %q", got, test.key)
		}
		if _, runs := test.place.RunOf(); runs != test.runs {
			t.Errorf("%s runs: %v, want %v", test.key, runs, test.runs)
		}
		if got, want := test.place.Asked(), "docker.io/library/nginx:latest"; got != want {
			t.Errorf("asked for %q, want %q", got, want)
		}
	}
	run, _ := pod.RunOf()
	if got, want := run.Source(), "cluster:c/n/Deployment/web/container/main@linux/amd64"; got != want {
		t.Errorf("source %q, want %q", got, want)
	}
	pulling := pod
	pulling.Digest, pulling.Requested = "", "Not A Reference"
	if _, runs := pulling.RunOf(); runs || pulling.Asked() != "" {
		t.Errorf("a pod that is still pulling runs: %v, asked for %q", runs, pulling.Asked())
	}
}

func TestPlatformMatches(t *testing.T) {
	tests := []struct {
		have string
		want []string
		ok   bool
	}{
		{"linux/amd64", nil, true},
		{"", []string{"linux/amd64"}, true},
		{"linux/amd64", []string{"linux/arm64", "linux/amd64"}, true},
		{"linux/arm64/v8", []string{"linux/arm64"}, true},
		{"linux/arm64", []string{"linux/arm"}, false},
		{"linux/arm/v6", []string{"linux/arm/v7"}, false},
		{"windows/amd64", []string{"linux/amd64"}, false},
	}
	for _, test := range tests {
		if got := dossier.PlatformMatches(test.have, test.want); got != test.ok {
			t.Errorf("%q for %v: got %v, want %v", test.have, test.want, got, test.ok)
		}
	}
}

func TestChainIDs(t *testing.T) {
	a, b := dossier.FromBytes([]byte("a")), dossier.FromBytes([]byte("b"))
	want := []dossier.Digest{a, dossier.FromBytes([]byte(string(a) + " " + string(b)))}
	if diff := cmp.Diff(want, dossier.ChainIDs([]dossier.Digest{a, b})); diff != "" {
		t.Errorf("chain (-want +got):\n%s", diff)
	}
	if got := dossier.ChainIDs(nil); len(got) != 0 {
		t.Errorf("no layers give %v", got)
	}
}
