// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/origin"
)

// judgeWhat follows docs/spec/answers.md, "what".
func judgeWhat(s *survey) dossier.Answer {
	d := s.draft("name", "version", "title", "description", "licenses", "os", "created", "distribution", "packages", "main", "missed")
	names := d.set("name", s.names()...)
	titles := d.set("title", s.titles()...)
	versions := d.set("version", s.versions(titles)...)
	d.set("description", agree(s.of(origin.Description), sameText)...)
	licenses := d.set("licenses", agree(s.of(origin.Licenses), sameText)...)
	d.set("os", s.systems()...)
	created := d.set("created", s.created()...)
	d.set("distribution", s.distributions()...)
	d.set("packages", s.packageCounts()...)
	d.set("main", s.mains()...)
	d.set("missed", s.missed()...)

	if s.unread() {
		return d.unknown(s.whyUnread())
	}
	title, titled := first(titles)
	version, versioned := first(versions)
	if !titled && len(names) > 0 {
		title = names[0]
		title.value = path.Base(names[0].text())
	}
	switch known := title.value != nil; {
	case len(valid(titles)) > 1:
		return d.answer(dossier.StatusWarn, "named "+join(valid(titles), " or "),
			"Make title label and annotation agree.", valid(titles)...)
	case len(valid(versions)) > 1:
		rests := valid(versions)
		if known {
			rests = append(rests, title)
		}
		return d.answer(dossier.StatusWarn, strings.TrimSpace(title.text()+" "+join(valid(versions), " or ")),
			"The statements of the version disagree; make labels, annotations and build agree.", rests...)
	case known && versioned:
		summary := title.text() + " " + version.text()
		for _, f := range slices.Concat(titles, versions, licenses, created) {
			if f.invalid != "" {
				return d.answer(dossier.StatusWarn, summary, invalidNext(f), title, version, f)
			}
		}
		return d.answer(dossier.StatusOK, summary, s.whatElse(""), title, version)
	}
	return s.whatWithoutVersion(d, title, titled)
}

// whatElse adds to what there is to do that not all of the image is known.
func (s *survey) whatElse(next string) string {
	n := 0
	for _, h := range s.held {
		n += h.MissedCount
	}
	if n > 0 {
		next = strings.TrimSpace(next + " Not all of it could be read; missed says what.")
	}
	return next
}

// whatWithoutVersion judges an image that states no version.
func (s *survey) whatWithoutVersion(d *draft, title found, titled bool) dossier.Answer {
	const label = "Set the label org.opencontainers.image.version when building."
	if len(s.programs) > 0 {
		p := s.programs[0]
		goVersion := seen(p.GoVersion, cite{p.fact, "go.build", "built with " + p.GoVersion, dossier.GradeObserved})
		return d.answer(dossier.StatusOK, programName(p.GoBuild)+", "+p.GoVersion, label, p.name(), goVersion)
	}
	if h, ok := s.versionHint(title.text()); ok {
		f := h.found()
		d.set("version", append(d.details["version"], f)...)
		return d.answer(dossier.StatusWarn, title.text()+" "+h.Value+", by its environment", label, title, f)
	}
	if titled {
		return d.answer(dossier.StatusWarn, title.text()+", version not stated", s.whatElse(label), title)
	}
	name, named := s.bestName()
	const labels = "Set the labels org.opencontainers.image.title and org.opencontainers.image.version when building."
	if c, ok := s.summaryOfContents(); ok {
		if named {
			c.value = name.text() + ", " + c.text()
			return d.answer(dossier.StatusWarn, c.text(), s.whatElse(labels), name, c)
		}
		return d.answer(dossier.StatusWarn, c.text(), s.whatElse(labels), c)
	}
	if base, ok := s.inheritedName(); ok && named {
		return d.answer(dossier.StatusWarn, name.text()+" on "+base.text(), labels, name, base)
	}
	if named {
		return d.answer(dossier.StatusWarn, name.text(), labels, name)
	}
	return d.unknown("no name, no labels", labels)
}

// invalidNext says what to do about a value that breaks its specification.
func invalidNext(f found) string {
	key := ""
	if len(f.cites) > 0 {
		key, _, _ = strings.Cut(f.cites[0].text, "=")
	}
	return fmt.Sprintf("Correct %s: %s.", cmp.Or(key, "the value"), f.invalid)
}

// join puts the texts of values side by side.
func join(values []found, separator string) string {
	var texts []string
	for _, f := range values {
		texts = append(texts, f.text())
	}
	return strings.Join(texts, separator)
}

// whyUnread returns summary and next for an image that was never read.
func (s *survey) whyUnread() (summary, next string) {
	if len(s.Problems) == 0 || s.Problems[0].Message == "" {
		return "not read yet", "Run the command again without --offline, or wait for the server to read the image."
	}
	p := s.Problems[0]
	next = cmp.Or(p.Hint, "Make the image readable; it is tried again later.")
	if short := p.short(); short != "" {
		return "not read: " + short, p.Message + ". " + next
	}
	return "not read: " + p.Message, next
}

