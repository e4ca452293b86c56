// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// bare is a machine with some programs, on which apt installs what it is told
// to, if it may.
func bare(programs []string, installs []string, cannot string) *machine {
	have := map[string]bool{}
	for _, p := range programs {
		have[p] = true
	}
	return &machine{
		has:    func(p string) bool { return have[p] },
		cannot: cannot,
		install: func(context.Context, []string) error {
			if installs == nil {
				return errors.New("no such package")
			}
			for _, p := range installs {
				have[p] = true
			}
			return nil
		},
	}
}

// sh is a step that runs a shell script.
func sh(name, script string, reads format, needs ...need) step {
	return step{name: name, argv: []string{"sh", "-c", script}, reads: reads, needs: needs}
}

const events = `
{"Action":"start","Package":"m/p"}
{"Action":"run","Package":"m/p","Test":"TestA"}
{"Action":"output","Package":"m/p","Test":"TestA","Output":"quiet\n"}
{"Action":"pass","Package":"m/p","Test":"TestA"}
{"Action":"run","Package":"m/p","Test":"TestB"}
{"Action":"output","Package":"m/p","Test":"TestB","Output":"=== RUN   TestB\n"}
{"Action":"output","Package":"m/p","Test":"TestB","Output":"    p_test.go:12: needs a moon\n"}
{"Action":"output","Package":"m/p","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip","Package":"m/p","Test":"TestB"}
{"Action":"output","Package":"m/p","Output":"PASS\n"}
{"Action":"output","Package":"m/p","Output":"ok  \tm/p\t0.1s\n"}
{"Action":"pass","Package":"m/p"}
`

