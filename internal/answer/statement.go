// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"cmp"
	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/origin"
)

// stated is what a statement about the image says, and who vouches for it.
type stated struct {
	origin.Said
	fact   *dossier.Fact
	signer string // whom the trust policy trusts with it; empty: nobody
	grade  dossier.Grade
}

// readStatement takes what a statement says of the image, when it speaks of that which it
// is attached to. It is signed when somebody did whom the trust policy trusts with that:
// else it is a claim, whoever signed it.
func (s *survey) readStatement(f *dossier.Fact, body *parsed) {
	if body.said.Type == "" || !body.about.Speaks(f.Subject) {
		return
	}
	x := stated{Said: body.said, fact: f, grade: dossier.GradeClaimed}
	if f.Kind == dossier.FactSignature {
		x.signer = s.voucher(f, body)
	}
	if x.signer != "" {
		x.grade = dossier.GradeSigned
	}
	s.stated = append(s.stated, x)
	if x.Provenance == nil {
		return
	}
	for _, st := range x.Provenance.Statements() {
		s.claims = append(s.claims, claim{Statement: st, fact: f, grade: x.grade, by: x.signer})
	}
}

// voucher returns who signed a statement by the trust policy, or "". Where the image lies in
// several repositories that rules speak of, somebody of each must have: whoever may push to
// one of them does not speak for the others.
func (s *survey) voucher(f *dossier.Fact, body *parsed) string {
	if s.policy.Trust == nil {
		return ""
	}
	signer := ""
	for _, n := range s.Names {
		ref, err := dossier.ParseReference(n.Name + "@" + string(f.Subject))
		if err != nil || s.policy.Trust.For(ref) < 0 {
			continue
		}
		t, ok := s.policy.Trust.Vouches(ref, f.Subject, body.signed, body.about.PredicateType, s.pin(ref), s.AsOf)
		if !ok {
			return ""
		}
		signer = cmp.Or(signer, t.Signer)
	}
	return signer
}

// cite cites the statement.
func (x stated) cite() cite {
	text := x.Type
	if x.signer != "" {
		text += ", signed by " + x.signer
	}
	return cite{x.fact, string(origin.InProvenance), text, x.grade}
}

// provenanceValue is a value of the detail "provenance" of origin.
type provenanceValue struct {
	Type    string `json:"type"`
	Signer  string `json:"signer,omitempty"`
	On      string `json:"on,omitempty"` // the platform's manifest, when it is not of the whole image
	Builder string `json:"builder,omitempty"`

	BuildType  string `json:"buildType,omitempty"`
	Source     string `json:"source,omitempty"`
	Revision   string `json:"revision,omitempty"`
	Invocation string `json:"invocation,omitempty"`
	Started    string `json:"started,omitempty"`
	Finished   string `json:"finished,omitempty"`
}

// definitionValue is a value of the detail "definition" of rebuild.
type definitionValue struct {
	On           string            `json:"on,omitempty"`
	BuildType    string            `json:"buildType,omitempty"`
	EntryPoint   string            `json:"entryPoint,omitempty"`
	Parameters   []string          `json:"parameters,omitempty"`
	Materials    []origin.Material `json:"materials,omitempty"`
	Complete     bool              `json:"complete"`
	Reproducible bool              `json:"reproducible"`
}

// summaryValue is a value of the detail "verification" of origin, scanValue one of
// "scans" of vulnerabilities.
type summaryValue struct {
	Signer string `json:"signer,omitempty"`
	On     string `json:"on,omitempty"`
	*origin.Summary
}

type scanValue struct {
	Signer string `json:"signer,omitempty"`
	On     string `json:"on,omitempty"`
	*origin.Scan
}

// on names what a statement is about, unless it is the image as a whole.
func (s *survey) on(x stated) string {
	if x.fact.Subject == s.Subject {
		return ""
	}
	return string(x.fact.Subject)
}

// setStatements puts what statements say into the details of an answer; a detail is there
// only when something is said.
func (s *survey) setStatements(d *draft, value func(stated) (key string, value any)) {
	for _, x := range s.stated {
		if key, v := value(x); key != "" {
			d.details[key] = append(d.details[key], found{value: v, grade: x.grade, cites: []cite{x.cite()}})
		}
	}
}

func (s *survey) originStatement(x stated) (string, any) {
	switch {
	case x.Provenance != nil:
		p := x.Provenance
		return "provenance", provenanceValue{
			Type: x.Type, Signer: x.signer, On: s.on(x), Builder: p.Builder, BuildType: p.BuildType, Source: p.Source, Revision: p.Revision,
			Invocation: p.Invocation, Started: p.Started, Finished: p.Finished,
		}
	case x.Summary != nil:
		return "verification", summaryValue{x.signer, s.on(x), x.Summary}
	}
	return "", nil
}

func (s *survey) rebuildStatement(x stated) (string, any) {
	if p := x.Provenance; p != nil {
		return "definition", definitionValue{s.on(x), p.BuildType, p.EntryPoint, p.Parameters, p.Materials, p.Complete, p.Reproducible}
	}
	return "", nil
}

func (s *survey) scanStatement(x stated) (string, any) {
	if x.Scan != nil {
		return "scans", scanValue{x.signer, s.on(x), x.Scan}
	}
	return "", nil
}