// short says in a few words what kind of problem it is, or nothing.
func (p Problem) short() string {
	switch p.Kind {
	case dossier.KindNotFound:
		return "no such image"
	case dossier.KindDenied:
		return "access denied"
	case dossier.KindUnavailable:
		return "registry unavailable"
	case dossier.KindCorrupt:
		return "corrupt"
	case dossier.KindLimit:
		return "beyond a limit"
	case dossier.KindUnsupported:
		return "unsupported form"
	}
	return ""
}

// names returns the repository in which the subject was found first, or else
// that of a place which asks for it.
func (s *survey) names() []found {
	if len(s.Names) > 0 {
		n := s.Names[0].Name
		return []found{seen(n, cite{s.nameFact(n), "image.name", n, dossier.GradeObserved})}
	}
	for _, p := range s.Places {
		if ref, err := dossier.ParseReference(p.Requested); err == nil {
			return []found{seen(ref.Name())}
		}
	}
	return nil
}

// titles returns what the image is called by its labels, or else by the Go
// program that it starts, or by the package for which it is there, or by the
// distribution that it is named for.
func (s *survey) titles() []found {
	titles := agree(s.of(origin.Title), strings.EqualFold)
	main, _, mainKnown := s.mainPackage()
	if len(valid(titles)) > 0 {
		if mainKnown && slices.ContainsFunc(valid(titles), func(t found) bool { return strings.EqualFold(t.text(), main.text()) }) {
			titles = merge(titles, main, strings.EqualFold)
		}
		return titles
	}
	for _, p := range s.programs {
		titles = merge(titles, p.name(), sameText)
	}
	if mainKnown && len(valid(titles)) == 0 {
		titles = merge(titles, main, sameText)
	}
	for _, n := range s.names() {
		if system, _, ok := s.system(path.Base(n.text())); ok && len(valid(titles)) == 0 {
			titles = merge(titles, system, sameText)
		}
	}
	return titles
}

// name is what the Go program is called: a property of its bytes.
func (p program) name() found {
	return seen(programName(p.GoBuild), cite{p.fact, "go.build", "main=" + p.Main, dossier.GradeObserved})
}

var majorSuffix = regexp.MustCompile(`/v[0-9]+$`)

// programName is the last element of the main package that is not a major
// version, as the go command names a program.
func programName(g dossier.GoBuild) string {
	main := majorSuffix.ReplaceAllString(g.Main, "")
	if main == "" || main == "command-line-arguments" || main == "main" {
		main = g.Path
	}
	return path.Base(main)
}

// versions returns what the labels and the Go program say of the version, and
// which version of the package it is that the image is named for.
func (s *survey) versions(titles []found) []found {
	out := agree(s.of(origin.Version), sameVersion)
	for _, p := range s.programs {
		if !isRelease(p.Version) {
			continue
		}
		out = merge(out, found{
			value: p.Version,
			grade: dossier.GradeClaimed,
			cites: []cite{{p.fact, "go.build", "version=" + p.Version, dossier.GradeClaimed}},
		}, sameVersion)
	}
	named := func(name string) bool {
		return slices.ContainsFunc(valid(titles), func(t found) bool { return strings.EqualFold(t.text(), name) })
	}
	if main, versions, ok := s.mainPackage(); ok && len(s.programs) == 0 && named(main.text()) {
		for _, v := range versions {
			out = merge(out, v, samePackaged)
		}
	}
	for _, t := range valid(titles) {
		if _, version, ok := s.system(t.text()); ok {
			out = merge(out, version, samePackaged)
		}
	}
	return out
}

// sameVersion takes "v1.2" and "1.2" for the same.
func sameVersion(a, b string) bool {
	return strings.TrimPrefix(a, "v") == strings.TrimPrefix(b, "v")
}

var pseudoVersion = regexp.MustCompile(`[-.][0-9]{14}-[0-9a-f]{12}(\+[a-z]+)?$`)

// isRelease reports whether the version of a Go module is one that somebody
// gave it, rather than one made up from its revision.
func isRelease(v string) bool {
	return v != "" && v != "(devel)" && !pseudoVersion.MatchString(v)
}

// systems returns the operating systems of the platforms, as one value.
func (s *survey) systems() []found {
	var systems []string
	var cites []cite
	for _, c := range s.configs {
		if c.Platform.OS == "" {
			continue
		}
		systems = append(systems, c.Platform.OS)
		cites = append(cites, cite{c.fact, "config", "os=" + c.Platform.OS, dossier.GradeObserved})
	}
	if len(systems) == 0 {
		return nil
	}
	slices.Sort(systems)
	return []found{seen(strings.Join(slices.Compact(systems), ", "), cites...)}
}

