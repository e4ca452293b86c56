// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
)

// Source is a document and where it was found.
type Source struct {
	Document
	Where string // a path, or how it is attached
	// Limited documents take out nothing that is critical, high or exploited: who
	// wrote them is not known.
	Limited bool
	// Refused says why it may take out nothing; empty: it may.
	Refused string
	// Grade and Signer are those of dossier.Triage.
	Grade  dossier.Grade
	Signer string
}

// aside returns why a statement about a finding is not believed; empty: it is.
func (d Source) aside(f dossier.Finding, st Status) string {
	switch {
	case st != NotAffected && st != Fixed:
		return ""
	case d.Refused != "":
		return "that does not count: " + d.Refused
	case d.Limited && serious(f):
		return "that counts for nothing critical, high or exploited"
	}
	return ""
}

// Rules are all that is said about findings.
type Rules struct {
	Documents []Source
	Ignores   []Ignore
}

// said is a statement about a finding, as people see it, with what it says.
type said struct {
	dossier.Triage
	status Status
	aside  string // why it is not believed; empty: it is
}

// of returns what is said of a finding, the latest first; of what was said at the
// same time first what lets it count.
func (r Rules) of(s Subject, f dossier.Finding) []said {
	called := append([]string{f.ID}, f.Aliases...)
	var out []said
	for _, d := range r.Documents {
		for _, st := range d.Statements {
			if !sharesName(st.Names, called) || !slices.ContainsFunc(st.Products, func(p Product) bool { return p.covers(s, f) }) {
				continue
			}
			out = append(out, said{dossier.Triage{
				Source: d.Where, Format: d.Format, Author: d.Author, Status: string(st.Status), Justification: st.Justification,
				Reason: st.Reason, At: st.At, Document: d.SHA256, Grade: d.Grade, Signer: d.Signer,
			}, st.Status, d.aside(f, st.Status)})
		}
	}
	slices.SortStableFunc(out, func(a, b said) int {
		if c := b.At.Compare(a.At); c != 0 {
			return c
		}
		return a.rank() - b.rank()
	})
	return out
}

// serious reports whether a finding is critical, high or exploited.
func serious(f dossier.Finding) bool {
	return f.Severity.Rank() >= dossier.SeverityHigh.Rank() || f.Exploit != nil && !f.Exploit.KnownSince.IsZero()
}

// Names returns what rules call the vulnerabilities that they speak of, sorted, each
// once.
func (r Rules) Names() []string {
	var out []string
	for _, d := range r.Documents {
		for _, s := range d.Statements {
			out = append(out, s.Names...)
		}
	}
	for _, i := range r.Ignores {
		out = append(out, i.Vulnerability)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// rank orders what is said at the same time.
func (s said) rank() int {
	return slices.Index([]Status{Affected, Investigating, Fixed, NotAffected}, s.status)
}

func sharesName(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool {
		return slices.ContainsFunc(b, func(y string) bool { return strings.EqualFold(x, y) })
	})
}

// Judge moves the findings that do not count from Findings to Suppressed, each
// with all who say so. What is said of those that do count becomes one of their
// notes. Ignores that have expired, and would have concerned a finding, are in the
// list's notes. at is now.
func (r Rules) Judge(list *dossier.FindingList, s Subject, at time.Time) {
	kept := []dossier.Finding{}
	expired := map[string]bool{}
	for _, f := range list.Findings {
		var by []dossier.Triage
		statements := r.of(s, f)
		for _, st := range statements {
			if st.aside != "" {
				f.Notes = append(slices.Clip(f.Notes), fmt.Sprintf("%s: %s, says %s; %s", st.Source, st.Status, orSomeone(st.Author), st.aside))
			}
		}
		statements = slices.DeleteFunc(statements, func(st said) bool { return st.aside != "" })
		if len(statements) > 0 && (statements[0].status == NotAffected || statements[0].status == Fixed) {
			for _, st := range statements {
				if st.status == NotAffected || st.status == Fixed {
					by = append(by, st.Triage)
				}
			}
		} else {
			for _, st := range statements {
				f.Notes = append(slices.Clip(f.Notes), fmt.Sprintf("%s: %s, says %s%s", st.Source, st.Status, orSomeone(st.Author), st.Standing()))
			}
		}
		for _, i := range r.Ignores {
			switch {
			case !i.covers(f):
			case !at.Before(i.Expires):
				expired[i.expiredNote()] = true
			default:
				by = append(by, i.triage())
			}
		}
		if len(by) > 0 {
			list.Suppressed = append(list.Suppressed, dossier.Suppressed{Finding: f, By: by})
			continue
		}
		kept = append(kept, f)
	}
	list.Findings = kept
	for _, i := range r.Ignores { // in the order of the file
		if note := i.expiredNote(); expired[note] {
			delete(expired, note)
			list.Notes = append(list.Notes, note)
		}
	}
}

func orSomeone(author string) string {
	if author == "" {
		return "someone"
	}
	return author
}
