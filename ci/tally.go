// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// tally counts tests, those within other tests included.
type tally struct {
	passed  int
	failed  []string // names
	skipped []skip
}

// skip is a test or step that did not run, and why.
type skip struct{ name, why string }

func (t *tally) add(o tally) {
	t.passed += o.passed
	t.failed = append(t.failed, o.failed...)
	t.skipped = append(t.skipped, o.skipped...)
}

// total is how many tests were counted.
func (t tally) total() int { return t.passed + len(t.failed) + len(t.skipped) }

// event is one line of go test -json (go doc test2json).
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// eventReader counts the events of go test -json. What failed tests printed is
// passed on, what others printed is not.
type eventReader struct {
	out     io.Writer
	tally   tally
	running map[[2]string]*strings.Builder // output of the tests that have not ended
	faults  map[string]int                 // failed tests of a package
}

func newEventReader(out io.Writer) *eventReader {
	return &eventReader{out: out, running: map[[2]string]*strings.Builder{}, faults: map[string]int{}}
}

// line takes one line. One that is no event is passed on.
func (r *eventReader) line(s string) {
	var e event
	if !strings.HasPrefix(s, "{") || json.Unmarshal([]byte(s), &e) != nil {
		fmt.Fprintln(r.out, s)
		return
	}
	if e.Test == "" {
		r.packageEvent(e)
		return
	}
	key := [2]string{e.Package, e.Test}
	switch e.Action {
	case "run":
		r.running[key] = &strings.Builder{}
	case "output":
		if b := r.running[key]; b != nil {
			b.WriteString(e.Output)
		}
	case "pass":
		r.tally.passed++
		delete(r.running, key)
	case "skip":
		why := "it gives no reason"
		if b := r.running[key]; b != nil {
			why = reason(b.String(), why)
		}
		r.tally.skipped = append(r.tally.skipped, skip{e.Package + " " + e.Test, why})
		delete(r.running, key)
	case "fail":
		r.fail(key)
	}
}

func (r *eventReader) packageEvent(e event) {
	switch e.Action {
	case "output", "build-output":
		if e.Output != "PASS\n" && !strings.HasSuffix(e.Output, "[no test files]\n") {
			fmt.Fprint(r.out, e.Output)
		}
	case "fail":
		// A test that began and never ended, for the program died.
		for _, key := range slices.SortedFunc(maps.Keys(r.running), compareKeys) {
			if key[0] == e.Package {
				r.fail(key)
			}
		}
		// Nothing failed by name: it did not build, or died outside of tests.
		if r.faults[e.Package] == 0 {
			r.tally.failed = append(r.tally.failed, e.Package)
		}
	}
}

func (r *eventReader) fail(key [2]string) {
	r.tally.failed = append(r.tally.failed, key[0]+" "+key[1])
	r.faults[key[0]]++
	if b := r.running[key]; b != nil {
		fmt.Fprint(r.out, b.String())
	}
	delete(r.running, key)
}

func compareKeys(a, b [2]string) int { return slices.Compare(a[:], b[:]) }

// sourceLine begins what a test logs.
var sourceLine = regexp.MustCompile(`^\s*\w+\.go:\d+: `)

// reason returns the last thing that a skipped test said.
func reason(output, none string) string {
	why := none
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "=== ") || strings.Contains(line, "--- SKIP: ") || strings.TrimSpace(line) == "" {
			continue
		}
		why = strings.TrimSpace(sourceLine.ReplaceAllString(line, ""))
	}
	return why
}

// textReader counts the results of go test -v in the output of another program,
// all of which is passed on. A skip counts once, for such programs like to list
// theirs again at the end.
type textReader struct {
	out   io.Writer
	tally tally
	last  string // the last line that a test logged
}

var resultLine = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): (\S+) \(`)

func (r *textReader) line(s string) {
	fmt.Fprintln(r.out, s)
	if sourceLine.MatchString(s) {
		r.last = sourceLine.ReplaceAllString(s, "")
		return
	}
	match := resultLine.FindStringSubmatch(s)
	if match == nil {
		return
	}
	switch match[1] {
	case "PASS":
		r.tally.passed++
	case "FAIL":
		r.tally.failed = append(r.tally.failed, match[2])
	case "SKIP":
		why := r.last
		if why == "" {
			why = "it gives no reason"
		}
		again := func(s skip) bool { return s.name == match[2] }
		if !slices.ContainsFunc(r.tally.skipped, again) {
			r.tally.skipped = append(r.tally.skipped, skip{match[2], why})
		}
	}
	r.last = ""
}
