// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

// jsonPod is a pod as JSON.
func jsonPod(name, image string) string {
	return fmt.Sprintf(`{"kind":"Pod","metadata":{"name":%q},"spec":{"containers":[{"name":"c","image":%q}]}}`, name, image)
}

func TestReadFilesJSON(t *testing.T) {
	bare := strings.Replace(jsonPod("a", "app:1"), `"kind":"Pod",`, "", 1)
	a := "default/Pod/a a container/c app:1 -"
	b := "default/Pod/b b container/c app:2 -"
	for _, tt := range []struct {
		name, in       string
		want, problems []string
	}{
		{name: "one", in: jsonPod("a", "app:1"), want: []string{a}},
		{name: "byte order mark", in: "\ufeff" + jsonPod("a", "app:1"), want: []string{a}},
		{name: "one after the other", in: jsonPod("a", "app:1") + jsonPod("b", "app:2") + "\n", want: []string{a, b}},
		{name: "lines", in: jsonPod("a", "app:1") + "\n" + jsonPod("b", "app:2"), want: []string{a, b}},
		{name: "documents", in: jsonPod("a", "app:1") + "\n---\n" + jsonPod("b", "app:2") + "\n---\n", want: []string{a, b}},
		{name: "and YAML", in: jsonPod("a", "app:1") + "\n---\nkind: Pod\nmetadata: {name: b}\nspec: {containers: [{name: c, image: app:2}]}\n", want: []string{a, b}},
		{name: "array", in: "[" + jsonPod("a", "app:1") + "," + jsonPod("b", "app:2") + "]", want: []string{a, b}},
		{name: "YAML in braces", in: "{kind: Pod, metadata: {name: a}, spec: {containers: [{name: c, image: 'app:1'}]}}", want: []string{a}},
		{name: "list", in: `{"apiVersion":"v1","items":[` + jsonPod("a", "app:1") + "," + jsonPod("b", "app:2") + `],"kind":"List","metadata":{}}`, want: []string{a, b}},
		{name: "empty list", in: `{"items": [ ], "kind": "List"}`},
		{name: "typed list", in: `{"kind":"PodList","items":[` + bare + `]}`, want: []string{a}},
		{name: "typed list, kind last", in: `{"items":[` + bare + `],"kind":"PodList"}`, want: []string{a}},
		{name: "escapes", in: `{"kind":"Pod","metadata":{"name":"a","annotations":{"x":"\"}{\\"}},"spec":{"containers":[{"name":"c","image":"app:1"}]}}`, want: []string{a}},
		{name: "items that are no list", in: `{"items":{"a":1},"kind":"List"}` + jsonPod("a", "app:1"), want: []string{a}},
		{
			name: "broken item", in: "{\"kind\":\"List\",\n\"items\":[\n{\"kind\":\n truu},\n" + jsonPod("b", "app:2") + "]}",
			want: []string{b}, problems: []string{"stdin:4 invalid"},
		},
		{
			name: "broken object", in: "{\"kind\": \"Pod\",\n \"x\" 1}\n" + jsonPod("b", "app:2"),
			want: []string{b}, problems: []string{"stdin:2 invalid"},
		},
		{
			name: "cut off", in: jsonPod("a", "app:1") + "\n" + `{"kind":"List","items":[` + jsonPod("b", "app:2") + ",\n{\"kind\":",
			want: []string{a, b}, problems: []string{"stdin:3 invalid"},
		},
		{name: "stray braces", in: `{"kind":}}}` + "\n" + jsonPod("a", "app:1"), want: []string{a}, problems: []string{"stdin:1 invalid"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := read(t, tt.in, FileOptions{})
			if diff := cmp.Diff(tt.want, briefs(s)); diff != "" {
				t.Errorf("places: -want +got\n%s", diff)
			}
			if diff := cmp.Diff(tt.problems, problems(s)); diff != "" {
				t.Errorf("problems: -want +got\n%s\n%v", diff, s.Problems)
			}
			// The result must not depend on how the bytes arrive.
			slow, err := ReadFiles(t.Context(), []string{Stdin}, iotest.OneByteReader(strings.NewReader(tt.in)), FileOptions{})
			if diff := cmp.Diff(briefs(s), briefs(slow)); diff != "" || err != nil {
				t.Errorf("byte by byte: %v, -want +got\n%s", err, diff)
			}
		})
	}
}

