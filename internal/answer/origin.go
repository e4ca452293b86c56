// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/origin"
	"dossier.dev/dossier/internal/store"
)

// judgeOrigin follows docs/spec/answers.md, "origin".
func judgeOrigin(s *survey) dossier.Answer {
	d := s.draft("source", "revision", "builder", "vendor", "authors", "baseName", "baseDigest", "firstSeen", "tag")
	sources := d.set("source", s.sources()...)
	revisions := d.set("revision", s.revisions()...)
	builders := d.set("builder", agree(s.of(origin.Builder), sameText)...)
	vendors := d.set("vendor", agree(s.of(origin.Vendor), sameText)...)
	authors := d.set("authors", agree(s.of(origin.Authors), sameText)...)
	baseNames := d.set("baseName", s.baseNames()...)
	baseDigests := d.set("baseDigest", s.baseDigests()...)
	d.set("firstSeen", s.firstSeen()...)
	d.set("tag", s.tags()...)
	s.setStatements(d, s.originStatement)
	if signers := s.signers(); len(signers) > 0 {
		d.set("signer", signers...)
		if len(s.rejudged) > 0 {
			d.set("rejudged", s.rejudged...)
		}
	}

	if s.unread() {
		return d.unknown(s.whyUnread())
	}
	source, hasSource := first(sources)
	revision, hasRevision := first(revisions)
	const next = "Set the labels org.opencontainers.image.source and org.opencontainers.image.revision when building."
	switch {
	case len(valid(sources)) > 1:
		return d.answer(dossier.StatusWarn, shortSources(valid(sources), " or "), "The sources disagree; make labels and annotations agree.", valid(sources)...)
	case len(valid(revisions)) > 1:
		return d.answer(dossier.StatusWarn, shortRevisions(valid(revisions), " or "), "The revisions disagree; make labels, annotations and build agree.",
			valid(revisions)...)
	case hasSource && hasRevision:
		summary := shortSource(source.text()) + "@" + shortRevision(revision.text())
		if m, ok := s.modified(); ok {
			return d.answer(dossier.StatusWarn, summary+", modified", "Build from a clean checkout.", source, revision, m)
		}
		for _, f := range slices.Concat(sources, revisions) {
			if f.invalid != "" {
				return d.answer(dossier.StatusWarn, summary, invalidNext(f), source, revision, f)
			}
		}
		return d.answer(dossier.StatusOK, summary, "", source, revision)
	case hasSource:
		return d.answer(dossier.StatusWarn, shortSource(source.text())+", no revision", next, source)
	case hasRevision:
		return d.answer(dossier.StatusWarn, "revision "+shortRevision(revision.text())+", no source", next, revision)
	case len(sources) > 0:
		return d.answer(dossier.StatusWarn, shortSource(sources[0].text())+", invalid", invalidNext(sources[0]), sources[0])
	}
	for _, hint := range []struct {
		word   string
		values []found
	}{{"base", baseNames}, {"base", baseDigests}, {"vendor", vendors}, {"built by", builders}, {"authors", authors}} {
		if f, ok := first(hint.values); ok {
			return d.answer(dossier.StatusWarn, hint.word+" "+shortReference(f.text())+", no source", next, f)
		}
	}
	return d.unknown("not recorded", next)
}

// sources returns where the source code lies by labels and annotations, or
// else by the module of the Go program.
func (s *survey) sources() []found {
	out := agree(s.of(origin.Source), sameSource)
	if len(valid(out)) > 0 {
		return out
	}
	for _, p := range s.programs {
		if source := moduleSource(p.Module); source != "" {
			out = merge(out, found{
				value: source,
				grade: dossier.GradeClaimed,
				cites: []cite{{p.fact, "go.build", "module=" + p.Module, dossier.GradeClaimed}},
			}, sameSource)
		}
	}
	return out
}

// moduleSource returns the repository of a Go module: on the well-known hosts
// the first three elements, elsewhere the module path, which the go command
// can resolve. A module without a host has none.
func moduleSource(module string) string {
	elements := strings.Split(majorSuffix.ReplaceAllString(module, ""), "/")
	if !strings.Contains(elements[0], ".") {
		return ""
	}
	switch elements[0] {
	case "github.com", "gitlab.com", "bitbucket.org", "codeberg.org":
		elements = elements[:min(3, len(elements))]
	}
	return strings.Join(elements, "/")
}

// sameSource compares addresses without scheme, ".git" and what BuildKit puts
// after "#": a revision and a directory.
func sameSource(a, b string) bool {
	a, _, _ = strings.Cut(a, "#")
	b, _, _ = strings.Cut(b, "#")
	return store.Normal(a) == store.Normal(b)
}

// revisions returns the revision of the source by labels, annotations and the
// Go program, or else by the environment.
func (s *survey) revisions() []found {
	out := agree(s.of(origin.Revision), sameRevision)
	for _, p := range s.programs {
		if r := p.Settings["vcs.revision"]; r != "" {
			out = merge(out, found{
				value: r,
				grade: dossier.GradeClaimed,
				cites: []cite{{p.fact, "go.build", "vcs.revision=" + r, dossier.GradeClaimed}},
			}, sameRevision)
		}
	}
	if len(valid(out)) > 0 {
		return out
	}
	for _, h := range s.hints {
		if h.Kind == origin.HintRevision && slices.Contains([]string{"", "git", "vcs", "source", "build"}, h.Name) {
			out = merge(out, h.found(), sameRevision)
		}
	}
	return out
}

// shortestRevision is how many digits an abbreviated revision has at least.
const shortestRevision = 7

