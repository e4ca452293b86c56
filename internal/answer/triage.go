// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/vex"
)

// Attached says which findings VEX documents that are attached to an image may
// take out. Whoever may push to its repository may attach one.
type Attached string

// The ways.
const (
	AttachedNone    Attached = "none"    // none; the default
	AttachedLimited Attached = "limited" // those that are neither critical nor high nor exploited
	AttachedAll     Attached = "all"
)

// Triage is what somebody says of findings, and which of it counts in answers. It
// may be used by several goroutines; a nil one says nothing.
type Triage struct {
	Attached Attached

	mu      sync.Mutex
	rules   vex.Rules
	version int64 // rises with each change of rules
	// ids are the findings that rules speak of, by ID, as of a generation of
	// findings and a version of rules.
	ids                 map[string]bool
	generation, counted int64
	documents           map[dossier.Digest]vex.Document // attached ones that were parsed
}

// Set replaces the rules.
func (t *Triage) Set(rules vex.Rules) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rules = rules
	t.version++
}

// Expiry returns when the next ignore ends after a time; zero: none does.
func (t *Triage) Expiry(after time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	var next time.Time
	for _, i := range t.rules.Ignores {
		if i.Expires.After(after) && (next.IsZero() || i.Expires.Before(next)) {
			next = i.Expires
		}
	}
	return next
}

// Limits of what is remembered.
const (
	maxRuleNames     = 20_000 // vulnerabilities that are looked up; when rules name more, all findings are judged
	maxDocuments     = 256
	maxNamedFindings = 10_000
)

