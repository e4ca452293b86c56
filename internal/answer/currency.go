// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/origin"
)

// judgeCurrency follows docs/spec/answers.md, "currency".
func judgeCurrency(s *survey) dossier.Answer {
	d := s.draft("tag", "checked", "moved", "digests", "mutable", "pullPolicy", "created")
	created := d.set("created", s.created()...)
	var reasons []reason
	var current, stale, signed []found
	var meanings []*meaning
	for _, t := range s.tagStates() {
		d.details["tag"] = append(d.details["tag"], t.name())
		if t.interval != nil {
			d.details["checked"] = append(d.details["checked"], t.checked())
		}
		if t.signed != nil {
			meanings = append(meanings, t.signed)
		}
		switch {
		case t.signed.contradicts(t):
			reasons = append(reasons, s.signedOtherwise(t))
		case t.gone:
			reasons = append(reasons, s.goneTag(d, t))
		case t.interval == nil:
		case t.moved == movedYes || t.moved == movedPerhaps:
			reasons = append(reasons, s.movedTag(d, t))
		case older(s.AsOf.Sub(t.interval.CheckedAt), s.policy.MaxCheckAge, DefaultMaxCheckAge):
			stale = append(stale, t.checked())
		default:
			current = append(current, t.here())
			signed = append(signed, t.signed.confirms()...)
		}
		if r, ok := s.severalDigests(d, t); ok {
			reasons = append(reasons, r)
		}
		if r, ok := s.mutableTag(d, t); ok {
			reasons = append(reasons, r)
		}
	}
	for _, key := range []string{"tag", "checked", "moved", "mutable", "pullPolicy"} {
		d.merge(key)
	}
	if len(meanings) > 0 {
		d.set("signedTag", allMeanings(meanings))
	}
	if s.unread() && len(reasons) == 0 && len(current) == 0 && len(stale) == 0 {
		return d.unknown(s.whyUnread())
	}
	if r, ok := s.oldImage(created); ok {
		reasons = append(reasons, r)
	}
	if len(reasons) > 0 {
		slices.SortStableFunc(reasons, func(a, b reason) int { return a.rank - b.rank })
		r := reasons[0]
		status := dossier.StatusWarn
		if r.rank == rankSigned {
			status = dossier.StatusFail
		}
		return d.answer(status, r.summary, r.next, r.rests...)
	}
	return s.withoutReason(d, current, stale, signed, created)
}

// withoutReason judges an image that nothing speaks against.
func (s *survey) withoutReason(d *draft, current, stale, signed, created []found) dossier.Answer {
	if len(stale) > 0 {
		return d.answer(dossier.StatusWarn, "tag last checked "+s.ago(stale[0].text()), s.checkNext(), stale...)
	}
	if len(current) > 0 {
		summary := current[0].text() + " still points here"
		if len(current) > 1 {
			summary = fmt.Sprintf("%d tags still point here", len(current))
		}
		rests := current
		if len(signed) == len(current) {
			summary += ", signed"
			rests = slices.Concat(rests, signed)
		}
		if f, _, ok := s.age(created); ok {
			rests = append(slices.Clip(rests), f)
		}
		return d.answer(dossier.StatusOK, summary, "", rests...)
	}
	if s.pinned() {
		return d.unknown("pinned by digest, no tag known", "Ask for it as name:tag@digest, so that the tag can be followed.")
	}
	return d.unknown("tag never checked", s.checkNext())
}

// reason is one thing that makes an image not current. The one with the lowest
// rank is the summary.
type reason struct {
	rank          int
	summary, next string
	rests         []found
}

// The ranks of reasons.
const (
	rankSigned = iota
	rankMoved
	rankGone
	rankSeveral
	rankMutable
	rankOld
)