// yamlBomb stands for 10^levels values.
func yamlBomb(levels int) string {
	var b strings.Builder
	b.WriteString("kind: Pod\nmetadata: {name: bomb}\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < levels; i++ {
		r := strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10)
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, r[:len(r)-1])
	}
	return b.String()
}

func TestReadFilesLimits(t *testing.T) {
	good := "\n---\n" + jsonPod("a", "app:1")
	deep := strings.Repeat("[", 300) + strings.Repeat("]", 300)
	lists := jsonPod("x", "app:1")
	for range 6 {
		lists = `{"kind":"List","items":[` + lists + `]}`
	}
	long := strings.Repeat("x", 3000)
	small := FileOptions{Limits: Limits{DocumentBytes: 2000}}
	for _, tt := range []struct {
		name, in string
		opt      FileOptions
	}{
		{name: "alias bomb", in: yamlBomb(9)},
		{name: "self", in: "kind: Pod\nmetadata: &m {name: x, y: [*m]}"},
		{name: "deep YAML", in: "kind: X\nmetadata: {name: x}\nspec: " + deep},
		{name: "deep JSON", in: `{"kind": "X", "metadata": {"name": "x"}, "spec": ` + deep + `}`},
		{name: "lists in lists", in: lists},
		{name: "long YAML", in: "kind: Pod\nx: " + long, opt: small},
		{name: "long YAML, many lines", in: "kind: Pod\nx:\n" + strings.Repeat("- yyyyyyyy\n", 300), opt: small},
		{name: "long JSON value", in: `{"kind": "Pod", "x": "` + long + `"}`, opt: small},
		{name: "long JSON object", in: `{"kind": "Pod"` + strings.Repeat(`, "yyyyyyyy": 1`, 300) + `, "zzz": "` + long[:1900] + `"}`, opt: small},
		{name: "long JSON item", in: `{"kind": "List", "items": [{"x": "` + long + `"}]}`, opt: small},
		{name: "list without kind", in: `{"items": [` + strings.Repeat(`{"x": "yyyyyyyyyyyyyyyyyyyyy"},`, 100) + `{}], "kind": "PodList"}`, opt: small},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := read(t, tt.in+good, tt.opt)
			if len(s.Problems) != 1 || dossier.KindOf(s.Problems[0].Err) != dossier.KindLimit {
				t.Errorf("problems: got %v, want one of kind limit", s.Problems)
			}
			if got, want := briefs(s), []string{"default/Pod/a a container/c app:1 -"}; !cmp.Equal(got, want) {
				t.Errorf("places: got %v, want %v", got, want)
			}
		})
	}
}

func TestReadFilesOtherEncodings(t *testing.T) {
	for _, in := range []string{"\xff\xfek\x00i\x00", "\xfe\xff\x00k\x00i"} {
		s := read(t, in, FileOptions{})
		if len(s.Problems) != 1 || dossier.KindOf(s.Problems[0].Err) != dossier.KindUnsupported || dossier.HintOf(s.Problems[0].Err) == "" {
			t.Errorf("ReadFiles(%q): got %v, want one unsupported with a hint", in, s.Problems)
		}
	}
}

