// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/pattern"
)

// Record is an advisory with its exact bytes.
type Record struct {
	dossier.Advisory
	Bytes []byte
}

const opParse = "reading advisory"

// Parse reads a record of the Open Source Vulnerability format. It does not keep
// b.
//
// KindInvalid: it is no such record, or lacks what is needed to match it.
// KindLimit: it exceeds a limit. KindUnsupported: it has a type of range that is
// not known here.
func Parse(b []byte, limits Limits) (dossier.Advisory, error) {
	limits = limits.orDefault()
	if int64(len(b)) > limits.Record {
		return dossier.Advisory{}, exceeds(opParse, "", "Record", int64(len(b)), limits.Record, "bytes")
	}
	if err := checkNesting(b, limits.Nesting); err != nil {
		return dossier.Advisory{}, &dossier.Error{Kind: dossier.KindLimit, Op: opParse, Err: err}
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return dossier.Advisory{}, &dossier.Error{Kind: dossier.KindInvalid, Op: opParse, Err: err}
	}
	a, err := r.advisory(limits)
	if err != nil {
		return dossier.Advisory{}, err
	}
	a.SHA256 = dossier.FromBytes(b)
	return a, nil
}

// exceeds is the error of a limit.
func exceeds(op, subject, limit string, have, most int64, what string) error {
	return dossier.Errorf(dossier.KindLimit, op, subject, fmt.Sprintf("it has %d %s, the limit %s is %d", have, what, limit, most))
}