// created returns when the image was made. Of the configurations, which differ
// from platform to platform, the oldest counts; a statement within a day of it
// says the same. Times that only make a build reproducible are left out.
func (s *survey) created() []found {
	claims := slices.DeleteFunc(s.of(origin.Created), func(c claim) bool {
		age, ok := origin.ParseCreated(c.Value)
		return ok && age.Reproducible
	})
	slices.SortStableFunc(claims, func(a, b claim) int {
		if a.Where != origin.InConfig || b.Where != origin.InConfig {
			return cmp.Compare(inConfig(b), inConfig(a))
		}
		return createdAt(a).Compare(createdAt(b))
	})
	var out []found
	for i, c := range claims {
		if i > 0 && c.Where == origin.InConfig {
			out[0] = addSupport(out[0], c.found())
			continue
		}
		f := c.found()
		if age, ok := origin.ParseCreated(c.Value); ok {
			f.value = age.At.Format(time.RFC3339)
		}
		out = merge(out, f, sameDay)
	}
	return out
}

func inConfig(c claim) int {
	if c.Where == origin.InConfig {
		return 1
	}
	return 0
}

func createdAt(c claim) time.Time {
	age, _ := origin.ParseCreated(c.Value)
	return age.At
}

// addSupport adds the facts of g to f, whose value stays.
func addSupport(f, g found) found {
	f.cites = append(slices.Clip(f.cites), g.cites...)
	return f
}

// sameDay takes times that are at most a day apart for the same.
func sameDay(a, b string) bool {
	x, okX := origin.ParseCreated(a)
	y, okY := origin.ParseCreated(b)
	if !okX || !okY {
		return a == b
	}
	return x.At.Sub(y.At).Abs() <= 24*time.Hour
}

// versionHint returns the environment variable that tells the version of what
// the image is named for: NGINX_VERSION for nginx, or a bare VERSION.
func (s *survey) versionHint(name string) (hint, bool) {
	plain := strings.NewReplacer("-", "", "_", "", ".", "")
	want := plain.Replace(strings.ToLower(name))
	for _, exact := range []bool{true, false} {
		for _, h := range s.hints {
			if h.Kind != origin.HintVersion {
				continue
			}
			about := plain.Replace(h.Name)
			if exact && want != "" && about == want || !exact && (about == "" || about == "app" || about == "image") {
				return h, true
			}
		}
	}
	return hint{}, false
}

func (h hint) found() found {
	return found{
		value: h.Value,
		grade: dossier.GradeClaimed,
		cites: []cite{{h.fact, string(origin.InEnv), h.Key + "=" + h.Value, dossier.GradeClaimed}},
	}
}

// bestName returns the image as a person would name it: a tag that points at
// it, or the name that places ask for, or a repository that has it.
func (s *survey) bestName() (found, bool) {
	if t, ok := s.bestTag(); ok {
		return t, true
	}
	for _, p := range s.Places {
		if ref, err := dossier.ParseReference(p.Requested); err == nil {
			return seen(ref.Familiar()), true
		}
	}
	if names := s.names(); len(names) > 0 {
		ref, err := dossier.ParseReference(names[0].text())
		if err == nil {
			names[0].value = ref.Familiar()
		}
		return names[0], true
	}
	return found{}, false
}

// bestTag returns the tag that points at the subject and that places ask for,
// or else the one that has done so for the longest time.
func (s *survey) bestTag() (found, bool) {
	tags := slices.Clone(s.Tags)
	slices.SortStableFunc(tags, func(a, b dossier.TagInterval) int {
		return cmp.Or(cmp.Compare(s.requests(b), s.requests(a)), a.From.Compare(b.From), cmp.Compare(a.Name+":"+a.Tag, b.Name+":"+b.Tag))
	})
	if len(tags) == 0 {
		return found{}, false
	}
	t := tags[0]
	text := t.Name + ":" + t.Tag
	if ref, err := dossier.ParseReference(text); err == nil {
		text = ref.Familiar()
	}
	return seen(text, s.tagCite(t)), true
}

func (s *survey) tagCite(t dossier.TagInterval) cite {
	return cite{s.tagFact(t.Digest, t.Name, t.Tag, true), "image.tag", t.Name + ":" + t.Tag + " points here", dossier.GradeObserved}
}

// requests returns 1 when a place asks for that tag.
func (s *survey) requests(t dossier.TagInterval) int {
	if slices.ContainsFunc(s.Requested, func(r RequestedTag) bool { return r.Reference == t.Name+":"+t.Tag }) {
		return 1
	}
	return 0
}

// inheritedName returns what the base calls itself, when its labels passed on.
func (s *survey) inheritedName() (found, bool) {
	var title, version found
	for _, c := range s.inherited {
		switch {
		case c.Invalid != "":
		case c.Meaning == origin.Title && title.value == nil:
			title = c.found()
		case c.Meaning == origin.Version && version.value == nil:
			version = c.found()
		}
	}
	if title.value == nil {
		return found{}, false
	}
	if version.value != nil {
		title = addSupport(title, version)
		title.value = title.text() + " " + version.text()
	}
	return title, true
}