func TestReadFilesBrokenReader(t *testing.T) {
	broken := errors.New("pipe burst")
	for _, in := range []string{deployment + "---\nkind: Po", jsonPod("a", "app:1") + `{"kind":`, ""} {
		r := io.MultiReader(strings.NewReader(in), iotest.ErrReader(broken))
		s, err := ReadFiles(t.Context(), []string{Stdin}, r, FileOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(s.Problems); n == 0 || !errors.Is(s.Problems[n-1].Err, broken) {
			t.Errorf("ReadFiles(%q): got %v, want %v", in, s.Problems, broken)
		}
	}
}

// many is a manifest of n documents of which the one in the middle is broken, at
// the line returned.
func many(n int) (string, int) {
	var b strings.Builder
	line := 0
	for i := range n {
		if i == n/2 {
			line = strings.Count(b.String(), "\n") + 3
			b.WriteString("---\nkind: Pod\n\tmetadata: tab\n")
			continue
		}
		fmt.Fprintf(&b, "---\n# Source: chart/templates/%d.yaml\n%s", i, strings.Replace(deployment, "name: web", fmt.Sprintf("name: web-%d", i), 1))
	}
	return b.String(), line
}

func TestReadFilesTenThousand(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes two seconds")
	}
	in, line := many(10_000)
	s := read(t, in, FileOptions{})
	if got, want := len(s.Places), 4*9_999; got != want {
		t.Errorf("places: got %d, want %d", got, want)
	}
	if diff := cmp.Diff([]string{fmt.Sprintf("stdin:%d invalid", line)}, problems(s)); diff != "" {
		t.Errorf("problems: -want +got\n%s\n%v", diff, s.Problems)
	}
}

func BenchmarkReadFiles(b *testing.B) {
	manifests, _ := many(1_000)
	var list bytes.Buffer
	list.WriteString(`{"kind":"List","items":[`)
	for i := range 1_000 {
		if i > 0 {
			list.WriteByte(',')
		}
		pod := map[string]any{}
		if err := json.Unmarshal([]byte(jsonPod(fmt.Sprintf("p-%d", i), "app:1")), &pod); err != nil {
			b.Fatal(err)
		}
		pod["status"] = strings.Repeat("x", 5000)
		if err := json.NewEncoder(&list).Encode(pod); err != nil {
			b.Fatal(err)
		}
	}
	list.WriteString("]}")
	for _, bm := range []struct{ name, in string }{{"YAML", manifests}, {"JSON", list.String()}} {
		b.Run(bm.name, func(b *testing.B) {
			b.SetBytes(int64(len(bm.in)))
			for b.Loop() {
				if _, err := ReadFiles(b.Context(), []string{Stdin}, strings.NewReader(bm.in), FileOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func FuzzReadFiles(f *testing.F) {
	for _, s := range []string{
		"", "\n", "---\n", "...", "# x\n--- {}\n", "%YAML 1.2\n---\na: 1\n", deployment, jsonPod("a", "b"), "[" + jsonPod("a", "b") + "]",
		`{"items":[{"spec":{"containers":[{"image":"x"}]}}],"kind":"PodList"}`, `{"kind":"List","items":[[],{},"x",null,1]}`,
		yamlBomb(3), "a: &a [*a]", "<<: {a: 1}", "? [a]\n: b", "{", "}", `{"a`, `{"a":"\`, "\xef\xbb\xbf{}", "- kind: Pod\n- 1\n", "kind: !!binary x\n",
		"kind: List\nitems:\n- &a {kind: Pod, metadata: {name: x}, spec: {containers: [{image: a}]}}\n- *a\n",
	} {
		f.Add([]byte(s))
	}
	limits := Limits{Documents: 1000, DocumentBytes: 1 << 16, TotalBytes: 1 << 18, Depth: 50, AliasValues: 1000}
	f.Fuzz(func(t *testing.T, in []byte) {
		s, err := ReadFiles(context.Background(), []string{Stdin}, bytes.NewReader(in), FileOptions{Limits: limits})
		if err != nil {
			if k := dossier.KindOf(err); k != dossier.KindLimit {
				t.Errorf("got %v of kind %q", err, k)
			}
			return
		}
		for _, p := range s.Places {
			if p.Requested == "" || p.Name == "" || p.Kind == "" || p.PullPolicy == "" || !strings.HasPrefix(p.Source, "stdin:") {
				t.Errorf("incomplete place: %+v", p)
			}
		}
		for _, p := range s.Problems {
			if p.Where == "" || dossier.KindOf(p.Err) == dossier.KindInternal {
				t.Errorf("vague problem: %+v", p)
			}
		}
	})
}
