// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"slices"
	"strings"

	"github.com/google/osv-scalibr/semantic"

	"dossier.dev/dossier"
)

// subject is a package that is being judged.
type subject struct {
	dossier.Package
	family  *family
	keys    []Key
	foreign bool
}

func newSubject(p dossier.Package) *subject {
	return &subject{
		Package: p,
		family:  familyOf(NormalEcosystem(p.Ecosystem)),
		keys:    ownKeys(p),
		foreign: foreign(p) != "",
	}
}

// judge returns what an advisory means for a package: nil when it does not name
// it.
func (s *subject) judge(a *dossier.Advisory) *Verdict {
	var plain, pro []*Verdict
	for i := range a.Affected {
		e := &a.Affected[i]
		key := KeyOf(*e)
		if !slices.Contains(s.keys, key) {
			continue
		}
		v := s.judgeEntry(a, e, s.compared(e, key))
		if strings.HasPrefix(key.Ecosystem, "Ubuntu:Pro:") {
			v.pro = true
			pro = append(pro, v)
		} else {
			plain = append(plain, v)
		}
	}
	if len(pro) > 0 {
		return s.withPro(s.decide(plain), s.decide(pro))
	}
	return s.decide(plain)
}

// compared returns the version of the package that an entry is about: of what is
// installed, or of its source.
func (s *subject) compared(e *dossier.Affected, key Key) string {
	binary := s.family.names == byBinary ||
		s.family.names == byBoth && !e.Source && normalName(key.Ecosystem, s.Name) == key.Name
	if !binary && s.SourceVersion != "" {
		return s.SourceVersion
	}
	return s.Version
}

// decide returns which verdict counts of those on the entries of one advisory.
// One that says that the version is vulnerable goes before others. But an update
// of rpm packages that lists several builds is fixed by each of them, so there
// one that says that it is fixed goes first.
func (s *subject) decide(list []*Verdict) *Verdict {
	if len(list) == 0 {
		return nil
	}
	if s.family.order == "Red Hat" && bulletin.MatchString(list[0].Advisory) {
		if i := slices.IndexFunc(list, func(v *Verdict) bool { return v.Reason == Fixed }); i >= 0 {
			return list[i]
		}
	}
	return slices.MinFunc(list, func(a, b *Verdict) int { return a.Reason.decisive() - b.Reason.decisive() })
}

// judgeEntry judges by one entry of an advisory that names the package.
func (s *subject) judgeEntry(a *dossier.Advisory, e *dossier.Affected, version string) *Verdict {
	v := &Verdict{
		Advisory: a.ID, advisory: a, entry: e, note: e.Note,
		Proof: dossier.Proof{Advisory: a.ID, SHA256: a.SHA256, Feed: a.Feed, Ecosystem: e.Ecosystem, Name: e.Name, Version: version},
	}
	switch {
	case !a.Withdrawn.IsZero():
		v.Reason = Withdrawn
	case isHarmless(*a):
		v.Reason = Harmless
	case s.foreign:
		v.Reason = Foreign
	case e.Source && s.family.names == byBinary:
		v.Reason = Unaffected
	default:
		v.Reason = s.judgeVersion(e, version, v)
	}
	return v
}

// judgeVersion judges by version, and then by what the program holds.
func (s *subject) judgeVersion(e *dossier.Affected, version string, v *Verdict) Reason {
	at, err := s.family.version(version)
	if version == "" || err != nil {
		if version != "" && slices.Contains(e.Versions, version) {
			v.Proof.Listed = true
			return Affected
		}
		return Incomparable
	}
	if note, other := s.otherStream(e, version); other {
		return Stream
	} else if note != "" {
		v.note = note
	}
	reason := s.inRanges(e.Ranges, at, &v.Proof)
	if reason != Affected && s.listed(e, version, at, reason) {
		v.Proof.Listed = true
		reason = Affected
	}
	if reason != Affected {
		return reason
	}
	if len(e.Custom) > 0 && isTagged(version) {
		custom := v.Proof
		switch found := s.inRanges(e.Custom, at, &custom); found {
		case Affected:
			v.Proof = custom
		case Fixed, Unaffected, Never:
			v.Proof = custom
			return found
		}
	}
	var absent Reason
	if v.presence, v.held, absent = linked(s.Program, *e); absent != "" {
		return absent
	}
	return Affected
}

// inRanges says where a version lies in ranges of which one suffices, and writes
// the one that decides into the proof.
func (s *subject) inRanges(ranges []dossier.Range, at semantic.Version, proof *dossier.Proof) Reason {
	reason := Unaffected
	if len(ranges) == 0 {
		reason = Incomparable
	}
	for _, r := range ranges {
		span, ok := s.family.locate(at, r)
		switch {
		case !ok:
			if reason == Unaffected {
				reason = Incomparable
			}
		case span.vulnerable:
			proof.Introduced, proof.Fixed, proof.LastAffected = span.introduced, span.end.Fixed, span.end.LastAffected
			return Affected
		case span.never:
			reason, proof.Fixed = Never, span.end.Fixed
		case text(span.end) != "":
			reason = Fixed
			proof.Fixed, proof.LastAffected = span.end.Fixed, span.end.LastAffected
		}
	}
	return reason
}

// listed reports whether a version is one of those that an entry lists. Where a
// range could be compared, only the very same writing counts.
func (s *subject) listed(e *dossier.Affected, version string, at semantic.Version, ranged Reason) bool {
	if slices.Contains(e.Versions, version) {
		return true
	}
	if ranged != Incomparable {
		return false
	}
	return slices.ContainsFunc(e.Versions, func(l string) bool {
		w, err := s.family.version(l)
		if err != nil {
			return false
		}
		c, ok := compare(at, w)
		return ok && c == 0
	})
}
