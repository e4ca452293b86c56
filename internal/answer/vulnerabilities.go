// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/match"
)

// maxWorst is how many of the worst vulnerabilities an answer names.
const maxWorst = 10

// judgeVulnerabilities follows docs/spec/answers.md, "vulnerabilities".
func judgeVulnerabilities(s *survey) dossier.Answer {
	d := s.draft("severities", "exploited", "worst", "suppressed", "notAssessable", "feeds", "missed")
	s.setStatements(d, s.scanStatement)
	if s.unread() {
		return d.unknown(s.whyUnread())
	}
	if len(s.exposed) == 0 {
		return d.unknown("not scanned", "Its layers were not read yet; a server reads them soon, and dossier vulns reads them at once.")
	}
	x := s.expose()
	d.set("missed", s.missed()...)
	if len(s.Feeds) == 0 {
		return d.unknown("no advisories", "dossier db update fetches advisories, dossier db import reads them from files.")
	}
	d.set("severities", x.found(x.severities()))
	if len(x.exploited) > 0 {
		d.set("exploited", x.found(x.exploited))
	}
	if worst := x.worst(); len(worst) > 0 {
		d.set("worst", x.found(worst))
	}
	if n := len(x.suppressed); n > 0 {
		d.set("suppressed", x.found(x.suppressed[:min(n, maxWorst)]))
	}
	if len(x.unassessed) > 0 {
		d.set("notAssessable", x.found(x.unassessed))
	}
	if len(x.feeds) > 0 {
		d.set("feeds", x.found(x.feeds))
	}
	return s.judgeExposed(d, x)
}

// judgeExposed judges an image whose packages are known.
func (s *survey) judgeExposed(d *draft, x *exposed) dossier.Answer {
	summary := x.summary()
	rest := x.found(summary)
	list := strings.TrimSpace("dossier vulns lists them, with the versions that fix them. " + x.staleNext())
	switch {
	case x.pending > 0:
		return d.unknown("not compared yet", "The packages are compared with advisories soon.")
	case len(x.exploited) > 0, x.counts[dossier.SeverityCritical]+x.counts[dossier.SeverityHigh] > 0:
		return d.answer(dossier.StatusFail, summary, list, rest)
	case x.serious() > 0:
		return d.answer(dossier.StatusWarn, summary, list, rest)
	case x.packages == 0:
		return d.unknown("no packages found", "Nothing that extractors know is in its layers: nothing can be said, good or bad.")
	case x.assessed == 0:
		return d.unknown("not assessable: "+x.unassessed[0].Why, x.unassessedNext())
	case len(x.unassessed) > 0:
		return d.answer(dossier.StatusWarn, fmt.Sprintf("none known; %s not assessable", plural(x.packages-x.assessed, "package")), x.unassessedNext(), rest)
	case len(d.details["missed"]) > 0:
		return d.answer(dossier.StatusWarn, "none known; not all was read", "Not all of it could be read; missed says what.", rest)
	case x.stale > 0:
		return d.answer(dossier.StatusWarn, "none known "+days(x.stale)+" ago", x.staleNext(), rest)
	}
	return d.answer(dossier.StatusOK, summary, "", rest)
}

// exposed is what advisories say of the platforms in use, together.
type exposed struct {
	cites []cite

	vulnerabilities []Vulnerability // each once, the worst first
	counts          map[dossier.Severity]int
	exploited       []string // IDs
	suppressed      []suppressed
	packages        int
	assessed        int // packages of which something can be said
	pending         int // packages that were not compared yet
	unassessed      []unassessed
	feeds           []feedAge
	stale           time.Duration // age of the oldest feed that is too old; 0: none is
}

// unassessed is an element of the detail "notAssessable", feedAge one of "feeds",
// severityCount one of "severities".
type unassessed struct {
	Packages int    `json:"packages"`
	Why      string `json:"why"`
}

type feedAge struct {
	AsOf      time.Time `json:"asOf"`
	Ecosystem string    `json:"ecosystem"`
	Serial    int64     `json:"serial"`
	Stale     bool      `json:"stale"`
}

type severityCount struct {
	Count    int              `json:"count"`
	Fixable  int              `json:"fixable"`
	Severity dossier.Severity `json:"severity"`
}

// expose brings together what is said of the platforms in use.
func (s *survey) expose() *exposed {
	x := &exposed{counts: map[dossier.Severity]int{}}
	byID := map[string]Vulnerability{}
	why := map[string]int{}
	used := map[string]bool{}
	for _, e := range s.exposed {
		for _, h := range s.held {
			if h.fact.Subject == e.On {
				x.cites = append(x.cites, h.cite(plural(h.count(), "package")))
			}
		}
		for _, v := range e.Vulnerabilities {
			known, ok := byID[v.ID]
			if !ok || v.Severity.Rank() > known.Severity.Rank() {
				known.ID, known.Severity = v.ID, v.Severity
			}
			known.Fixable, known.Exploited = known.Fixable || v.Fixable, known.Exploited || v.Exploited
			byID[v.ID] = known
		}
		for _, p := range e.Packages {
			x.packages += p.Count
			for _, f := range p.Feeds {
				used[f] = true
			}
			if !p.Matched {
				x.pending += p.Count
			} else if reason := p.assess(s.AsOf); reason != "" {
				why[reason] += p.Count
			} else {
				x.assessed += p.Count
			}
		}
	}
	x.addSuppressed(s.exposed, byID)
	x.vulnerabilities = slices.SortedFunc(maps.Values(byID), worseFirst)
	for _, v := range x.vulnerabilities {
		x.counts[v.Severity]++
		if v.Exploited {
			x.exploited = append(x.exploited, v.ID)
		}
	}
	for reason, n := range why {
		x.unassessed = append(x.unassessed, unassessed{n, reason})
	}
	slices.SortFunc(x.unassessed, func(a, b unassessed) int {
		return cmp.Or(cmp.Compare(b.Packages, a.Packages), cmp.Compare(a.Why, b.Why))
	})
	s.ageFeeds(x, used)
	return x
}