func TestRun(t *testing.T) {
	moon := need{what: "the moon", programs: []string{"moon"}, packages: []string{"moon-utils"}}
	partly := moon
	partly.without = "only by day"
	night := partly
	night.env = "NIGHT=1"
	tests := []struct {
		name    string
		machine *machine
		steps   []step
		want    []string // lines of the report
		prints  []string
		silent  []string
		failed  bool
	}{
		{
			name:    "a plain step counts as one",
			machine: bare(nil, nil, ""),
			steps:   []step{sh("hello", "echo hello; test -z \"$(cat)\"", plain)},
			want:    []string{"lane          0.5  ok", "1 passed, 0 failed, 0 skipped"},
			prints:  []string{"hello\n"},
		},
		{
			name:    "a failing step does not stop the next",
			machine: bare(nil, nil, ""),
			steps:   []step{sh("bad", "exit 3", plain), sh("good", "echo here", plain)},
			want: []string{
				"lane          1.0  FAILED: bad", "failed: lane/bad: exit status 3", "1 passed, 1 failed, 0 skipped",
			},
			prints: []string{"here\n"},
			failed: true,
		},
		{
			name:    "events are counted, and only failures print",
			machine: bare(nil, nil, ""),
			steps:   []step{sh("test", "cat <<'E'\n"+events+"E\n", testEvents)},
			want: []string{
				"lane          0.5  ok", "skipped: m/p TestB: needs a moon", "1 passed, 0 failed, 1 skipped",
			},
			prints: []string{"ok  \tm/p\t0.1s\n"},
			silent: []string{"quiet", "PASS"},
		},
		{
			name:    "text of go test -v is counted",
			machine: bare(nil, nil, ""),
			steps: []step{sh("e2e", `cat <<'E'
    --- PASS: TestA/one (0.00s)
--- PASS: TestA (0.00s)
    x_test.go:7: no kernel
--- SKIP: TestB (0.00s)
Skipped:
--- SKIP: TestB (0.00s)
E`, plain)},
			want: []string{"lane          0.5  ok", "skipped: TestB: no kernel", "2 passed, 0 failed, 1 skipped"},
		},
		{
			name:    "a failed test fails a step that ends well",
			machine: bare(nil, nil, ""),
			steps:   []step{sh("e2e", "echo '--- FAIL: TestA (0.00s)'", plain)},
			want: []string{
				"lane          0.5  FAILED: e2e", "failed: TestA",
				"0 passed, 1 failed, 0 skipped",
			},
			failed: true,
		},
		{
			name:    "a need that is there",
			machine: bare([]string{"moon"}, nil, "not root"),
			steps:   []step{sh("tide", "test $NIGHT = 1", plain, night)},
			want:    []string{"lane          0.5  ok", "1 passed, 0 failed, 0 skipped"},
		},
		{
			name:    "a need that is installed",
			machine: bare(nil, []string{"moon"}, ""),
			steps:   []step{sh("tide", "test $NIGHT = 1", plain, night)},
			want:    []string{"lane          0.5  ok", "1 passed, 0 failed, 0 skipped"},
		},
		{
			name:    "a need that cannot be had skips the step",
			machine: bare(nil, []string{"moon"}, "not root"),
			steps:   []step{sh("tide", "exit 1", plain, moon)},
			want: []string{
				"lane          0.5  skipped",
				"skipped: lane/tide: the moon is missing (Debian: moon-utils) and cannot be installed: not root",
				"0 passed, 0 failed, 1 skipped",
			},
		},
		{
			name:    "a need that cannot be installed takes a part away",
			machine: bare(nil, nil, ""),
			steps:   []step{sh("tide", "test -z $NIGHT", plain, night)},
			want: []string{
				"lane          0.5  ok",
				"skipped: lane/tide, in part: only by day: the moon is missing (Debian: moon-utils): no such package",
				"1 passed, 0 failed, 1 skipped",
			},
		},
		{
			name:    "a package that gives nothing",
			machine: bare(nil, []string{"sun"}, ""),
			steps:   []step{sh("tide", "exit 1", plain, moon)},
			want: []string{
				"lane          0.5  skipped", "skipped: lane/tide: the moon is missing even after installing moon-utils",
				"0 passed, 0 failed, 1 skipped",
			},
		},
		{
			name:    "a program that is not there",
			machine: bare(nil, nil, ""),
			steps:   []step{{name: "none", argv: []string{"./no-such-program"}}},
			want: []string{
				"lane          0.5  FAILED: none", "failed: lane/none: fork/exec ./no-such-program: no such file or directory",
				"0 passed, 1 failed, 0 skipped",
			},
			failed: true,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			clock := time.Unix(0, 0)
			r := runner{root: t.TempDir(), env: []string{"PATH=/usr/bin:/bin"}, out: &out, now: func() time.Time {
				clock = clock.Add(30 * time.Second)
				return clock
			}}
			rep := r.run(t.Context(), []lane{{"lane", tt.steps}}, tt.machine)
			var table bytes.Buffer
			rep.print(&table)
			want := "LANE      MINUTES  RESULT\n" + strings.Join(tt.want, "\n") + "\n"
			if diff := cmp.Diff(want, table.String()); diff != "" {
				t.Errorf("report (-want +got):\n%s", diff)
			}
			if got := rep.failed(); got != tt.failed {
				t.Errorf("failed: got %v, want %v", got, tt.failed)
			}
			for _, s := range tt.prints {
				if !strings.Contains(out.String(), s) {
					t.Errorf("got %q, want it to print %q", out.String(), s)
				}
			}
			for _, s := range tt.silent {
				if strings.Contains(strings.ReplaceAll(out.String(), tt.steps[0].argv[2], ""), s) {
					t.Errorf("got %q, want it not to print %q", out.String(), s)
				}
			}
		})
	}
}

