// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"dossier.dev/dossier"
)

// move says whether a tag left an image.
type move int

const (
	movedNo      move = iota
	movedYes          // at least one platform that runs is another image there
	movedPerhaps      // the digest differs, and the platforms cannot be compared
)

// tagState is a requested tag, compared with the subject.
type tagState struct {
	RequestedTag
	ref      dossier.Reference
	interval *dossier.TagInterval // nil: where it points was never seen
	cite     cite                 // that it points there
	moved    move
	gone     bool
	signed   *meaning // nil: nothing signed is known of it
}

// tagStates compares each requested tag with the subject.
func (s *survey) tagStates() []tagState {
	var out []tagState
	meanings := s.meanings()
	for _, r := range s.Requested {
		ref, err := dossier.ParseReference(r.Reference)
		if err != nil || ref.Tag == "" {
			continue
		}
		t := tagState{RequestedTag: r, ref: ref, interval: r.Interval}
		switch {
		case r.Interval == nil:
			t.gone = t.left(s) != nil
		case s.Subject == "":
			t.interval = nil // nothing to compare with
		default:
			t.cite = cite{
				fact:  s.tagFact(r.Interval.Digest, ref.Name(), ref.Tag, true),
				use:   "image.tag",
				text:  fmt.Sprintf("%s points at %s", r.Reference, r.Interval.Digest.Short()),
				grade: dossier.GradeObserved,
			}
			t.moved = s.compare(r.Target)
		}
		t.signed = s.holdAgainst(t, meanings[ref.Name()+":"+ref.Tag])
		out = append(out, t)
	}
	slices.SortStableFunc(out, func(a, b tagState) int { return cmp.Compare(a.Reference, b.Reference) })
	return out
}

// compare says whether target is another image than the subject for a platform
// that runs. An index may change while the manifest of a platform stays.
func (s *survey) compare(target Content) move {
	if target.Digest == s.Subject {
		return movedNo
	}
	if s.Image != nil && s.Image.Kind == dossier.ImageConfig {
		return movedPerhaps // its manifest is not known
	}
	mine := s.running()
	if len(mine) == 0 {
		// The subject itself may be one of the target's platforms.
		mine = []dossier.PlatformImage{{Manifest: s.Subject}}
	}
	theirs := target.manifests(nil)
	for _, m := range mine {
		if m.Manifest == "" || !slices.Contains(theirs, m.Manifest) {
			if target.Kind == "" || s.unread() {
				return movedPerhaps
			}
			return movedYes
		}
	}
	return movedNo
}

// manifests returns the manifests of c that run on one of the platforms: those
// of an index that match, all when platforms is empty, or c itself.
func (c Content) manifests(platforms []string) []dossier.Digest {
	if len(c.Children) == 0 {
		return []dossier.Digest{c.Digest}
	}
	var out []dossier.Digest
	for _, e := range c.Children {
		if e.Role == dossier.RolePlatform && dossier.PlatformMatches(e.Platform, platforms) {
			out = append(out, e.Child)
		}
	}
	return out
}

// differing returns one digest of each group of contents that are the same
// image where they run, or may be, sorted.
func differing(list []Content) []dossier.Digest {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b Content) int { return cmp.Compare(a.Digest, b.Digest) })
	var groups []Content
	for _, c := range list {
		if c.Digest != "" && !slices.ContainsFunc(groups, c.sameImage) {
			groups = append(groups, c)
		}
	}
	var out []dossier.Digest
	for _, g := range groups {
		out = append(out, g.Digest)
	}
	return out
}

// sameImage reports whether c and d share a manifest, or cannot be compared:
// one of them was never read or is a configuration, or no platform runs both.
func (c Content) sameImage(d Content) bool {
	if c.Digest == d.Digest || !c.comparable() || !d.comparable() {
		return true
	}
	platforms := c.Platforms
	if len(c.Platforms) > 0 && len(d.Platforms) > 0 {
		platforms = nil
		for _, p := range c.Platforms {
			if slices.Contains(d.Platforms, p) {
				platforms = append(platforms, p)
			}
		}
		if len(platforms) == 0 {
			return true
		}
	}
	other := d.manifests(platforms)
	return slices.ContainsFunc(c.manifests(platforms), func(m dossier.Digest) bool { return slices.Contains(other, m) })
}

func (c Content) comparable() bool { return c.Kind != "" && c.Kind != dossier.ImageConfig }

// name is the tag as asked for.
func (t tagState) name() found { return seen(t.Reference) }

// checked is when the tag was last looked at.
func (t tagState) checked() found {
	return seen(t.interval.CheckedAt.UTC().Format(time.RFC3339), t.cite)
}

// here is that the tag points at the subject.
func (t tagState) here() found { return seen("tag "+t.ref.Tag, t.cite) }

// elsewhere is where a moved tag points, and that it once pointed at the
// subject when that was seen.
func (t tagState) elsewhere(s *survey) found {
	left := cite{t.left(s), "image.tag", t.Reference + " no longer points here", dossier.GradeObserved}
	return seen(string(t.interval.Digest), t.cite, left)
}

// left returns the fact that the tag ceased to point at the subject, or nil
// when it was never seen doing so.
func (t tagState) left(s *survey) *dossier.Fact {
	return s.tagFact(s.Subject, t.ref.Name(), t.ref.Tag, false)
}
