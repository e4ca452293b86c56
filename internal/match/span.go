// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"slices"

	"github.com/google/osv-scalibr/semantic"

	"dossier.dev/dossier"
)

// span is where in a range a version lies.
type span struct {
	vulnerable bool
	introduced string // the last introduction before it
	end        dossier.Event
	never      bool // the range holds no version at all: fixed before the first
}

// bound is an event with its version.
type bound struct {
	event dossier.Event
	at    semantic.Version // nil: before all versions
}

// text is the version of an event.
func text(e dossier.Event) string {
	switch {
	case e.Introduced != "":
		return e.Introduced
	case e.Fixed != "":
		return e.Fixed
	case e.LastAffected != "":
		return e.LastAffected
	}
	return e.Limit
}

// locate says where v lies in a range (OSV schema, "Evaluation"). ok is false
// when a version of the range cannot be compared.
func (f *family) locate(v semantic.Version, r dossier.Range) (s span, ok bool) {
	bounds, ok := f.bounds(r)
	if !ok || !f.below(v, bounds) {
		return span{}, ok
	}
	for i, b := range bounds {
		c, ok := compare(v, b.at)
		if !ok {
			return span{}, false
		}
		switch {
		case b.event.Limit != "":
		case b.event.Introduced != "" && c >= 0:
			s = span{vulnerable: true, introduced: b.event.Introduced, end: endOf(bounds[i+1:])}
		case b.event.Fixed != "" && c >= 0:
			s.vulnerable, s.end, s.never = false, b.event, b.at == nil
		case b.event.LastAffected != "" && c > 0:
			s.vulnerable, s.end = false, b.event
		}
	}
	return s, true
}

// endOf returns the first event that ends what was introduced before.
func endOf(bounds []bound) dossier.Event {
	for _, b := range bounds {
		if b.event.Fixed != "" || b.event.LastAffected != "" {
			return b.event
		}
	}
	return dossier.Event{}
}

// bounds returns the events of a range in the order of their versions.
func (f *family) bounds(r dossier.Range) ([]bound, bool) {
	out := make([]bound, 0, len(r.Events))
	for _, e := range r.Events {
		b := bound{event: e}
		if t := text(e); t != "0" && e.Limit != "*" {
			at, err := f.version(t)
			if err != nil {
				return nil, false
			}
			b.at = at
		}
		out = append(out, b)
	}
	comparable := true
	slices.SortStableFunc(out, func(a, b bound) int {
		if a.at == nil || b.at == nil {
			return btoi(b.at == nil) - btoi(a.at == nil)
		}
		c, err := a.at.Compare(b.at)
		comparable = comparable && err == nil
		return c
	})
	return out, comparable
}

// below reports whether v lies below one of the limits, when there are any.
func (f *family) below(v semantic.Version, bounds []bound) bool {
	limited := false
	for _, b := range bounds {
		if b.event.Limit == "" {
			continue
		}
		limited = true
		if b.event.Limit == "*" {
			return true
		}
		if c, ok := compare(v, b.at); ok && c < 0 {
			return true
		}
	}
	return !limited
}

// compare orders v and w, where nil comes before all.
func compare(v, w semantic.Version) (int, bool) {
	if w == nil {
		return 1, true
	}
	c, err := v.Compare(w)
	return c, err == nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
