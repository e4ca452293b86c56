// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func digest(s string) dossier.Digest { return dossier.FromBytes([]byte(s)) }

func answerOf(status dossier.Status, grade dossier.Grade, summary string) dossier.Answer {
	return dossier.Answer{Status: status, Grade: grade, Summary: summary, Details: map[string][]dossier.Value{}, Evidence: []dossier.Citation{}}
}

func images() []dossier.Dossier {
	what := answerOf(dossier.StatusOK, dossier.GradeClaimed, "web 1.0.0")
	what.Details = map[string][]dossier.Value{
		"version": {{Value: "1.0.0", Grade: dossier.GradeClaimed}, {Value: "1.0.1", Grade: dossier.GradeClaimed}},
		"os":      {{Value: []string{"linux", "plan9"}, Grade: dossier.GradeObserved}},
	}
	what.Evidence = []dossier.Citation{{ID: digest("fact"), Kind: "config.label", Summary: "version=1.0.0"}}
	what.Next = "Say one version."
	unknown := answerOf(dossier.StatusUnknown, dossier.GradeNone, "not scanned")
	return []dossier.Dossier{{
		Digest: digest("web"), MediaType: "application/vnd.oci.image.index.v1+json",
		Platforms: []dossier.PlatformImage{{Platform: "linux/amd64", Manifest: digest("m"), Pods: 2}, {Platform: "linux/arm64", Manifest: digest("n")}},
		Requested: []string{"registry.example/team/web:1.0", "registry.example/team/web:stable"},
		Running: []dossier.Running{
			{Workload: dossier.Workload{Cluster: "c", Namespace: "prod", Kind: "Deployment", Name: "web"}, Container: "web", Type: dossier.Container, Pods: 2},
			{Workload: dossier.Workload{Cluster: "c", Namespace: "prod", Kind: "Deployment", Name: "web"}, Container: "init", Type: dossier.InitContainer, Pods: 2},
		},
		Answers: dossier.Answers{What: what, Origin: answerOf(dossier.StatusFail, dossier.GradeSigned, "wrong source"), Rebuild: unknown, Vulnerabilities: unknown, Currency: answerOf(dossier.StatusWarn, dossier.GradeObserved, "tag stable moved 3 days ago")},
	}, {
		Requested: []string{"nowhere:1\x1b[31m\nsecond line"},
		Answers:   dossier.Answers{What: unknown, Origin: unknown, Rebuild: unknown, Vulnerabilities: unknown, Currency: unknown},
	}}
}

func TestImages(t *testing.T) {
	for name, opt := range map[string]Options{
		"images.txt": {}, "images-wide.txt": {Wide: true}, "images-100.txt": {Width: 100}, "images-60.txt": {Width: 60},
		"images-color.txt": {Color: true, NoHeaders: true}, "images-ascii.txt": {ASCII: true, Width: 110},
	} {
		var b strings.Builder
		if err := Images(&b, dossier.ImageList{Images: images()}, opt); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.String())
		for line := range strings.Lines(b.String()) {
			if n := cells(strings.TrimSuffix(line, "\n")); opt.Width > 0 && n > opt.Width {
				t.Errorf("%s: a line of %d cells on a terminal of %d: %s", name, n, opt.Width, line)
			}
			if strings.Contains(line, "\x1b") && !opt.Color {
				t.Errorf("%s: an escape sequence from outside: %q", name, line)
			}
		}
	}
}

func TestDossier(t *testing.T) {
	var b strings.Builder
	if err := Dossier(&b, images()[0], Options{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "dossier.txt", b.String())
}

func TestHistoryAndFound(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var b strings.Builder
	h := dossier.History{
		Tags: []dossier.TagInterval{{Name: "r.example/web", Tag: "1", Digest: digest("b"), From: at.AddDate(0, 0, 1), CheckedAt: at.AddDate(0, 0, 2)},
			{Name: "r.example/web", Tag: "1", Digest: digest("a"), From: at, To: at.AddDate(0, 0, 1), CheckedAt: at}},
		Layers: []dossier.LayerStep{{Platform: "linux/amd64", Instruction: "ADD rootfs /", Layer: digest("l"), Size: 3_456_789, Base: "alpine:3.20", Created: at},
			{Platform: "linux/amd64", Instruction: `CMD ["sh"]`}},
	}
	if err := History(&b, h, Options{}); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\n")
	found := dossier.FoundList{Found: []dossier.Found{
		{Digest: digest("web"), Field: dossier.FieldSource, Match: "https://git.example/web", References: []string{"docker.io/library/web@" + string(digest("web"))}, Running: images()[0].Running},
		{Digest: digest("idle"), Field: dossier.FieldLabel, Match: "a=b"},
	}}
	if err := Found(&b, found, Options{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "history.txt", b.String())
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "naïve 日本": "naïve 日本", "a\nb\tc": "a b c", "\x1b[2J": `\x1b[2J`, "a\u202eb": `a\u202eb`, "\xff": "\uFFFD", "\x00": `\x00`, "": "",
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\x1b[31m\r\n\u2028")
	f.Fuzz(func(t *testing.T, s string) {
		got := Clean(s)
		if !utf8.ValidString(got) {
			t.Errorf("Clean(%q) = %q is not UTF-8", s, got)
		}
		for _, r := range got {
			if !shown(r) && r != utf8.RuneError {
				t.Errorf("Clean(%q) = %q lets %U through", s, got, r)
			}
		}
		if again := Clean(got); again != got {
			t.Errorf("Clean is not stable: %q, then %q", got, again)
		}
	})
}

func TestFilters(t *testing.T) {
	all := images()
	for filter, want := range map[string]int{
		"": 2, "what=ok": 1, "what=unknown": 1, "what!=unknown": 1, "image~team/web": 1, "image=nothing": 0,
		"namespace=prod": 1, "namespace!=prod": 1, "workload=deployment/web": 1, "workload=web,origin=fail": 1, "digest~sha256": 1,
	} {
		filters, err := ParseFilters(filter)
		if err != nil {
			t.Errorf("ParseFilters(%q): %v", filter, err)
			continue
		}
		if got := len(Select(all, filters)); got != want {
			t.Errorf("%q selects %d, want %d", filter, got, want)
		}
	}
	for _, bad := range []string{"what", "what=good", "what~ok", "beauty=1", "=x", "what!ok"} {
		if _, err := ParseFilters(bad); dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("ParseFilters(%q): %v, want an error of kind invalid", bad, err)
		}
	}
}

func TestSort(t *testing.T) {
	for key, want := range map[string]string{"image": "", "pods": string(digest("web")), "origin": string(digest("web")), "digest": ""} {
		all := images()
		if err := Sort(all, key); err != nil {
			t.Fatal(err)
		}
		if got := string(all[0].Digest); got != want {
			t.Errorf("sorted by %s: %q first, want %q", key, got, want)
		}
	}
	if err := Sort(nil, "beauty"); dossier.HintOf(err) == "" {
		t.Errorf("Sort by beauty: %v, want an error with a hint", err)
	}
}

func TestJSONKeepsText(t *testing.T) {
	var b strings.Builder
	d := images()[0]
	d.Answers.What.Summary = "a <b> & c"
	if err := JSON(&b, d); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), `"a <b> & c"`) {
		t.Errorf("JSON escapes what needs no escape:\n%s", b.String())
	}
	b.Reset()
	if err := YAML(&b, d); err != nil || !strings.Contains(b.String(), "digest: sha256:") {
		t.Errorf("YAML: %v\n%s", err, b.String())
	}
}