// assess says why nothing, or not everything, can be said of packages.
func (p Compared) assess(at time.Time) string {
	return cmp.Or(p.Reason, match.AssessEcosystem(p.Ecosystem, match.Knowledge{At: at, Covers: func(string) bool { return len(p.Feeds) > 0 }}), p.Unclear)
}

// worseFirst orders vulnerabilities: what is exploited, what is worse, what can
// be fixed, then by ID.
func worseFirst(a, b Vulnerability) int {
	return cmp.Or(
		number(b.Exploited)-number(a.Exploited), b.Severity.Rank()-a.Severity.Rank(), number(b.Fixable)-number(a.Fixable), cmp.Compare(a.ID, b.ID),
	)
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// ageFeeds notes how old the feeds in use are.
func (s *survey) ageFeeds(x *exposed, used map[string]bool) {
	for _, f := range s.Feeds {
		if !used[f.Ecosystem] {
			continue
		}
		age := feedAge{Ecosystem: f.Ecosystem, Serial: f.Serial, AsOf: f.AsOf, Stale: older(s.AsOf.Sub(f.AsOf), s.policy.MaxFeedAge, DefaultMaxFeedAge)}
		if age.Stale {
			x.stale = max(x.stale, s.AsOf.Sub(f.AsOf))
		}
		x.feeds = append(x.feeds, age)
	}
}

// found is a value that what is known of the packages gives, by what advisories
// claim.
func (x *exposed) found(value any) found {
	return found{value: value, grade: dossier.GradeClaimed, cites: x.cites}
}

// serious counts vulnerabilities that the distribution does not call unimportant.
func (x *exposed) serious() int {
	return len(x.vulnerabilities) - x.counts[dossier.SeverityNegligible]
}

// severities counts vulnerabilities, the worst first.
func (x *exposed) severities() []severityCount {
	out := []severityCount{}
	for _, v := range slices.SortedStableFunc(slices.Values(x.vulnerabilities), func(a, b Vulnerability) int { return b.Severity.Rank() - a.Severity.Rank() }) {
		if len(out) == 0 || out[len(out)-1].Severity != v.Severity {
			out = append(out, severityCount{Severity: v.Severity})
		}
		last := &out[len(out)-1]
		last.Count++
		last.Fixable += number(v.Fixable)
	}
	return out
}

// worst names the worst vulnerabilities.
func (x *exposed) worst() []string {
	var ids []string
	for _, v := range x.vulnerabilities[:min(len(x.vulnerabilities), maxWorst)] {
		ids = append(ids, v.ID)
	}
	return ids
}

// summary counts what is known, in few words.
func (x *exposed) summary() string {
	var parts []string
	if n := len(x.exploited); n > 0 {
		parts = append(parts, fmt.Sprintf("%d exploited", n))
	}
	others := x.serious()
	for _, severity := range []dossier.Severity{dossier.SeverityCritical, dossier.SeverityHigh} {
		if n := x.counts[severity]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, severity))
			others -= n
		}
	}
	if others > 0 {
		what := "other"
		if len(parts) == 0 {
			what = "known"
		}
		parts = append(parts, fmt.Sprintf("%d %s", others, what))
	}
	aside := ""
	if n := len(x.suppressed); n > 0 {
		aside = fmt.Sprintf("; %d suppressed", n)
	}
	if len(parts) == 0 {
		return "none known" + aside
	}
	fixable := 0
	for _, v := range x.vulnerabilities {
		if v.Severity != dossier.SeverityNegligible {
			fixable += number(v.Fixable)
		}
	}
	return fmt.Sprintf("%s; %d fixable%s", strings.Join(parts, ", "), fixable, aside)
}

// unassessedNext says what there is to do about packages of which nothing can be
// said.
func (x *exposed) unassessedNext() string {
	return strings.TrimSpace(fmt.Sprintf("Of %s: %s. %s", plural(x.unassessed[0].Packages, "package"), x.unassessed[0].Why, x.staleNext()))
}

// staleNext says what there is to do about old advisories; nothing when they are
// not.
func (x *exposed) staleNext() string {
	if x.stale == 0 {
		return ""
	}
	return "The advisories are " + days(x.stale) + " old: dossier db update."
}

// days writes a time of some days.
func days(d time.Duration) string { return plural(int(d/(24*time.Hour)), "day") }
