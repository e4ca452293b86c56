// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"cmp"
	"slices"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/origin"
)

// survey is evidence with its facts parsed, ready to be judged.
type survey struct {
	Evidence
	policy Policy
	parser *Parser

	claims    []claim // what the image says of itself, the best first
	inherited []claim // what it says only because its base did
	hints     []hint
	configs   []config
	programs  []program
	held      []held
	signed    []signedBy
	rejudged  []found    // about signatures that another policy judged otherwise
	stated    []stated   // what statements about the image say
	exposed   []Exposure // of the platforms in use
	manifests map[dossier.Digest]*origin.Manifest
	base      *Base // with the most layers; nil when none is known

	baseHistory []origin.HistoryEntry // of the base's configuration; empty when that is not known
}

// claim is a statement and the fact in which it stands.
type claim struct {
	origin.Statement
	fact  *dossier.Fact
	grade dossier.Grade // at least; zero: claimed
	by    string        // who signed it
}

// hint is an environment variable and the configuration in which it stands.
type hint struct {
	origin.Hint
	fact *dossier.Fact
}

// config is the configuration of one platform.
type config struct {
	*origin.Config
	fact *dossier.Fact
}

// program is the Go program that one platform starts.
type program struct {
	dossier.GoBuild
	fact *dossier.Fact
}

// read parses the facts of e. A body that does not parse says nothing; that it
// could not be parsed was a problem when it was recorded.
func read(e Evidence, p Policy, with *Parser) *survey {
	s := &survey{Evidence: e, policy: p, parser: with, manifests: map[dossier.Digest]*origin.Manifest{}}
	s.Facts = slices.Clone(e.Facts)
	slices.SortStableFunc(s.Facts, compareFacts)
	manifests, configs := s.inUse()
	for i := range s.Facts {
		f := &s.Facts[i]
		counts := f.Kind == dossier.FactIndex || (f.Kind == dossier.FactSignature || f.Kind == dossier.FactStatement) && f.Subject == s.Subject || f.Kind == dossier.FactConfig && has(configs, f.Subject) ||
			f.Kind != dossier.FactConfig && has(manifests, f.Subject)
		if !counts {
			continue
		}
		body := with.parse(f)
		if body.err != nil {
			continue
		}
		switch f.Kind {
		case dossier.FactIndex:
			s.readIndex(f, body, manifests)
		case dossier.FactManifest:
			s.manifests[f.Subject] = &body.manifest
			s.claim(f, body.says)
		case dossier.FactConfig:
			s.readConfig(f, body)
		case dossier.FactGoBuild:
			s.programs = append(s.programs, program{body.program, f})
		case dossier.FactSignature:
			if f.Subject == s.Subject {
				s.signed = append(s.signed, signedBy{body.signed, f})
			}
			s.readStatement(f, body)
		case dossier.FactStatement:
			s.readStatement(f, body)
		case dossier.FactContents:
			s.held = append(s.held, s.heldBy(f, &body.contents))
		}
	}
	for _, x := range s.Exposures {
		if has(manifests, x.On) {
			s.exposed = append(s.exposed, x)
		}
	}
	s.findBase()
	s.setInheritedAside()
	slices.SortStableFunc(s.claims, func(a, b claim) int { return cmp.Compare(precedence(a.Statement), precedence(b.Statement)) })
	return s
}

func compareFacts(a, b dossier.Fact) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Source, b.Source), cmp.Compare(a.ID, b.ID))
}

// inUse returns the manifests and configurations that count: those of the
// platforms that run, or of all platforms when none is known to run, or
// whatever is there when no platform is known.
func (s *survey) inUse() (manifests, configs map[dossier.Digest]bool) {
	manifests, configs = map[dossier.Digest]bool{}, map[dossier.Digest]bool{}
	for _, p := range s.running() {
		manifests[p.Manifest], configs[p.Config] = true, true
		if s.Image != nil && s.Image.Kind == dossier.ImageConfig {
			configs[p.Manifest] = true // it stands for the image
		}
	}
	if len(manifests) > 0 {
		return manifests, configs
	}
	for _, f := range s.Facts {
		if f.Kind != dossier.FactConfig || !s.isBaseConfig(f.Subject) {
			manifests[f.Subject], configs[f.Subject] = true, true
		}
	}
	return manifests, configs
}

