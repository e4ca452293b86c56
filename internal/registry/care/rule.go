// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package care

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/registry/access"
)

// rules are those of retention, checked.
type rules []rule

// rule lets things go.
type rule struct {
	name         string
	repositories []access.Pattern
	tags         *config.TagRetention
	untagged     *time.Duration
}

// compile checks a policy.
func compile(p config.Care) (rules, error) {
	var faults []error
	fault := func(subject, why string) {
		faults = append(faults, &dossier.Error{Kind: dossier.KindInvalid, Op: "checking", Subject: subject, Err: errors.New(why),
			Hint: "docs/spec/care.md says how retention is written"})
	}
	for _, t := range []struct {
		name string
		d    time.Duration
	}{{"lease", p.Lease}, {"delay", p.Delay}, {"every", p.Every}, {"reconcile", p.Reconcile}, {"listAge", p.ListAge}, {"scrub.age", p.Scrub.Age}} {
		if t.d < 0 {
			fault("registry.care."+t.name, "a time is not negative")
		}
	}
	if p.Scrub.Rate < 0 {
		fault("registry.care.scrub.rate", "a size is not negative")
	}
	for _, name := range slices.Sorted(maps.Keys(p.Mirrors)) {
		if p.Mirrors[name] <= 0 {
			fault("registry.care.mirrors."+name, "nothing could be kept: give a size such as 100GiB")
		}
	}
	var list rules
	for i, r := range p.Retention {
		subject := fmt.Sprintf("registry.care.retention[%d]", i)
		c := rule{name: r.Name, tags: r.Tags, untagged: r.Untagged}
		if c.name == "" {
			c.name = fmt.Sprintf("rule %d", i+1)
		}
		if len(r.Repositories) == 0 {
			fault(subject, "it names no repositories")
		}
		for _, s := range r.Repositories {
			pattern, err := access.ParsePattern(s)
			if err != nil {
				fault(subject+".repositories", err.Error())
			}
			c.repositories = append(c.repositories, pattern)
		}
		if r.Tags == nil && r.Untagged == nil {
			fault(subject, "it lets nothing go: it has neither tags nor untagged")
		}
		if r.Untagged != nil && *r.Untagged < 0 {
			fault(subject+".untagged", "a time is not negative")
		}
		if r.Tags != nil {
			checkTags(*r.Tags, func(field, why string) { fault(subject+".tags"+field, why) })
		}
		list = append(list, c)
	}
	return list, errors.Join(faults...)
}

func checkTags(t config.TagRetention, fault func(field, why string)) {
	for _, s := range t.Match {
		if _, err := path.Match(s, ""); err != nil || s == "" {
			fault(".match", fmt.Sprintf("%.100q is no pattern", s))
		}
	}
	if t.KeepLast < 0 || t.KeepYounger < 0 || t.KeepPulled < 0 {
		fault("", "what is kept is not negative")
	}
	if t.KeepLast <= 0 && t.KeepYounger <= 0 && t.KeepPulled <= 0 {
		fault("", "it keeps no tag: give keepLast, keepYounger or keepPulled")
	}
}

func (r rule) fits(repository string) bool {
	for _, p := range r.repositories {
		if p.Match(repository) {
			return true
		}
	}
	return false
}

// forManifests returns the rule by which manifests without a tag go from a
// repository, or nil.
func (l rules) forManifests(repository string) *rule {
	for i := range l {
		if l[i].untagged != nil && l[i].fits(repository) {
			return &l[i]
		}
	}
	return nil
}

// forTags returns the rules by which tags go from a repository.
func (l rules) forTags(repository string) rules {
	var fit rules
	for _, r := range l {
		if r.tags != nil && r.fits(repository) {
			fit = append(fit, r)
		}
	}
	return fit
}

// forTag returns the first of some rules that is about a tag, or nil.
func (l rules) forTag(tag string) *rule {
	for i := range l {
		if len(l[i].tags.Match) == 0 {
			return &l[i]
		}
		for _, pattern := range l[i].tags.Match {
			if ok, err := path.Match(pattern, tag); ok && err == nil {
				return &l[i]
			}
		}
	}
	return nil
}