// sameRevision takes an abbreviated revision and the whole one for the same.
func sameRevision(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	if len(a) > len(b) {
		a, b = b, a
	}
	return a == b || len(a) >= shortestRevision && strings.HasPrefix(b, a)
}

// modified returns the statement that the source had uncommitted changes.
func (s *survey) modified() (found, bool) {
	for _, p := range s.programs {
		if p.Settings["vcs.modified"] == "true" {
			return found{
				value: "true",
				grade: dossier.GradeClaimed,
				cites: []cite{{p.fact, "go.build", "vcs.modified=true", dossier.GradeClaimed}},
			}, true
		}
	}
	return found{}, false
}

// baseNames returns what the image was built on by its annotations, or else
// the known image whose layers it begins with. That one may be a base of the
// base, so it can confirm an annotation but not contradict it.
func (s *survey) baseNames() []found {
	out := agree(s.of(origin.BaseName), sameReference)
	if s.base == nil || s.base.Name == "" {
		return out
	}
	known := seen(s.base.Name, s.layerCites()...)
	if len(valid(out)) == 0 {
		return append(out, known)
	}
	for i, f := range out {
		if sameReference(f.text(), s.base.Name) {
			out[i] = merge([]found{f}, known, sameReference)[0]
		}
	}
	return out
}

// baseDigests returns the digest of the base, as baseNames does its name.
func (s *survey) baseDigests() []found {
	out := agree(s.of(origin.BaseDigest), sameText)
	if s.base == nil {
		return out
	}
	if len(valid(out)) == 0 {
		return append(out, seen(string(s.base.Digest), s.layerCites()...))
	}
	for i, f := range out {
		if s.isBase(f.text()) {
			out[i] = merge([]found{f}, seen(f.value, s.layerCites()...), sameText)[0]
		}
	}
	return out
}

// isBase reports whether a digest is the known base's or an index's that
// contains it.
func (s *survey) isBase(digest string) bool {
	d := dossier.Digest(digest)
	return s.base.Digest == d || slices.Contains(s.base.Parents, d)
}

// layerCites cites the manifest in which the layers of the base stand.
func (s *survey) layerCites() []cite {
	for i := range s.Facts {
		f := &s.Facts[i]
		if _, ok := s.manifests[f.Subject]; !ok || f.Kind != dossier.FactManifest {
			continue
		}
		if f.Subject == s.base.On || s.base.On == "" && len(s.manifests) == 1 {
			return []cite{{f, "image.manifest", fmt.Sprintf("begins with the %d layers of %s", s.base.Layers, s.base.Digest.Short()), dossier.GradeObserved}}
		}
	}
	return nil
}

// sameReference compares references without the defaults and, when one of them
// has no tag or digest, by name alone.
func sameReference(a, b string) bool {
	x, errX := dossier.ParseReference(a)
	y, errY := dossier.ParseReference(b)
	if errX != nil || errY != nil {
		return a == b
	}
	if x.Name() != y.Name() {
		return false
	}
	return x.Tag == y.Tag || x.Tag == "" || y.Tag == ""
}

// firstSeen returns when Dossier first met the image: found in a repository,
// tagged or running.
func (s *survey) firstSeen() []found {
	at := s.FirstRun
	earlier := func(t time.Time) bool { return !t.IsZero() && (at.IsZero() || t.Before(at)) }
	var cites []cite
	for _, n := range s.Names {
		if earlier(n.FirstSeen) {
			at = n.FirstSeen
			cites = []cite{{s.nameFact(n.Name), "image.name", n.Name, dossier.GradeObserved}}
		}
	}
	for _, t := range s.Tags {
		if earlier(t.From) {
			at = t.From
			cites = []cite{s.tagCite(t)}
		}
	}
	if at.IsZero() {
		return nil
	}
	return []found{seen(at.UTC().Format(time.RFC3339), cites...)}
}

// tags returns one value, the list of tags that point at the subject, or none.
func (s *survey) tags() []found {
	var names []string
	var cites []cite
	for _, t := range s.Tags {
		names = append(names, t.Name+":"+t.Tag)
		cites = append(cites, s.tagCite(t))
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return []found{seen(slices.Compact(names), cites...)}
}

// shortSource drops what people can do without.
func shortSource(s string) string {
	s, _, _ = strings.Cut(s, "#")
	if _, rest, ok := strings.Cut(s, "://"); ok {
		s = rest
	}
	return strings.TrimSuffix(strings.TrimRight(s, "/"), ".git")
}

// shortRevision abbreviates what looks like a git object name.
func shortRevision(s string) string {
	const hex = "0123456789abcdefABCDEF"
	if len(s) >= 40 && strings.Trim(s, hex) == "" {
		return s[:shortestRevision]
	}
	return s
}

// shortReference returns a reference as people write it, a digest abbreviated,
// and any other text as it is.
func shortReference(s string) string {
	if d, err := dossier.ParseDigest(s); err == nil {
		return d.Short()
	}
	ref, err := dossier.ParseReference(s)
	if err != nil || !strings.ContainsAny(s, "/:") {
		return s
	}
	ref.Digest = ""
	return cmp.Or(ref.Familiar(), s)
}

func shortSources(values []found, separator string) string {
	return shorten(values, separator, shortSource)
}

func shortRevisions(values []found, separator string) string {
	return shorten(values, separator, shortRevision)
}

// shorten joins the short forms of values.
func shorten(values []found, separator string, short func(string) string) string {
	var texts []string
	for _, f := range values {
		texts = append(texts, short(f.text()))
	}
	return strings.Join(texts, separator)
}
