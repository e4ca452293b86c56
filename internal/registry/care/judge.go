// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package care

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// The judgements in this file read no clock and no database: collections, dry
// runs and explanations all go by them.

// verdict is what is decided of one thing.
type verdict struct {
	reasons []dossier.KeepReason // to keep it
	rule    string               // by which it goes without them; empty: none
}

// keep adds a reason.
func (v *verdict) keep(kind dossier.ReasonKind, d dossier.Digest, until time.Time, format string, args ...any) {
	v.reasons = append(v.reasons, dossier.KeepReason{Kind: kind, Text: fmt.Sprintf(format, args...), Digest: d, Until: until})
}

// going says when a thing goes, or nil: when only time keeps it.
func (v verdict) going(now time.Time) *dossier.Going {
	if v.rule == "" {
		return nil
	}
	at := now
	for _, r := range v.reasons {
		if r.Until.IsZero() {
			return nil
		}
		if r.Until.After(at) {
			at = r.Until
		}
	}
	return &dossier.Going{At: at, Rule: v.rule}
}

// lease adds the lease of a thing, while it lasts.
func (v *verdict) lease(until, now time.Time) {
	if until.After(now) {
		v.keep(dossier.ReasonLease, "", until, "somebody was told that it is there: it stays until %s", until.Format(time.RFC3339))
	}
}

// cluster adds what clusters need a digest for, and if that is not known, that.
func (v *verdict) cluster(g *guard, d dossier.Digest, may bool) {
	if r, ok := g.reason(d); ok {
		v.reasons = append(v.reasons, r)
		return
	}
	if may {
		for _, why := range g.unknown {
			v.keep(dossier.ReasonWithheld, "", time.Time{}, "%s", why)
		}
	}
}

// looseRule is by what blobs go.
const looseRule = "no manifest needs it"

// judgeBlob decides of a blob in a repository. image says that it is known to be
// a part of some image, wherever that is.
func judgeBlob(d dossier.Digest, h store.Holding, image bool, g *guard, now time.Time) verdict {
	v := verdict{rule: looseRule}
	for _, parent := range h.Parents {
		v.keep(dossier.ReasonParent, parent, time.Time{}, "manifest %s needs it", parent.Short())
	}
	v.cluster(g, d, image)
	v.lease(h.KeptUntil, now)
	return v
}

// manifest is what is to be known of a manifest in a repository.
type manifest struct {
	store.UntaggedManifest
	tags    []string
	parents []dossier.Digest
}

// judgeManifest decides of a manifest in a repository. r is the rule of that
// repository, or nil.
func judgeManifest(m manifest, r *rule, g *guard, now time.Time) verdict {
	var v verdict
	if len(m.tags) > 0 {
		v.keep(dossier.ReasonTag, "", time.Time{}, "%s", tagWords(m.tags))
	}
	for _, parent := range m.parents {
		v.keep(dossier.ReasonParent, parent, time.Time{}, "index %s lists it", parent.Short())
	}
	if m.SubjectThere {
		v.keep(dossier.ReasonSubject, m.Subject, time.Time{}, "it refers to %s, which is there", m.Subject.Short())
	} else if need, ok := g.reason(m.Subject); ok && m.Subject != "" {
		need.Text, need.Digest = fmt.Sprintf("it refers to %s: %s", m.Subject.Short(), need.Text), m.Subject
		v.reasons = append(v.reasons, need)
	}
	v.cluster(g, m.Digest, r != nil)
	if r == nil {
		v.keep(dossier.ReasonNoRule, "", time.Time{}, "no rule lets manifests without tags go from here")
	} else {
		v.rule = fmt.Sprintf("%s: no tag for %s", r.name, *r.untagged)
		if until := m.UntaggedAt.Add(*r.untagged); len(m.tags) == 0 && until.After(now) {
			v.keep(dossier.ReasonRule, "", until, "%s: it has had no tag since %s, for less than %s", r.name, m.UntaggedAt.Format(time.RFC3339), *r.untagged)
		}
	}
	v.lease(m.KeptUntil, now)
	return v
}

// tagWords names some tags.
func tagWords(tags []string) string {
	const most = 5
	text := "tags: " + strings.Join(tags[:min(most, len(tags))], ", ")
	if len(tags) > most {
		text += fmt.Sprintf(" and %d more", len(tags)-most)
	}
	return text
}

// tagState is an open tag with what its rule asks for.
type tagState struct {
	dossier.TagInterval
	subjectThere bool      // it is named for a digest, which is there
	pulledAt     time.Time // of its image
	pulledKnown  bool
}

// judgeTags decides of all tags of a repository together: some rules keep so
// many. Tags without a rule are not in the result.
func judgeTags(tags []tagState, l rules, g *guard, now time.Time) map[string]verdict {
	newest := slices.Clone(tags)
	slices.SortFunc(newest, func(a, b tagState) int {
		return cmp.Or(b.CheckedAt.Compare(a.CheckedAt), cmp.Compare(b.Tag, a.Tag))
	})
	counts := map[*rule]int{}
	verdicts := map[string]verdict{}
	for _, t := range newest {
		r := l.forTag(t.Tag)
		if r == nil {
			continue
		}
		v := verdict{rule: r.name}
		if _, ok := subjectOfTag(t.Tag); ok {
			if t.subjectThere {
				v.keep(dossier.ReasonSubject, "", time.Time{}, "it is named for a digest that is there")
			}
		} else if counts[r]++; counts[r] <= r.tags.KeepLast {
			v.keep(dossier.ReasonRule, "", time.Time{}, "%s: it is one of the last %d", r.name, r.tags.KeepLast)
		}
		if until := t.CheckedAt.Add(r.tags.KeepYounger); until.After(now) {
			v.keep(dossier.ReasonRule, "", until, "%s: it was pushed at %s, within %s", r.name, t.CheckedAt.Format(time.RFC3339), r.tags.KeepYounger)
		}
		if r.tags.KeepPulled > 0 {
			v.pulled(t, r, now)
		}
		if use, ok := g.tags[store.NameTag{Name: t.Name, Tag: t.Tag}]; ok {
			v.keep(dossier.ReasonCluster, "", time.Time{}, "%s", g.uses[use])
		} else {
			v.cluster(g, "", true)
		}
		verdicts[t.Tag] = v
	}
	return verdicts
}

// pulled adds that the image of a tag was pulled lately, or that nobody knows.
func (v *verdict) pulled(t tagState, r *rule, now time.Time) {
	switch until := t.pulledAt.Add(r.tags.KeepPulled); {
	case !t.pulledKnown:
		v.keep(dossier.ReasonWithheld, "", time.Time{}, "%s: when its image was pulled is not known", r.name)
	case until.After(now):
		v.keep(dossier.ReasonRule, t.Digest, until, "%s: its image was pulled at %s, within %s", r.name, t.pulledAt.Format(time.RFC3339), r.tags.KeepPulled)
	}
}

// subjectOfTag returns the digest that a tag is named for, as clients name what
// refers to an image where a registry has no referrers ("sha256-HEX", with or
// without a suffix).
func subjectOfTag(tag string) (dossier.Digest, bool) {
	algorithm, rest, ok := strings.Cut(tag, "-")
	if !ok {
		return "", false
	}
	hex, _, _ := strings.Cut(rest, ".")
	d, err := dossier.ParseDigest(algorithm + ":" + hex)
	return d, err == nil
}
