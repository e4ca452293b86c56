// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package form

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"dossier.dev/dossier"
)

// sample has a field of each sort.
type sample struct {
	Name    string            `yaml:"name"`
	Count   int               `yaml:"count"`
	Off     bool              `yaml:"off"`
	Every   time.Duration     `yaml:"every"`
	From    time.Time         `yaml:"from"`
	Tags    []string          `yaml:"tags"`
	Rules   []rule            `yaml:"rules"`
	Named   map[string]rule   `yaml:"named"`
	Files   map[string]string `yaml:"files"`
	Maybe   *rule             `yaml:"maybe"`
	Later   yaml.Node         `yaml:"later"`
	Size    size              `yaml:"size"`
	Plain   string            // its name is plain
	Numbers []int             `yaml:"numbers"`
	Unnamed struct {
		Inner bool `yaml:"inner"`
	} `yaml:"unnamed"`
	common `yaml:",inline"`
}

type rule struct {
	Match     []string  `yaml:"match"`
	Need      *int      `yaml:"need"`
	IgnoreLog bool      `yaml:"ignoreLog"`
	Since     time.Time `yaml:"since"`
}

type common struct {
	Shared bool `yaml:"shared"`
}

// size reads itself.
type size int

func (*size) UnmarshalYAML(n *yaml.Node) error {
	return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: want a size", n.Line)}}
}

func TestDecode(t *testing.T) {
	need := 2
	for _, tt := range []struct {
		text string
		want sample
	}{
		{"", sample{}},
		{"---\n", sample{}},
		{"# nothing\n", sample{}},
		{"name: a\nplain: b\nshared: true\nevery: 5m\nmaybe: {need: 2}\n", sample{Name: "a", Plain: "b", Every: 5 * time.Minute, Maybe: &rule{Need: &need}, common: common{true}}},
	} {
		var got sample
		err := Decode([]byte(tt.text), &got, "", "")
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(sample{})); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", tt.text, err, diff)
		}
	}
}

func TestFaults(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		// Fields that are not there.
		{"nmae: secret\n", `line 1: there is no field "nmae": did you mean "name"?`},
		{"name: a\nrule: []\n", `line 2: there is no field "rule": did you mean "rules"?`},
		{"rules:\n- need: 1\n  ignorelog: true\n", `line 3: there is no field "ignorelog": did you mean "ignoreLog"?`},
		{"named:\n  x: {mach: [a]}\n", `line 2: there is no field "mach": did you mean "match"?`},
		{"maybe: {ned: 1}\n", `line 1: there is no field "ned": did you mean "need"?`},
		{"plan: a\n", `line 1: there is no field "plan": did you mean "plain"?`},
		{"sharde: true\n", `line 1: there is no field "sharde": did you mean "shared"?`},
		{"unnamed: {iner: true}\n", `line 1: there is no field "iner": did you mean "inner"?`},
		{"elsewhere: a\n", `line 1: there is no field "elsewhere"`},
		{"a b: c\n", `line 1: there is no field "a b"`},
		{"\"a\\nb\": c\n", `line 1: there is no field "a\nb"`},
		{strings.Repeat("name", 30) + ": a\n", `line 1: there is no field "` + strings.Repeat("name", 25) + `"`},
		// Values of another sort.
		{"name: [secret]\n", "line 1: name: want text"},
		{"name: {a: secret}\n", "line 1: name: want text"},
		{"count: secret\n", "line 1: count: want a number"},
		{"count: a long secret value\n", "line 1: count: want a number"},
		{"count: \"a\\nsecret\"\n", "line 1: count: want a number"},
		{"off: perhaps\n", "line 1: off: want true or false"},
		{"every: secret\n", "line 1: every: want a time such as 5m"},
		{"from: yesterday\n", "line 1: from: want a time such as 2026-01-31T00:00:00Z"},
		{"from: yesterday\nmaybe: {ned: 1}\nrules: [{since: secret}]\n", "line 1: from: want a time such as 2026-01-31T00:00:00Z\nline 3: rules[0].since: want a time such as 2026-01-31T00:00:00Z"},
		{"from: [a]\n", "line 1: from: want a time such as 2026-01-31T00:00:00Z"},
		{"tags: secret\n", "line 1: tags: want a list of texts"},
		{"tags: [a, {b: secret}]\n", "line 1: tags[1]: want text"},
		{"numbers: 1\n", "line 1: numbers: want a list"},
		{"rules:\n  match: [a]\n", "line 2: rules: want a list of entries with fields"},
		{"rules:\n- match: [a]\n- match: b\n", "line 3: rules[1].match: want a list of texts"},
		{"rules: [secret]\n", "line 1: rules[0]: want fields with values"},
		{"rules: [{match: {a: b}}]\n", "line 1: rules[0].match: want a list of texts"},
		{"rules: [{need: many}]\n", "line 1: rules[0].need: want a number"},
		{"named:\n- a\n", "line 2: named: want fields with values"},
		{"named: {x: secret}\n", "line 1: named.x: want fields with values"},
		{"files: {x: [secret]}\n", "line 1: files.x: want text"},
		{"maybe: secret\n", "line 1: maybe: want fields with values"},
		{"unnamed: secret\n", "line 1: unnamed: want fields with values"},
		{"size: secret\n", "line 1: want a size"},
		{"- secret\n", "line 1: want fields with values"},
		{"rules: [{need: many}, {need: many}]\n", "line 1: want a number\nline 1: want a number"}, // which of them cannot be told
		// What is no form at all.
		{"name: \"secret\n", "line 2: found unexpected end of stream"},
		{"name: a\n- secret\n", "line 1: did not find expected key"},
		{"name: *a\n", "unknown anchor 'a' referenced"},
		{"count: !!int secret\n", "a value is not what its tag says"},
		{"name: a\nname: b\n", `line 2: mapping key "name" already defined at line 1`},
		{"name: a\n---\nname: b\n", "line 2: there is more than one document"},
		{"name: a\n---\n*b\n", "there is more than one document"},
		// All at once.
		{"nmae: a\ncount: b\n---\n", "line 1: there is no field \"nmae\": did you mean \"name\"?\nline 2: count: want a number\nline 3: there is more than one document"},
	} {
		var to sample
		err := Decode([]byte(tt.text), &to, "", "")
		if err == nil || err.Error() != tt.want {
			t.Errorf("%q:\n%v, want\n%s", tt.text, err, tt.want)
		}
		if dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("%q: kind %s", tt.text, dossier.KindOf(err))
		}
	}
}

