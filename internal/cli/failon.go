// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"dossier.dev/dossier"
)

// failOn are conditions under which a list of findings makes a command exit with
// 3 (docs/spec/scan.md): that one of them holds is enough.
type failOn struct {
	texts []string
	any   []condition
}

// condition is what must hold of one finding, all of it; or, alone, of the list.
type condition struct {
	text      string
	severity  dossier.Severity // this bad or worse; empty: any
	fixable   bool
	exploited bool
	present   bool
	list      func(dossier.FindingList) bool // nil: it is about findings
}

func (f *failOn) register(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.texts, "fail-on", nil, "exit with 3 when a finding is all of these `words`: a severity (or worse), fixable, exploited, present, any; or the list is: not-assessable, stale. Again: one of them is enough")
}

// parse reads the flags.
func (f *failOn) parse() error {
	f.any = nil
	for _, text := range f.texts {
		c, err := parseCondition(text)
		if err != nil {
			return usageError{&dossier.Error{Kind: dossier.KindInvalid, Op: "reading flag", Subject: "--fail-on=" + text, Err: err,
				Hint: "write words such as critical, or high,fixable"}}
		}
		f.any = append(f.any, c)
	}
	return nil
}

func parseCondition(text string) (condition, error) {
	c := condition{text: text}
	words := strings.Split(text, ",")
	for i, w := range words {
		words[i] = strings.TrimSpace(w)
		severity := dossier.Severity(words[i])
		switch {
		case words[i] == "fixable":
			c.fixable = true
		case words[i] == "exploited":
			c.exploited = true
		case words[i] == "present":
			c.present = true
		case words[i] == "any":
		case words[i] == "not-assessable":
			c.list = func(l dossier.FindingList) bool { return len(l.NotAssessable) > 0 || len(l.Missed) > 0 }
		case words[i] == "stale":
			c.list = func(l dossier.FindingList) bool { return l.Stale || len(l.Feeds) == 0 }
		case severity.Rank() == 0:
			return condition{}, fmt.Errorf("%q is none of critical, high, medium, low, negligible, fixable, exploited, present, any, not-assessable, stale", words[i])
		case c.severity != "":
			return condition{}, fmt.Errorf("it names two severities, %s and %s", c.severity, severity)
		default:
			c.severity = severity
		}
	}
	if c.list != nil && len(words) > 1 {
		return condition{}, fmt.Errorf("%s is about the list, and stands alone", words[slices.IndexFunc(words, aboutList)])
	}
	return c, nil
}

func aboutList(word string) bool { return word == "not-assessable" || word == "stale" }

// holds reports whether a finding is all that the condition asks for.
func (c condition) holds(f dossier.Finding) bool {
	return (c.severity == "" || f.Severity.Rank() >= c.severity.Rank()) &&
		(!c.present || f.Symbols != dossier.SymbolsAbsent) &&
		(!c.fixable || f.State == dossier.Fixable) &&
		(!c.exploited || f.Exploit != nil && !f.Exploit.KnownSince.IsZero())
}

// judge says on stderr which conditions hold, and returns errFound when one does.
func (f *failOn) judge(p *program, list dossier.FindingList) error {
	var found error
	for _, c := range f.any {
		if c.list != nil {
			if c.list(list) {
				p.note("the list is %s", c.text)
				found = errFound
			}
			continue
		}
		n := 0
		for _, finding := range list.Findings {
			if c.holds(finding) {
				n++
			}
		}
		if n > 0 {
			p.note("%d of %d findings are %s", n, len(list.Findings), c.text)
			found = errFound
		}
	}
	return found
}
