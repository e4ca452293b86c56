// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"fmt"
	"time"

	"dossier.dev/dossier"
)

// How what is signed of a tag stands to an image.
const (
	meaningConfirmed = "confirmed" // the tag is signed to mean it, and that still holds
	meaningDiffers   = "differs"   // it is signed to mean another image, and that still holds
	meaningExpired   = "expired"   // what is known was not signed lately enough
)

// meaning is what a tag was verified to mean by signed metadata (docs/spec/tuf.md). That it was
// verified is what Dossier saw: the signatures themselves are not evidence, and so the grade is
// observed.
type meaning struct {
	tagMeaning
	fact *dossier.Fact
}

// tagMeaning is what answers say of it.
type tagMeaning struct {
	AsOf     time.Time      `json:"asOf"` // when it was signed that this is the newest
	Keys     []string       `json:"keys,omitempty"`
	Means    dossier.Digest `json:"means"`
	Metadata string         `json:"metadata"` // registry and prefix
	Role     string         `json:"role"`
	SignedBy string         `json:"signedBy"` // "owner" or "online"
	State    string         `json:"state"`
	Tag      string         `json:"tag"` // registry, repository and tag
	Until    time.Time      `json:"until,omitzero"`
}

// meanings returns the newest that is signed of each tag, by name:tag. What was verified of another
// digest counts as well: a tag has one meaning at a time.
func (s *survey) meanings() map[string]*meaning {
	out := map[string]*meaning{}
	for i := range s.Facts {
		f := &s.Facts[i]
		if f.Kind != dossier.FactSignedTag {
			continue
		}
		body := s.parser.parse(f)
		if body.err != nil {
			continue
		}
		b := body.meaning
		m := &meaning{fact: f, tagMeaning: tagMeaning{
			Tag: b.Name + ":" + b.Tag, Means: b.Means, SignedBy: b.SignedBy, Role: b.Role, Keys: b.Keys, Metadata: b.Metadata,
			AsOf: f.ValidAt.UTC(), Until: b.Until.UTC(),
		}}
		if m.Means == "" {
			m.Means = f.Subject
		}
		if old := out[m.Tag]; old == nil || newer(f, old.fact) {
			out[m.Tag] = m
		}
	}
	return out
}

// newer reports whether what a says was signed, or else recorded, after what b says.
func newer(a, b *dossier.Fact) bool {
	if !a.ValidAt.Equal(b.ValidAt) {
		return a.ValidAt.After(b.ValidAt)
	}
	if !a.RecordedAt.Equal(b.RecordedAt) {
		return a.RecordedAt.After(b.RecordedAt)
	}
	return a.ID > b.ID
}

// holdAgainst says how what is signed of a tag stands to the subject. nil: nothing is.
func (s *survey) holdAgainst(t tagState, m *meaning) *meaning {
	if m == nil || s.Subject == "" {
		return nil
	}
	here := m.Means == s.Subject || t.interval != nil && t.interval.Digest == m.Means && t.moved == movedNo
	switch {
	case m.Until.IsZero() || s.AsOf.After(m.Until):
		m.State = meaningExpired
	case here:
		m.State = meaningConfirmed
	default:
		m.State = meaningDiffers
	}
	return m
}

// found is the value of the detail.
func (m *meaning) found() found {
	text := fmt.Sprintf("%s means %s, signed by %s (role %s) as of %s", m.Tag, m.Means.Short(), m.SignedBy, m.Role, m.AsOf.Format(time.RFC3339))
	return seen(m.tagMeaning, cite{m.fact, "tag.signed", text, dossier.GradeObserved})
}

// allMeanings is one value of several: they are about different tags, and so do not disagree.
func allMeanings(list []*meaning) found {
	var values []tagMeaning
	all := seen(nil)
	for _, m := range list {
		values = append(values, m.tagMeaning)
		all.cites = append(all.cites, m.found().cites...)
	}
	all.value = values
	return all
}

// confirms returns the detail when the tag is signed to mean the subject, and that holds.
func (m *meaning) confirms() []found {
	if m == nil || m.State != meaningConfirmed {
		return nil
	}
	return []found{m.found()}
}

// contradicts reports whether the registry names the subject where another image is signed. A tag that
// has moved to what is signed contradicts nothing: it has moved.
func (m *meaning) contradicts(t tagState) bool {
	return m != nil && m.State == meaningDiffers && t.interval != nil && t.moved == movedNo
}

func (s *survey) signedOtherwise(t tagState) reason {
	return reason{
		rank:    rankSigned,
		summary: fmt.Sprintf("tag %s is signed to be another image", t.ref.Tag),
		next:    "Run " + t.signed.Means.Short() + ", which is what is signed, until it is known who made the registry name another; or let the owner sign this one.",
		rests:   []found{t.signed.found(), t.here()},
	}
}
