// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

const digestA = dossier.Digest("sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
const digestB = dossier.Digest("sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")

func TestParseConfig(t *testing.T) {
	got, err := ParseConfig([]byte(`{
		"created": "2024-05-01T10:00:00Z", "author": "A", "architecture": "arm64", "os": "linux", "variant": "v8",
		"config": {"Env": ["PATH=/bin"], "Entrypoint": "/app", "Cmd": ["-v"], "WorkingDir": "/srv", "Labels": {"a": "b"}},
		"rootfs": {"type": "layers", "diff_ids": ["` + string(digestA) + `", "sha256:zz"]},
		"history": [{"created_by": "RUN x", "empty_layer": true}], "more": 1}`))
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Created: "2024-05-01T10:00:00Z", Author: "A", Platform: Platform{OS: "linux", Architecture: "arm64", Variant: "v8"},
		Env: []string{"PATH=/bin"}, Entrypoint: []string{"/app"}, Cmd: []string{"-v"}, WorkingDir: "/srv",
		Labels: map[string]string{"a": "b"}, DiffIDs: []dossier.Digest{digestA, ""},
		History: []HistoryEntry{{CreatedBy: "RUN x", EmptyLayer: true}}, Problem: "a diffID is malformed",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if got := got.Platform.String(); got != "linux/arm64/v8" {
		t.Errorf("platform %q", got)
	}
}

func TestParseConfigKeepsTheRest(t *testing.T) {
	for _, tt := range []struct{ in, problem string }{
		{`{"author": "A", "created": 5}`, "created is a JSON number"},
		{`{"author": "A", "config": {"Labels": {"x": 1}}}`, "is a JSON number"},
		{`{"config": {"Cmd": 5}, "author": "A"}`, "the command is not a list of strings"},
		{`{"config": null, "history": null, "author": "A"}`, ""},
	} {
		got, err := ParseConfig([]byte(tt.in))
		if err != nil || got.Author != "A" || !strings.Contains(got.Problem, tt.problem) || (tt.problem == "") != (got.Problem == "") {
			t.Errorf("%s: got %+v, %v; want problem %q", tt.in, got, err, tt.problem)
		}
	}
}

func TestParseFails(t *testing.T) {
	config := func(b []byte) error { _, err := ParseConfig(b); return err }
	manifest := func(b []byte) error { _, err := ParseManifest(b); return err }
	index := func(b []byte) error { _, err := ParseIndex(b); return err }
	many := strings.Repeat(`{},`, MaxEntries) + `{}`
	for _, tt := range []struct {
		name  string
		parse func([]byte) error
		in    string
		want  dossier.Kind
	}{
		{"empty", config, "", dossier.KindInvalid},
		{"null", config, "null", dossier.KindInvalid},
		{"list", manifest, "[]", dossier.KindInvalid},
		{"truncated", index, `{"manifests":[`, dossier.KindInvalid},
		{"two values", config, `{} {}`, dossier.KindInvalid},
		{"wrong type", manifest, `{"layers": 5}`, dossier.KindInvalid},
		{"digest", manifest, `{"layers": [{"digest": "sha256:x"}]}`, dossier.KindInvalid},
		{"config digest", manifest, `{"config": {"digest": "md5:x"}}`, dossier.KindInvalid},
		{"subject digest", index, `{"subject": {"digest": "x"}}`, dossier.KindInvalid},
		{"negative size", index, `{"manifests": [{"size": -1}]}`, dossier.KindInvalid},
		{"large manifest", manifest, strings.Repeat(" ", MaxManifest) + "{}", dossier.KindLimit},
		{"large config", config, strings.Repeat(" ", MaxConfig) + "{}", dossier.KindLimit},
		{"many layers", manifest, `{"layers": [` + many + `]}`, dossier.KindLimit},
		{"many manifests", index, `{"manifests": [` + many + `]}`, dossier.KindLimit},
		{"long history", config, `{"history": [` + many + `]}`, dossier.KindLimit},
	} {
		if err := tt.parse([]byte(tt.in)); dossier.KindOf(err) != tt.want {
			t.Errorf("%s: got %v, want kind %q", tt.name, err, tt.want)
		}
	}
}

func TestSteps(t *testing.T) {
	c := Config{
		Platform: Platform{OS: "linux", Architecture: "amd64"},
		DiffIDs:  []dossier.Digest{digestA, digestB},
		History: []HistoryEntry{
			{CreatedBy: "/bin/sh -c #(nop) ADD file:1 in / ", Created: "2024-05-01T10:00:00Z"},
			{CreatedBy: `CMD ["x"]`, EmptyLayer: true, Created: "1970-01-01T00:00:00Z", Comment: "buildkit.dockerfile.v0"},
		},
	}
	m := Manifest{Layers: []Descriptor{{Digest: digestB, Size: 7}, {Digest: digestA, Size: 8}}}
	want := []dossier.LayerStep{
		{Platform: "linux/amd64", Instruction: "ADD file:1 in /", Created: time.Date(2024, 5, 1, 10, 0, 0, 0, time.UTC), Layer: digestB, DiffID: digestA, Size: 7},
		{Platform: "linux/amd64", Instruction: `CMD ["x"]`, Comment: "buildkit.dockerfile.v0"},
		{Platform: "linux/amd64", Layer: digestA, DiffID: digestB, Size: 8},
	}
	if diff := cmp.Diff(want, Steps(c, m)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	c.History = append(c.History, HistoryEntry{CreatedBy: "A"}, HistoryEntry{CreatedBy: "B"})
	got := Steps(c, Manifest{})
	if len(got) != 4 || got[2].DiffID != digestB || got[3].DiffID != "" {
		t.Errorf("more history than layers: got %+v", got)
	}
}

func TestCleanInstruction(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		args     []Argument
	}{
		{`/bin/sh -c #(nop)  CMD ["nginx"]`, `CMD ["nginx"]`, nil},
		{"/bin/sh -c apt-get update", "RUN apt-get update", nil},
		{"RUN /bin/sh -c apt-get update # buildkit", "RUN apt-get update", nil},
		{"COPY . /app # buildkit", "COPY . /app", nil},
		{"RUN |1 VERSION=1.2 /bin/sh -c make # buildkit", "RUN make", []Argument{{"VERSION", "1.2"}}},
		{"|2 A=two words B= /bin/sh -c make", "RUN make", []Argument{{"A", "two words"}, {"B", ""}}},
		{"|0 /bin/sh -c make", "RUN make", nil},
		{"|9 A=1 /bin/sh -c make", "RUN make", []Argument{{"A", "1"}}},
		{"|x A=1 /bin/sh -c make", "|x A=1 /bin/sh -c make", nil},
		{"|1 A=1", "|1 A=1", nil},
		{`cmd /S /C #(nop)  ENV X=1`, "ENV X=1", nil},
		{"cmd /S /C dir", "RUN dir", nil},
		{`RUN ["make"]`, `RUN ["make"]`, nil},
		{"bazel build ...", "bazel build ...", nil},
		{"", "", nil},
	} {
		got, args := CleanInstruction(tt.in)
		if diff := cmp.Diff(tt.args, args); got != tt.want || diff != "" {
			t.Errorf("%q: got %q, want %q; arguments -want +got\n%s", tt.in, got, tt.want, diff)
		}
	}
}

func TestArgumentHidesSecrets(t *testing.T) {
	c := Config{History: []HistoryEntry{
		{CreatedBy: "RUN |2 NPM_TOKEN=abc A=1 /bin/sh -c x"}, {CreatedBy: "RUN |2 NPM_TOKEN=abc A=2 /bin/sh -c x"},
	}}
	var got []string
	for _, a := range Arguments(c) {
		got = append(got, a.String())
	}
	if diff := cmp.Diff([]string{"NPM_TOKEN=(hidden)", "A=1", "A=2"}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestTerms(t *testing.T) {
	for _, tt := range []struct {
		kind dossier.FactKind
		body string
		want []string
	}{
		{dossier.FactIndex, `{"annotations": {"a": "b"}, "manifests": [{"annotations": {"org.opencontainers.image.source": "https://Example.com/X.git"}}]}`, []string{
			"mediaType application/vnd.oci.image.index.v1+json", "annotation a=b", "annotation b", "source example.com/x",
			"annotation org.opencontainers.image.source=https://example.com/x", "annotation example.com/x"}},
		{dossier.FactIndex, `{"mediaType": "application/vnd.docker.distribution.manifest.list.v2+json", "artifactType": "a/b", "subject": {"digest": "` + string(digestA) + `"}, "manifests": []}`, []string{
			"mediaType application/vnd.docker.distribution.manifest.list.v2+json", "artifactType a/b", "subject " + string(digestA)}},
		{dossier.FactManifest, `{"layers": [{"digest": "` + string(digestA) + `"}], "annotations": {"org.opencontainers.image.base.name": "alpine:3"}}`, []string{
			"mediaType application/vnd.oci.image.manifest.v1+json", "layer " + string(digestA),
			"base alpine:3", "annotation org.opencontainers.image.base.name=alpine:3", "annotation alpine:3"}},
		{dossier.FactManifest, `{"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json"}, "layers": [{"mediaType": "x/chart", "digest": "` + string(digestA) + `"}]}`, []string{
			"mediaType application/vnd.oci.image.manifest.v1+json", "mediaType application/vnd.cncf.helm.config.v1+json",
			"artifactType application/vnd.cncf.helm.config.v1+json", "layer " + string(digestA), "mediaType x/chart"}},
		{dossier.FactManifest, `{"artifactType": "x/signature", "config": {"mediaType": "application/vnd.oci.empty.v1+json"}, "subject": {"digest": "` + string(digestB) + `"}}`, []string{
			"mediaType application/vnd.oci.image.manifest.v1+json", "mediaType application/vnd.oci.empty.v1+json", "artifactType x/signature", "subject " + string(digestB)}},
		{dossier.FactManifest, `{"config": {"mediaType": "application/vnd.oci.image.config.v1+json"}}`, []string{
			"mediaType application/vnd.oci.image.manifest.v1+json", "mediaType application/vnd.oci.image.config.v1+json"}},
		{dossier.FactConfig, `{"os": "linux", "architecture": "arm64", "variant": "v8"}`, []string{"platform linux/arm64/v8"}},
		{dossier.FactConfig, `{"rootfs": {"diff_ids": ["` + string(digestB) + `"]}, "config": {"Labels": {"org.label-schema.vcs-ref": "ABC", "url": "https://u:p@h/"}}}`, []string{
			"layer " + string(digestB), "revision abc", "label org.label-schema.vcs-ref=abc", "label abc", "label url=https://u:xxxxx@h", "label u:xxxxx@h"}},
		{dossier.FactGoBuild, `{"main": "m/cmd/x", "module": "m", "settings": {"vcs.revision": "r"}}`, []string{
			"program m/cmd/x", "source m", "revision r"}},
		{dossier.FactTag, `{}`, nil},
	} {
		terms, err := Terms(tt.kind, []byte(tt.body))
		if err != nil {
			t.Fatalf("%s: %v", tt.kind, err)
		}
		var got []string
		for _, term := range terms {
			got = append(got, fmt.Sprintf("%s %s", term.Field, term.Key))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", tt.kind, diff)
		}
	}
}

func TestTermsAreBounded(t *testing.T) {
	var labels []string
	for i := range MaxTerms {
		labels = append(labels, fmt.Sprintf(`"k%d": "%s"`, i, strings.Repeat("x", 2*store.MaxTermKey)))
	}
	got, err := Terms(dossier.FactConfig, []byte(`{"config": {"Labels": {`+strings.Join(labels, ",")+`}}}`))
	if err != nil || len(got) != MaxTerms {
		t.Fatalf("got %d terms, %v; want %d", len(got), err, MaxTerms)
	}
	if n := len(got[0].Value); n > store.MaxTermKey {
		t.Errorf("a value has %d bytes", n)
	}
}

// FuzzParse feeds every parser of bodies; what parses must give steps and
// terms within their bounds.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"config": {"Cmd": "x"}, "history": [{"created_by": "|1 A=1 /bin/sh -c x"}], "rootfs": {"diff_ids": [""]}}`))
	f.Add([]byte(`{"layers": [{"digest": "` + string(digestA) + `"}], "annotations": {"org.opencontainers.image.licenses": "("}}`))
	f.Add([]byte(`{"manifests": [{"platform": {"os": "linux"}, "annotations": {"a": "b"}}], "subject": {}}`))
	f.Add([]byte(`{"settings": {"vcs.revision": "x"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, kind := range []dossier.FactKind{dossier.FactIndex, dossier.FactManifest, dossier.FactConfig, dossier.FactGoBuild} {
			terms, err := Terms(kind, b)
			if err != nil && dossier.KindOf(err) == dossier.KindInternal || len(terms) > MaxTerms {
				t.Errorf("%s: %d terms, %v", kind, len(terms), err)
			}
		}
		c, err := ParseConfig(b)
		if err != nil {
			return
		}
		m, _ := ParseManifest(b)
		if n := len(Steps(c, m)); n > len(c.History)+max(len(c.DiffIDs), len(m.Layers)) {
			t.Errorf("%d steps", n)
		}
		Fields(c)
		Arguments(c)
		Hints(c.Env)
		Programs(c)
	})
}