// read returns the rules, and the findings that they speak of; nil: they may speak
// of any.
func (t *Triage) read(ctx context.Context, r store.Reader, generation int64) (vex.Rules, map[string]bool, error) {
	t.mu.Lock()
	rules, version := t.rules, t.version
	if t.ids != nil && t.generation == generation && t.counted == version {
		defer t.mu.Unlock()
		return rules, t.ids, nil
	}
	t.mu.Unlock()
	names := rules.Names()
	if len(names) > maxRuleNames {
		return rules, nil, nil
	}
	ids := map[string]bool{}
	for _, name := range names {
		list, err := r.FindingsNamed(ctx, name, time.Time{}, maxNamedFindings)
		if err != nil {
			return rules, nil, err
		}
		if len(list) == maxNamedFindings {
			return rules, nil, nil
		}
		for _, f := range list {
			ids[f.ID] = true
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.version == version {
		t.ids, t.generation, t.counted = ids, generation, version
	}
	return rules, ids, nil
}

// triageOf returns the rules about one image, and the findings that they speak of;
// nil: they may speak of any. none reports that there are no rules.
func (g *gatherer) triageOf(ctx context.Context, on []dossier.Digest) (rules vex.Rules, ids map[string]bool, none bool, err error) {
	t := g.triage
	if t != nil {
		if rules, ids, err = t.read(ctx, g.r, g.matched.Generation); err != nil {
			return rules, nil, false, err
		}
	}
	if !g.at.Recorded.IsZero() {
		ids = nil // findings may have had other names then
	}
	if way := g.attachedWay(); way != AttachedNone {
		attached, _, err := g.attachedVEX(ctx, on)
		if err != nil {
			return rules, nil, false, err
		}
		for i := range attached {
			attached[i].Limited = way == AttachedLimited && attached[i].Grade != dossier.GradeSigned
		}
		if len(attached) > 0 {
			rules.Documents = slices.Concat(rules.Documents, attached)
			ids = nil
		}
	}
	return rules, ids, len(rules.Documents)+len(rules.Ignores) == 0, nil
}

// attachedWay is what attached documents may take out: all when who asks wants
// them to, or else what the configuration says.
func (g *gatherer) attachedWay() Attached {
	switch {
	case g.attached:
		return AttachedAll
	case g.triage != nil && (g.triage.Attached == AttachedLimited || g.triage.Attached == AttachedAll):
		return g.triage.Attached
	}
	return AttachedNone
}

// attachedVEX reads the documents that are attached to one of the digests, each
// once, with who signed them, and says in a sentence each which cannot be read.
func (g *gatherer) attachedVEX(ctx context.Context, on []dossier.Digest) (documents []vex.Source, problems []string, err error) {
	at := map[dossier.Digest]int{} // in documents, by document; below 0: it cannot be read
	for f, err := range g.r.Holding(ctx, distinct(on), g.at, dossier.FactAttachedVEX) {
		if err != nil {
			return nil, nil, err
		}
		var about dossier.AttachedVEX
		i, seen := 0, false
		if json.Unmarshal(f.Body, &about) == nil {
			i, seen = at[about.Document]
		}
		if about.Document == "" || seen && (i < 0 || documents[i].Grade == dossier.GradeSigned) {
			continue
		}
		where := "attached (" + about.How + ") " + about.Document.Short()
		d, problem, err := g.triage.document(ctx, g.r, about)
		if err != nil {
			return nil, nil, err
		}
		if problem != "" {
			at[about.Document] = -1
			problems = append(problems, "VEX document "+where+" was not read: "+problem)
			continue
		}
		source := vex.Source{Document: d, Where: where, Grade: dossier.GradeClaimed}
		if g.trust != nil {
			if err := g.addSigner(ctx, &source, f.Subject, on, about); err != nil {
				return nil, nil, err
			}
		}
		if seen { // attached to the image and to its index
			documents[i] = source
			continue
		}
		at[about.Document] = len(documents)
		documents = append(documents, source)
	}
	slices.SortFunc(documents, func(a, b vex.Source) int { return strings.Compare(string(a.SHA256), string(b.SHA256)) })
	return documents, problems, nil
}

// document is vexDocument that remembers. A nil t remembers nothing.
func (t *Triage) document(ctx context.Context, r store.Reader, about dossier.AttachedVEX) (vex.Document, string, error) {
	if t != nil {
		t.mu.Lock()
		d, ok := t.documents[about.Document]
		t.mu.Unlock()
		if ok {
			return d, "", nil
		}
	}
	d, problem, err := vexDocument(ctx, r, about)
	if t == nil || err != nil || problem != "" {
		return d, problem, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.documents == nil || len(t.documents) >= maxDocuments {
		t.documents = map[dossier.Digest]vex.Document{}
	}
	t.documents[about.Document] = d
	return d, "", nil
}

// subjectOf is an image as VEX documents may name it.
func subjectOf(e *Evidence, p dossier.PlatformImage) vex.Subject {
	s := vex.Subject{Digests: distinct([]dossier.Digest{e.Subject, p.Manifest}), Platforms: []string{p.Platform}}
	for _, n := range e.Names {
		s.Names = append(s.Names, n.Name)
	}
	for _, t := range e.Tags {
		s.Tags = append(s.Tags, t.Tag)
	}
	return s
}

// triageFindings moves the findings of an image that do not count to those that
// are suppressed, and says which documents are not applied.
func (g *gatherer) triageFindings(ctx context.Context, out *dossier.FindingList, in inside) error {
	on := []dossier.Digest{in.platform.Manifest, in.digest}
	g.attached = in.query.Attached
	rules, _, none, err := g.triageOf(ctx, on)
	if err != nil {
		return err
	}
	if !none {
		rules.Judge(out, in.subject, g.asOf)
	}
	attached, problems, err := g.attachedVEX(ctx, on)
	if err != nil {
		return err
	}
	out.Notes = append(out.Notes, problems...)
	if n := len(attached); n > 0 && g.attachedWay() == AttachedNone {
		out.Notes = append(out.Notes, plural(n, "VEX document")+" attached to the image not applied: triage.attached in the server's configuration lets them be, or --vex attached")
		return nil
	}
	out.Notes = append(out.Notes, standings(attached)...)
	if in.query.Attached && len(attached)+len(problems) == 0 {
		out.Notes = append(out.Notes, "no VEX document is known to be attached to the image")
	}
	return nil
}

// triageExposures takes out of what is said of platforms what does not count.
func (b *batch) triageExposures(ctx context.Context) error {
	if b.triage == nil {
		return nil
	}
	for i := range b.evidence {
		e := &b.evidence[i]
		for j := range e.Exposures {
			if err := b.triageExposure(ctx, e, &e.Exposures[j]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *batch) triageExposure(ctx context.Context, e *Evidence, x *Exposure) error {
	if len(x.Vulnerabilities) == 0 {
		return nil
	}
	rules, ids, none, err := b.triageOf(ctx, []dossier.Digest{x.On, e.Subject})
	if err != nil || none {
		return err
	}
	concerned := map[string]*Vulnerability{}
	for i := range x.Vulnerabilities {
		if v := &x.Vulnerabilities[i]; ids == nil || ids[v.ID] {
			concerned[v.ID] = v
		}
	}
	if len(concerned) == 0 {
		return nil
	}
	held, err := b.r.FindingsOfSets(ctx, b.sets[x.On], b.at.Recorded)
	if err != nil {
		return err
	}
	var list dossier.FindingList
	for _, h := range held {
		v := concerned[h.ID]
		if v == nil {
			continue
		}
		f := h.Finding
		f.Package.Layer, f.Package.Path = h.Layer, h.Path
		if v.Exploited {
			f.Exploit = &dossier.Exploit{KnownSince: b.asOf}
		}
		list.Findings = append(list.Findings, f)
	}
	platform := dossier.PlatformImage{Manifest: x.On}
	for _, p := range e.Platforms {
		if p.Manifest == x.On {
			platform = p
		}
	}
	rules.Judge(&list, subjectOf(e, platform), b.asOf)
	x.takeOut(list)
	return nil
}

// takeOut takes out the vulnerabilities of which nothing counts, and corrects those
// of which a part does not. list has what was judged.
func (x *Exposure) takeOut(list dossier.FindingList) {
	by := map[string][]dossier.Triage{}
	for _, s := range list.Suppressed {
		for _, t := range s.By {
			if !slices.Contains(by[s.ID], t) {
				by[s.ID] = append(by[s.ID], t)
			}
		}
	}
	if len(by) == 0 {
		return
	}
	left := map[string]Vulnerability{}
	for _, f := range list.Findings {
		v, ok := left[f.ID]
		if !ok || f.Severity.Rank() > v.Severity.Rank() {
			v.Severity = f.Severity
		}
		v.ID, v.Fixable = f.ID, v.Fixable || f.State == dossier.Fixable
		left[f.ID] = v
	}
	kept := []Vulnerability{}
	for _, v := range x.Vulnerabilities {
		said := by[v.ID]
		rest, counts := left[v.ID]
		switch {
		case len(said) == 0:
			kept = append(kept, v)
		case counts:
			rest.Exploited = v.Exploited
			kept = append(kept, rest)
		default:
			x.Suppressed = append(x.Suppressed, SuppressedVulnerability{Vulnerability: v, By: said})
		}
	}
	x.Vulnerabilities = kept
}

// SuppressedVulnerability is one that somebody says does not count.
type SuppressedVulnerability struct {
	Vulnerability
	By []dossier.Triage `json:"by"`
}

// suppressed is an element of the detail "suppressed".
type suppressed struct {
	ID       string           `json:"id"`
	Severity dossier.Severity `json:"severity"`
	By       string           `json:"by"`
	Until    time.Time        `json:"until,omitzero"`
}

// addSuppressed brings together what does not count for one of the platforms and
// counts for none.
func (x *exposed) addSuppressed(exposures []Exposure, counted map[string]Vulnerability) {
	byID := map[string]SuppressedVulnerability{}
	for _, e := range exposures {
		for _, s := range e.Suppressed {
			if _, ok := counted[s.ID]; !ok {
				byID[s.ID] = s
			}
		}
	}
	list := slices.SortedFunc(maps.Values(byID), func(a, b SuppressedVulnerability) int { return worseFirst(a.Vulnerability, b.Vulnerability) })
	for _, s := range list {
		t := s.By[0]
		text := t.Status + ", says " + t.Source
		if t.Author != "" {
			text = t.Status + ", says " + t.Author + " in " + t.Source
		}
		text += t.Standing()
		if why := strings.TrimSpace(t.Justification + " " + t.Reason); why != "" {
			text += ": " + why
		}
		x.suppressed = append(x.suppressed, suppressed{ID: s.ID, Severity: s.Severity, By: text, Until: t.Expires})
	}
}

// triageFound says of images with a vulnerability where it does not count.
func (g *gatherer) triageFound(ctx context.Context, found []dossier.Found, hits packageHits) error {
	if g.triage == nil || len(hits.findings) == 0 || len(found) == 0 {
		return nil
	}
	if err := g.loadMatchState(ctx); err != nil {
		return err
	}
	findings := map[dossier.Digest][]dossier.Finding{}
	for _, h := range hits.holders {
		f := hits.findings[h.Package].Finding
		f.Package.Layer, f.Package.Path = h.Layer, h.Path
		findings[h.Manifest] = append(findings[h.Manifest], f)
	}
	for d := range findings {
		if err := g.addExploits(ctx, findings[d]); err != nil {
			return err
		}
	}
	var ds []dossier.Digest
	for _, f := range found {
		ds = append(ds, f.Digest)
	}
	ds = distinct(ds)
	for _, load := range []func(context.Context, []dossier.Digest) error{g.loadTree, g.loadNames, g.loadTags} {
		if err := load(ctx, ds); err != nil {
			return err
		}
	}
	for i := range found {
		if err := g.triageOne(ctx, &found[i], findings); err != nil {
			return err
		}
	}
	return nil
}

// triageOne says of one image whether nothing of a vulnerability counts in it.
func (g *gatherer) triageOne(ctx context.Context, f *dossier.Found, findings map[dossier.Digest][]dossier.Finding) error {
	manifests := []dossier.Digest{f.Digest}
	for _, e := range g.leaves(f.Digest) {
		manifests = append(manifests, e.Child)
	}
	var by []dossier.Triage
	for _, manifest := range distinct(manifests) {
		rules, ids, none, err := g.triageOf(ctx, []dossier.Digest{manifest, f.Digest})
		if err != nil {
			return err
		}
		list := dossier.FindingList{Findings: slices.Clone(findings[manifest])}
		if len(list.Findings) == 0 {
			continue
		}
		if none || ids != nil && !slices.ContainsFunc(list.Findings, func(one dossier.Finding) bool { return ids[one.ID] }) {
			return nil
		}
		e := Evidence{Subject: f.Digest, Tags: g.tags[f.Digest]}
		for _, n := range g.names[f.Digest] {
			e.Names = append(e.Names, Name{Name: n.Name})
		}
		rules.Judge(&list, subjectOf(&e, dossier.PlatformImage{Manifest: manifest, Platform: g.platform(manifest)}), g.asOf)
		if len(list.Findings) > 0 {
			return nil
		}
		for _, s := range list.Suppressed {
			for _, t := range s.By {
				if !slices.Contains(by, t) {
					by = append(by, t)
				}
			}
		}
	}
	f.Suppressed = by
	return nil
}