// checkNesting reports objects and lists that lie too deep in one another.
func checkNesting(b []byte, most int) error {
	depth, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > most {
				return fmt.Errorf("it is nested more than %d deep, the limit Nesting", most)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// unquote returns the string that JSON bytes are, or "".
func unquote(b []byte) string {
	var s string
	if json.Unmarshal(b, &s) != nil {
		return ""
	}
	return s
}

// idPattern is what an ID may be: it is also the name of a file.
var idPattern = pattern.New(`^[A-Za-z0-9][A-Za-z0-9._:+~-]*$`)

// advisory checks a record and returns what matters of it.
func (r *record) advisory(limits Limits) (dossier.Advisory, error) {
	fail := func(kind dossier.Kind, format string, args ...any) error {
		return dossier.Errorf(kind, opParse, printable(r.ID), fmt.Sprintf(format, args...))
	}
	if !idPattern.MatchString(r.ID) || len(r.ID) > limits.Text {
		return dossier.Advisory{}, fail(dossier.KindInvalid, "its ID is none")
	}
	if err := r.checkCounts(limits); err != nil {
		return dossier.Advisory{}, err
	}
	a := dossier.Advisory{
		ID: r.ID, Modified: dossier.Instant(r.Modified.Time), Published: dossier.Instant(r.Published.Time), Summary: printable(r.Summary),
		Aliases: names(r.Aliases, limits), Upstream: names(r.Upstream, limits), Related: names(r.Related, limits),
	}
	if r.Withdrawn.told {
		a.Withdrawn = dossier.Instant(r.Withdrawn.Time)
		if a.Withdrawn.IsZero() {
			a.Withdrawn = time.Unix(0, 0).UTC() // taken back, nobody knows when
		}
	}
	a.Ratings = ratings(r.Severity, r.Database.Severity, ratingIn(r.ID, r.Summary))
	for i := range r.Affected {
		e, err := r.Affected[i].entry(limits)
		if err != nil {
			return dossier.Advisory{}, fail(dossier.KindOf(err), "package %d: %v", i, err)
		}
		if e.Name == "" {
			continue // it is about commits, of no package
		}
		if e.Stream == "" && strings.Contains(firstFix(e.Ranges), ".module") {
			e.Stream = streamIn(r.Summary)
		}
		a.Affected = append(a.Affected, e)
	}
	return a, nil
}

func (r *record) checkCounts(limits Limits) error {
	events, versions, imports := 0, 0, 0
	for _, e := range r.Affected {
		versions += len(e.Versions)
		for _, rg := range slices.Concat(e.Ranges, e.Ecosystem.Custom) {
			events += len(rg.Events)
		}
		for _, im := range e.Ecosystem.Imports {
			imports += 1 + len(im.Symbols)
		}
	}
	for _, c := range []struct {
		limit      string
		have, most int
		what       string
	}{
		{"Affected", len(r.Affected), limits.Affected, "packages"},
		{"Events", events, limits.Events, "events"},
		{"Versions", versions, limits.Versions, "versions"},
		{"Names", len(r.Aliases) + len(r.Upstream) + len(r.Related), limits.Names, "names"},
		{"Imports", imports, limits.Imports, "packages and symbols"},
	} {
		if c.have > c.most {
			return exceeds(opParse, r.ID, c.limit, int64(c.have), int64(c.most), c.what)
		}
	}
	return nil
}

// entry checks what a record says of a package.
func (a *affected) entry(limits Limits) (dossier.Affected, error) {
	e := dossier.Affected{
		Ecosystem: a.Package.Ecosystem, Name: a.Package.Name, Versions: a.Versions,
		Source: a.Database.Dossier.Source || sourcePURL.MatchString(a.Package.PURL),
		Note:   printable(a.Database.Dossier.Note), Unreleased: a.Database.Dossier.Unreleased, Stream: printable(a.Database.Dossier.Stream),
		Ratings: ratings(a.Severity, a.Ecosystem.Severity, a.Ecosystem.Urgency),
	}
	for _, s := range append([]string{e.Ecosystem, e.Name}, e.Versions...) {
		if err := checkText(s, limits); err != nil {
			return e, err
		}
	}
	if e.Ecosystem == "" && len(a.Ranges)+len(a.Versions) > 0 && a.onlyCommits() {
		return dossier.Affected{}, nil // commits of a repository, no package
	}
	if e.Ecosystem == "" || e.Name == "" {
		return e, invalid("it has no ecosystem or no name")
	}
	switch state := dossier.FixState(a.Database.Dossier.State); {
	case state != "" && !slices.Contains(fixStates(), state):
		return e, invalid("its state is none")
	case state != "":
		e.State = state
	case strings.Contains(string(a.Ecosystem.Urgency), "end-of-life"):
		e.State = dossier.EndOfLife
	}
	var err error
	if e.Ranges, err = ranges(a.Ranges, limits); err != nil {
		return e, err
	}
	if e.Ecosystem != "Go" {
		return e, nil
	}
	if a.Ecosystem.Broken != nil {
		return e, invalid("its ecosystem_specific is none of Go: " + a.Ecosystem.Broken.Error())
	}
	if e.Custom, err = ranges(a.Ecosystem.Custom, limits); err != nil {
		return e, err
	}
	for _, im := range a.Ecosystem.Imports {
		e.Imports = append(e.Imports, dossier.Import{Path: im.Path, Symbols: im.Symbols, OS: im.OS, Arch: im.Arch})
	}
	return e, nil
}

// sourcePURL finds purls that say that they are of source packages.
var sourcePURL = pattern.New(`[?&]arch=(?:source|src)(?:&|$)`)

func fixStates() []dossier.FixState {
	return []dossier.FixState{dossier.Fixable, dossier.Unfixed, dossier.WontFix, dossier.Deferred, dossier.EndOfLife, dossier.Investigating}
}

// onlyCommits reports whether all that is said is about commits.
func (a *affected) onlyCommits() bool {
	return a.Package == packageName{} && !slices.ContainsFunc(a.Ranges, func(r versionRange) bool { return r.Type != "GIT" })
}

// ranges checks ranges of versions. Those of commits are left out.
func ranges(list []versionRange, limits Limits) ([]dossier.Range, error) {
	var out []dossier.Range
	for _, r := range list {
		switch dossier.RangeType(r.Type) {
		case "GIT":
			continue
		case dossier.RangeSemver, dossier.RangeEcosystem:
		default:
			return nil, &dossier.Error{Kind: dossier.KindUnsupported, Err: fmt.Errorf("the type of range %q is not known", short(r.Type))}
		}
		if len(r.Events) > limits.Range {
			return nil, dossier.Errorf(dossier.KindLimit, "", "", fmt.Sprintf("a range has %d events, the limit Range is %d", len(r.Events), limits.Range))
		}
		to := dossier.Range{Type: dossier.RangeType(r.Type), Events: make([]dossier.Event, 0, len(r.Events))}
		introduced := false
		for _, ev := range r.Events {
			e, err := event(ev, limits)
			if err != nil {
				return nil, err
			}
			introduced = introduced || e.Introduced != ""
			to.Events = append(to.Events, e)
		}
		if !introduced {
			return nil, invalid("a range says nowhere where it begins")
		}
		out = append(out, to)
	}
	return out, nil
}

// event checks an event: one of its fields is set.
func event(fields map[string]string, limits Limits) (dossier.Event, error) {
	if len(fields) != 1 {
		return dossier.Event{}, invalid("an event must have one field")
	}
	for key, version := range fields {
		if version == "" {
			return dossier.Event{}, invalid("an event has no version")
		}
		if err := checkText(version, limits); err != nil {
			return dossier.Event{}, err
		}
		switch key {
		case "introduced":
			return dossier.Event{Introduced: version}, nil
		case "fixed":
			return dossier.Event{Fixed: version}, nil
		case "last_affected":
			return dossier.Event{LastAffected: version}, nil
		case "limit":
			return dossier.Event{Limit: version}, nil
		}
	}
	return dossier.Event{}, &dossier.Error{Kind: dossier.KindUnsupported, Err: fmt.Errorf("an event of an unknown kind")}
}

func invalid(message string) error { return dossier.Errorf(dossier.KindInvalid, "", "", message) }

// checkText checks a name or a version: one line of bounded length.
func checkText(s string, limits Limits) error {
	if len(s) > limits.Text {
		return dossier.Errorf(dossier.KindLimit, "", "", fmt.Sprintf("a name or version has %d bytes, the limit Text is %d", len(s), limits.Text))
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return invalid("a name or version has control characters")
	}
	return nil
}
