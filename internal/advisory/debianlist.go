// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"bufio"
	"bytes"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/pattern"
)

const opList = "converting Debian list"

var (
	listBulletin = pattern.New(`^\[(\d{1,2} [A-Z][a-z]{2} \d{4})\] (D[SLT]A-\d+(?:-\d+)?) (.*)$`)
	listCVE      = pattern.New(`^(CVE-\d{4}-\d{4,}|TEMP-[0-9A-F-]+)(?: (.*))?$`)
	listPackage  = pattern.New(`^(?:\[([a-z]+)\] )?- ([a-z0-9][a-z0-9+.-]*)(?: (\S+))?(?: \((.*)\))?$`)
	listNames    = pattern.New(`^\{(.*)\}$`)
)

// listEntry is a bulletin or a vulnerability, with what is said of packages.
type listEntry struct {
	id, summary string
	date        time.Time
	names       []string
	packages    []listLine
}

// listLine is "[release] - package version (flags)". The version may be a word
// in angle brackets.
type listLine struct{ release, source, version, flags string }

// ConvertDebianList makes records of a list of Debian's security team: bulletins
// (DSA/list, DLA/list) with their own IDs, or vulnerabilities (CVE/list) as
// "DEBIAN-CVE-2024-0001".
func ConvertDebianList(b []byte, limits Limits) iter.Seq2[Record, error] {
	limits = limits.orDefault()
	if int64(len(b)) > limits.Document {
		return fails(exceeds(opList, "", "Document", int64(len(b)), limits.Document, "bytes"))
	}
	records := map[string]*record{}
	var entry *listEntry
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimRight(lines.Text(), " \t\r")
		if line == "" {
			continue
		}
		if line[0] == ' ' || line[0] == '\t' {
			if entry == nil {
				return fails(invalidDocument(opList, "line %d belongs to no entry", n))
			}
			entry.add(strings.TrimSpace(line))
			continue
		}
		entry.addTo(records)
		if entry = newListEntry(line); entry == nil {
			return fails(invalidDocument(opList, "line %d is no entry: %q", n, short(line)))
		}
	}
	if err := lines.Err(); err != nil {
		return fails(&dossier.Error{Kind: dossier.KindInvalid, Op: opList, Err: err})
	}
	entry.addTo(records)
	return writeAll(records, limits)
}

// newListEntry reads the first line of an entry, nil when it is none.
func newListEntry(line string) *listEntry {
	if m := listBulletin.FindStringSubmatch(line); m != nil {
		date, err := time.Parse("2 Jan 2006", m[1])
		if err != nil {
			return nil
		}
		return &listEntry{id: m[2], date: date, summary: m[3]}
	}
	if m := listCVE.FindStringSubmatch(line); m != nil {
		return &listEntry{id: m[1], summary: strings.Trim(m[2], "()[]")}
	}
	return nil
}

// add reads a further line. Notes and the like are passed over.
func (e *listEntry) add(line string) {
	if m := listNames.FindStringSubmatch(line); m != nil {
		e.names = append(e.names, strings.Fields(m[1])...)
	} else if m := listPackage.FindStringSubmatch(line); m != nil {
		e.packages = append(e.packages, listLine{m[1], m[2], m[3], m[4]})
	}
}

func (e *listEntry) addTo(records map[string]*record) {
	if e == nil {
		return
	}
	if !e.date.IsZero() {
		r := &record{ID: e.id, Summary: printable(e.summary), Upstream: e.names, Modified: instant{Time: e.date}, Published: instant{Time: e.date, told: true}}
		for _, l := range e.packages {
			if number := debianRelease(l.release); number != "" {
				r.Affected = l.appendTo(r.Affected, number, false)
			}
		}
		records[e.id] = r
		return
	}
	r := &record{ID: "DEBIAN-" + e.id, Summary: printable(e.summary), Upstream: []string{e.id}}
	for _, source := range e.sources() {
		general, special := e.about(source)
		for _, codename := range []string{"buster", "bullseye", "bookworm", "trixie", "forky"} {
			number := debianRelease(codename)
			switch s, ok := special[codename]; {
			case ok && s.isNote() && general.version != "":
				r.Affected = s.withFixOf(general).appendTo(r.Affected, number, true)
			case ok:
				r.Affected = s.appendTo(r.Affected, number, false)
			case general.source != "":
				r.Affected = general.appendTo(r.Affected, number, true)
			}
		}
	}
	if len(r.Affected) > 0 {
		records[r.ID] = r
	}
}

func (e *listEntry) sources() []string {
	var out []string
	for _, l := range e.packages {
		if !slices.Contains(out, l.source) {
			out = append(out, l.source)
		}
	}
	return out
}

// about returns what is said of a source package in unstable, and of it in
// releases.
func (e *listEntry) about(source string) (general listLine, special map[string]listLine) {
	special = map[string]listLine{}
	for _, l := range e.packages {
		switch {
		case l.source != source:
		case l.release == "":
			general = l
		default:
			special[l.release] = l
		}
	}
	return general, special
}

// isNote reports whether a line gives a reason instead of a version.
func (l listLine) isNote() bool {
	switch l.version {
	case "<no-dsa>", "<ignored>", "<postponed>", "<end-of-life>", "<unfixed>":
		return true
	}
	return false
}

// withFixOf returns a note together with the version in which unstable has the fix.
func (l listLine) withFixOf(general listLine) listLine {
	if strings.HasPrefix(general.version, "<") {
		return l
	}
	return listLine{l.release, l.source, l.version + general.version, strings.Join([]string{l.flags, general.flags}, "; ")}
}

// appendTo adds what a line says of a release. unstable says that its version is
// that of unstable, so that there is nothing to update to in the release.
func (l listLine) appendTo(list []affected, number string, unstable bool) []affected {
	a := affected{
		Package:  packageName{Ecosystem: "Debian:" + number, Name: l.source},
		Database: affectedSpecific{converted{Source: true}},
	}
	version, word := l.version, ""
	if rest, ok := strings.CutPrefix(version, "<"); ok {
		word, version, _ = strings.Cut(rest, ">")
	}
	if strings.Contains(l.flags, "unimportant") {
		a.Ecosystem.Urgency = "unimportant"
	}
	d := &a.Database.Dossier
	switch word {
	case "undetermined", "itp":
		return list
	case "not-affected":
		version = "0"
	case "removed": // from unstable: that says nothing of what is installed
		d.Note = "removed"
	case "no-dsa", "ignored", "postponed", "end-of-life":
		d.State, d.Note = debianState(word, noBugs(l.flags))
	case "", "unfixed":
	default:
		d.Note = fmt.Sprintf("%q", word)
	}
	d.Unreleased = unstable && version != "" && version != "0"
	a.Ranges = fixedIn(version)
	return append(list, a)
}

// noBugs drops numbers of bugs and urgencies from what stands in parentheses.
func noBugs(flags string) string {
	var out []string
	for f := range strings.SplitSeq(flags, ";") {
		f = strings.TrimSpace(f)
		if f != "" && !strings.HasPrefix(f, "bug #") && f != "unimportant" && f != "low" && f != "medium" && f != "high" {
			out = append(out, f)
		}
	}
	return strings.Join(out, "; ")
}