// running returns the platforms that pods run, or all when none is known to.
func (s *survey) running() []dossier.PlatformImage {
	var out []dossier.PlatformImage
	for _, p := range s.Platforms {
		if p.Pods > 0 {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		return s.Platforms
	}
	return out
}

func (s *survey) isBaseConfig(d dossier.Digest) bool {
	return slices.ContainsFunc(s.Bases, func(b Base) bool { return b.Config == d })
}

func has(set map[dossier.Digest]bool, d dossier.Digest) bool { return d != "" && set[d] }

func (s *survey) readIndex(f *dossier.Fact, body *parsed, manifests map[dossier.Digest]bool) {
	s.claim(f, body.says)
	for _, d := range body.index.Manifests {
		if has(manifests, d.Digest) {
			s.claim(f, origin.Labels(origin.InDescriptor, d.Annotations))
		}
	}
}

func (s *survey) readConfig(f *dossier.Fact, body *parsed) {
	s.configs = append(s.configs, config{&body.config, f})
	s.claim(f, body.says)
	for _, h := range body.hints {
		s.hints = append(s.hints, hint{h, f})
	}
}

// claim adds statements, except empty ones: they say nothing.
func (s *survey) claim(f *dossier.Fact, list []origin.Statement) {
	for _, st := range list {
		if st.Value != "" {
			s.claims = append(s.claims, claim{Statement: st, fact: f})
		}
	}
}

// findBase picks the base with the most layers, but fewer than the image: one
// with as many is the image under another configuration.
func (s *survey) findBase() {
	layers := 0
	for _, m := range s.manifests {
		layers = max(layers, len(m.Layers))
	}
	for _, c := range s.configs {
		layers = max(layers, len(c.DiffIDs))
	}
	for i := range s.Bases {
		b := &s.Bases[i]
		if b.Layers > 0 && b.Layers < layers && (s.base == nil || b.Layers > s.base.Layers) {
			s.base = b
		}
	}
}

// setInheritedAside removes from claims and hints what the base says in the
// same words: a label that was written for the base tells nothing of the image
// that was built on it.
func (s *survey) setInheritedAside() {
	if s.base == nil || s.base.Config == "" {
		return
	}
	for i := range s.Facts {
		f := &s.Facts[i]
		if f.Kind != dossier.FactConfig || f.Subject != s.base.Config {
			continue
		}
		base := s.parser.parse(f)
		if base.err != nil {
			continue
		}
		s.baseHistory = base.config.History
		s.claims = slices.DeleteFunc(s.claims, func(c claim) bool {
			if c.Where == origin.InConfig && c.Meaning == origin.Created || c.Meaning == origin.Builder || !slices.Contains(base.says, c.Statement) {
				return false
			}
			s.inherited = append(s.inherited, claim{Statement: c.Statement, fact: f})
			return true
		})
		s.hints = slices.DeleteFunc(s.hints, func(h hint) bool { return slices.Contains(base.hints, h.Hint) })
	}
}

// precedence orders claims of one meaning: predefined keys before others, and what
// the last builder wrote before labels, which pass from base to image.
func precedence(st origin.Statement) int {
	order := []origin.Where{origin.InProvenance, origin.InManifest, origin.InDescriptor, origin.InIndex, origin.InLabel, origin.InConfig, origin.InHistory}
	n := slices.Index(order, st.Where)
	if !origin.IsPredefined(st.Key) && st.Where != origin.InProvenance {
		n += len(order)
	}
	return n
}

// unread reports whether nothing of the image itself was ever read.
func (s *survey) unread() bool {
	return s.Image == nil && len(s.configs) == 0 && len(s.manifests) == 0
}

// of returns the claims with a meaning.
func (s *survey) of(m origin.Meaning) []claim {
	var out []claim
	for _, c := range s.claims {
		if c.Meaning == m {
			out = append(out, c)
		}
	}
	return out
}

// nameFact returns the fact that the subject was found under a name, or nil.
func (s *survey) nameFact(name string) *dossier.Fact {
	return s.fact(dossier.FactName, s.Subject, func(p *parsed) bool { return p.name.Name == name })
}

// tagFact returns the fact that a tag points at a digest, or that it no longer
// does; or nil.
func (s *survey) tagFact(d dossier.Digest, name, tag string, points bool) *dossier.Fact {
	want := dossier.TagBody{Name: name, Tag: tag, Points: points}
	return s.fact(dossier.FactTag, d, func(p *parsed) bool { return p.tag == want })
}

func (s *survey) fact(kind dossier.FactKind, subject dossier.Digest, match func(*parsed) bool) *dossier.Fact {
	for i := range s.Facts {
		f := &s.Facts[i]
		if f.Kind != kind || f.Subject != subject {
			continue
		}
		if body := s.parser.parse(f); body.err == nil && match(body) {
			return f
		}
	}
	return nil
}