func (s *survey) movedTag(d *draft, t tagState) reason {
	f := t.elsewhere(s)
	d.details["moved"] = append(d.details["moved"], f)
	r := reason{rank: rankMoved, rests: []found{f}}
	r.summary = fmt.Sprintf("tag %s is another image", t.ref.Tag)
	if t.left(s) != nil {
		r.summary = fmt.Sprintf("tag %s moved %s", t.ref.Tag, s.ago(t.interval.From.Format(time.RFC3339Nano)))
	}
	r.next = "Restart the workloads that run it, or pin the digest that is meant."
	if t.moved == movedPerhaps {
		r.summary = fmt.Sprintf("tag %s points elsewhere, not compared", t.ref.Tag)
		r.next = "Make both images readable, so that their platforms can be compared."
		return r
	}
	for _, p := range []string{"Never", "IfNotPresent"} {
		if slices.Contains(t.PullPolicies, p) {
			d.details["pullPolicy"] = append(d.details["pullPolicy"], seen(p))
			r.next = "Nodes that have the old image keep it, because imagePullPolicy is " + p + "; pin the digest that is meant."
			r.rests = append(r.rests, seen(p))
			break
		}
	}
	return r
}

func (s *survey) goneTag(d *draft, t tagState) reason {
	f := seen("gone", cite{t.left(s), "image.tag", t.Reference + " is gone", dossier.GradeObserved})
	d.details["moved"] = append(d.details["moved"], f)
	return reason{
		rank:    rankGone,
		summary: "tag " + t.ref.Tag + " is gone",
		next:    "Choose a tag that exists, or pin the digest; a node without the image cannot pull it.",
		rests:   []found{f},
	}
}

func (s *survey) severalDigests(d *draft, t tagState) (reason, bool) {
	groups := differing(t.Running)
	if len(groups) < 2 {
		return reason{}, false
	}
	f := seen(groups)
	d.details["digests"] = append(d.details["digests"], f)
	return reason{
		rank:    rankSeveral,
		summary: fmt.Sprintf("tag %s runs as %d different images", t.ref.Tag, len(groups)),
		next:    "Restart the workloads that run the older ones, or pin the digest that is meant.",
		rests:   []found{f},
	}, true
}

func (s *survey) mutableTag(d *draft, t tagState) (reason, bool) {
	if !isFloating(t.ref.Tag) || s.pinned() {
		return reason{}, false
	}
	f := seen(t.Reference)
	d.details["mutable"] = append(d.details["mutable"], f)
	return reason{
		rank:    rankMutable,
		summary: "asked for as " + t.ref.Tag,
		next:    "Ask for a version or a digest: what " + t.ref.Tag + " means changes without notice.",
		rests:   []found{f},
	}, true
}

func (s *survey) oldImage(created []found) (reason, bool) {
	f, age, ok := s.age(created)
	if !ok || !older(age, s.policy.MaxAge, DefaultMaxAge) {
		return reason{}, false
	}
	return reason{rank: rankOld, summary: "built " + s.ago(f.text()), next: "Look for a newer build of it.", rests: []found{f}}, true
}

// age returns the creation time and how long ago it was, when it can be
// believed and the policy asks for it: a time in the future tells nothing.
func (s *survey) age(created []found) (f found, age time.Duration, ok bool) {
	f, ok = first(created)
	if !ok || s.policy.MaxAge < 0 {
		return found{}, 0, false
	}
	at, ok := origin.ParseCreated(f.text())
	if !ok || at.At.After(s.AsOf) {
		return found{}, 0, false
	}
	return f, s.AsOf.Sub(at.At), true
}

// checkNext says what to do so that a tag can be checked.
func (s *survey) checkNext() string {
	for _, p := range s.Problems {
		if p.Hint != "" {
			return p.Hint
		}
	}
	return "Make the registry reachable, so that the tag can be checked."
}

// pinned reports whether every place that names the image names its digest.
func (s *survey) pinned() bool {
	pinned := false
	for _, p := range s.Places {
		ref, err := dossier.ParseReference(p.Requested)
		if err != nil || ref.Digest == "" {
			return false
		}
		pinned = true
	}
	return pinned
}

// isFloating reports whether a tag says by its name that it moves: it is a
// word for a line of development or deployment, or has no digit at all.
func isFloating(tag string) bool {
	return !strings.ContainsAny(tag, "0123456789")
}

// ago says how long before AsOf a time was, in the largest whole unit.
func (s *survey) ago(at string) string {
	t, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		return "at an unknown time"
	}
	const day = 24 * time.Hour
	since := s.AsOf.Sub(t)
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{365 * day, "year"}, {30 * day, "month"}, {day, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if n := int(since / u.unit); n == 1 {
			return "1 " + u.name + " ago"
		} else if n > 1 {
			return fmt.Sprintf("%d %ss ago", n, u.name)
		}
	}
	return "just now"
}