// TestEventFailures checks what counts as a failure in the events of go test.
func TestEventFailures(t *testing.T) {
	tests := []struct {
		name, events, prints string
		want                 tally
	}{
		{
			"a test prints and fails", `
{"Action":"run","Package":"p","Test":"T"}
{"Action":"output","Package":"p","Test":"T","Output":"got 1, want 2\n"}
{"Action":"fail","Package":"p","Test":"T"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}`, "got 1, want 2\nFAIL\tp\t0.1s\n", tally{failed: []string{"p T"}},
		},
		{
			"a package does not build", `
{"ImportPath":"p","Action":"build-output","Output":"p.go:1: no\n"}
{"ImportPath":"p","Action":"build-fail"}
{"Action":"fail","Package":"p","FailedBuild":"p"}`, "p.go:1: no\n", tally{failed: []string{"p"}},
		},
		{
			"a program dies within tests", `
{"Action":"run","Package":"p","Test":"T"}
{"Action":"run","Package":"p","Test":"T/a"}
{"Action":"output","Package":"p","Test":"T/a","Output":"exit\n"}
{"Action":"fail","Package":"p"}`, "exit\n", tally{failed: []string{"p T", "p T/a"}},
		},
		{
			"a skip without a word", `
{"Action":"run","Package":"p","Test":"T"}
{"Action":"skip","Package":"p","Test":"T"}`, "", tally{skipped: []skip{{"p T", "it gives no reason"}}},
		},
		{
			"words of the go command", "\ngo: downloading x", "go: downloading x\n", tally{},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			r := newEventReader(&out)
			for line := range strings.SplitSeq(strings.TrimPrefix(tt.events, "\n"), "\n") {
				r.line(line)
			}
			if diff := cmp.Diff(tt.want, r.tally, cmp.AllowUnexported(tally{}, skip{})); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
			if got := out.String(); got != tt.prints {
				t.Errorf("got output %q, want %q", got, tt.prints)
			}
		})
	}
}

func TestStop(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	r := runner{root: t.TempDir(), out: &out, now: time.Now}
	rep := r.run(ctx, []lane{{"lane", []step{sh("sleep", "sleep 60", plain)}}}, bare(nil, nil, ""))
	if !rep.failed() {
		t.Error("got no failure from a run that was stopped")
	}
}

func TestChoose(t *testing.T) {
	lanes := []lane{{name: "a"}, {name: "b"}, {name: "c"}}
	tests := []struct {
		names []string
		want  string
		err   string
	}{
		{nil, "a b c", ""},
		{[]string{"c", "a"}, "a c", ""},
		{[]string{"a", "x"}, "", "no lane is named x; go run ./ci -list shows them"},
	}
	for _, tt := range tests {
		chosen, err := choose(lanes, tt.names)
		var got []string
		for _, l := range chosen {
			got = append(got, l.name)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("choose(%v): got %v, want %v", tt.names, got, tt.want)
		}
		if (err == nil) != (tt.err == "") || (err != nil && err.Error() != tt.err) {
			t.Errorf("choose(%v): got error %v, want %q", tt.names, err, tt.err)
		}
	}
}

// TestFuzzLane finds fuzz tests, but not those of other modules or in testdata.
func TestFuzzLane(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"sub/a_test.go":          "package sub\n\nfunc FuzzOne(f *testing.F) {}\nfunc FuzzTwo(f *testing.F) {}\n",
		"sub/a.go":               "package sub\n\nfunc FuzzNot() {}\n",
		"sub/testdata/a_test.go": "package a\n\nfunc FuzzData(f *testing.F) {}\n",
		"other/go.mod":           "module other\n",
		"other/a_test.go":        "package other\n\nfunc FuzzOther(f *testing.F) {}\n",
	} {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := fuzzLane(root, 3*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range l.steps {
		got = append(got, s.name+": "+strings.Join(s.argv, " "))
	}
	want := []string{
		"sub.FuzzOne: go test -run=^$ -fuzz=^FuzzOne$ -fuzztime=3s ./sub",
		"sub.FuzzTwo: go test -run=^$ -fuzz=^FuzzTwo$ -fuzztime=3s ./sub",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}
