// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"encoding/json"
	"slices"
	"sync"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/origin"
	"dossier.dev/dossier/internal/trust"
)

// Parser parses the bodies of facts, each once as long as it is remembered. What
// a body says follows from its bytes alone, and a fact's ID from those, so what
// is remembered cannot grow old. The facts must come from a store: it computes
// the IDs. Of others a nil Parser parses each as often as it is asked to.
//
// Parsers may be used by several goroutines.
type Parser struct {
	limit int // bytes of bodies

	mu sync.Mutex
	// What was asked for lately is in recent. When that has half of what may be
	// remembered it becomes earlier, and what was earlier is forgotten.
	recent, earlier map[dossier.Digest]*parsed // by Fact.ID
	size            int                        // bytes of the bodies in recent
}

// NewParser returns a parser that remembers what bodies of up to limit bytes
// together say. In memory that takes about three times as many.
func NewParser(limit int) *Parser {
	return &Parser{limit: limit, recent: map[dossier.Digest]*parsed{}}
}

// parsed is what the body of one fact says; what is not of its kind is empty.
// Nobody may change it.
type parsed struct {
	err      error // it is not what its kind says
	index    origin.Index
	manifest origin.Manifest
	config   origin.Config
	program  dossier.GoBuild
	contents dossier.Contents
	signed   trust.Evidence
	said     origin.Said  // by a statement, signed or not
	about    trust.Stated // of what it speaks
	name     dossier.NameBody
	tag      dossier.TagBody
	meaning  dossier.SignedTagBody

	says  []origin.Statement // of an index, a manifest or a configuration
	hints []origin.Hint
	// chains are the chain IDs of the layers of a configuration: none when one is
	// not known.
	chains []dossier.Digest
}

// parse returns what f says.
func (p *Parser) parse(f *dossier.Fact) *parsed {
	if p == nil {
		return parseBody(f.Kind, f.Body)
	}
	if known := p.known(f); known != nil {
		return known
	}
	out := parseBody(f.Kind, f.Body)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keep(f, out)
	return out
}

// known returns what is remembered of f, or nil.
func (p *Parser) known(f *dossier.Fact) *parsed {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.recent[f.ID]; known != nil {
		return known
	}
	known := p.earlier[f.ID]
	if known != nil {
		p.keep(f, known)
	}
	return known
}

func (p *Parser) keep(f *dossier.Fact, out *parsed) {
	if p.size += len(f.Body); p.size > p.limit/2 {
		p.earlier, p.recent, p.size = p.recent, map[dossier.Digest]*parsed{}, len(f.Body)
	}
	p.recent[f.ID] = out
}

func parseBody(kind dossier.FactKind, body []byte) *parsed {
	p := &parsed{}
	switch kind {
	case dossier.FactIndex:
		p.index, p.err = origin.ParseIndex(body)
		p.says = origin.Labels(origin.InIndex, p.index.Annotations)
	case dossier.FactManifest:
		p.manifest, p.err = origin.ParseManifest(body)
		p.says = origin.Labels(origin.InManifest, p.manifest.Annotations)
	case dossier.FactConfig:
		p.readConfig(body)
	case dossier.FactGoBuild:
		p.program, p.err = origin.ParseGoBuild(body)
	case dossier.FactContents:
		p.err = json.Unmarshal(body, &p.contents)
	case dossier.FactSignature:
		if p.err = json.Unmarshal(body, &p.signed); p.err == nil {
			p.readSaid(p.signed.Statement())
		}
	case dossier.FactStatement:
		var a dossier.AttachedStatement
		if p.err = json.Unmarshal(body, &a); p.err == nil {
			p.readSaid(trust.ParseStatement(a.Bytes))
		}
	case dossier.FactName:
		p.err = json.Unmarshal(body, &p.name)
	case dossier.FactTag:
		p.err = json.Unmarshal(body, &p.tag)
	case dossier.FactSignedTag:
		p.err = json.Unmarshal(body, &p.meaning)
	}
	return p
}

// readSaid reads the predicate of a statement. One that is not understood says nothing.
func (p *parsed) readSaid(s trust.Stated, ok bool) {
	if !ok {
		return
	}
	said, err := origin.ParsePredicate(s.PredicateType, s.Predicate)
	s.Predicate = nil // it need not be kept twice
	if err == nil {
		p.said, p.about = said, s
	}
}

func (p *parsed) readConfig(body []byte) {
	if p.config, p.err = origin.ParseConfig(body); p.err != nil {
		return
	}
	c := p.config
	p.says = append(origin.Labels(origin.InLabel, c.Labels), origin.Fields(c)...)
	p.hints = origin.Hints(c.Env)
	if !slices.Contains(c.DiffIDs, "") {
		p.chains = dossier.ChainIDs(c.DiffIDs)
	}
}