// TestWhoReads: faults say what was read, and what to do.
func TestWhoReads(t *testing.T) {
	err := Decode([]byte("a: 1\nb: 2\n"), &sample{}, "reading a sample", "look here")
	if want := "reading a sample line 1: there is no field \"a\"\nreading a sample line 2: there is no field \"b\""; fmt.Sprint(err) != want || dossier.HintOf(err) != "look here" {
		t.Errorf("%v (%s), want %s", err, dossier.HintOf(err), want)
	}
}

func TestManyFaults(t *testing.T) {
	var text strings.Builder
	for i := range 2 * maxFaults {
		fmt.Fprintf(&text, "a%d: 1\n", i)
	}
	err := Decode([]byte(text.String()), &sample{}, "", "")
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || len(joined.Unwrap()) != maxFaults+1 || !strings.HasSuffix(err.Error(), "\n100 more faults") {
		t.Errorf("%v", err)
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "ab", 2}, {"ab", "ab", 0}, {"ab", "ba", 1}, {"key", "kye", 1}, {"image", "images", 1}, {"abc", "xyz", 3}, {"kitten", "sitting", 3}} {
		if got := distance(tt.a, tt.b); got != tt.want || distance(tt.b, tt.a) != got {
			t.Errorf("%q to %q: %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

// goWords are those that users should not need to know.
var goWords = regexp.MustCompile(`form\.|cannot unmarshal|\[\]string|struct|time\.`)

func FuzzDecode(f *testing.F) {
	for _, text := range []string{"name: a\n", "a: &a [*a, *a]\n", "rules: [{need: x}]\nnmae: a\n", "named: {x: {<<: {need: x}}}\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var to sample
		err := Decode(text, &to, "", "")
		if err == nil {
			return
		}
		if kind := dossier.KindOf(err); kind != dossier.KindInvalid {
			t.Errorf("%q: %v", text, err)
		}
		joined, ok := err.(interface{ Unwrap() []error })
		if !ok {
			joined = errors.Join(err).(interface{ Unwrap() []error })
		}
		for _, err := range joined.Unwrap() {
			if goWords.MatchString(err.Error()) && !goWords.Match(text) {
				t.Errorf("%q: %v shows what the program is made of", text, err)
			}
		}
	})
}
