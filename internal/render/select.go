// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"cmp"
	"slices"
	"strings"

	"dossier.dev/dossier"
)

// Filter is a condition on images as people write it: "KEY=VALUE", "KEY!=VALUE",
// or "KEY~TEXT" (contains). Keys: the five questions (their status), "image",
// "digest", "namespace", "workload".
type Filter struct {
	key, op, value string
}

// ParseFilters reads conditions separated by commas. All must hold.
func ParseFilters(s string) ([]Filter, error) {
	var filters []Filter
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		f, ok := parseFilter(part)
		if !ok {
			return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: "reading filter", Subject: part,
				Hint: "write KEY=VALUE, KEY!=VALUE or KEY~TEXT; keys are what, origin, rebuild, vulnerabilities, currency (a status: ok, warn, fail, unknown), image, digest, namespace, workload"}
		}
		filters = append(filters, f)
	}
	return filters, nil
}

func parseFilter(s string) (Filter, bool) {
	i := strings.IndexAny(s, "=!~")
	if i <= 0 {
		return Filter{}, false
	}
	f := Filter{key: s[:i], op: s[i : i+1], value: s[i+1:]}
	if f.op == "!" {
		if !strings.HasPrefix(f.value, "=") {
			return Filter{}, false
		}
		f.op, f.value = "!=", f.value[1:]
	}
	if slices.Contains(dossier.Questions(), dossier.Question(f.key)) {
		status := dossier.Status(f.value)
		known := []dossier.Status{dossier.StatusOK, dossier.StatusWarn, dossier.StatusFail, dossier.StatusUnknown}
		return f, f.op != "~" && slices.Contains(known, status)
	}
	return f, slices.Contains([]string{"image", "digest", "namespace", "workload"}, f.key)
}

// Select returns the images for which all filters hold.
func Select(images []dossier.Dossier, filters []Filter) []dossier.Dossier {
	out := images[:0:0]
	for _, d := range images {
		if !slices.ContainsFunc(filters, func(f Filter) bool { return !f.holds(d) }) {
			out = append(out, d)
		}
	}
	return out
}

func (f Filter) holds(d dossier.Dossier) bool {
	var values []string
	switch f.key {
	case "image":
		values = append(slices.Clone(d.Requested), Title(d))
		for _, r := range d.References {
			name, _, _ := strings.Cut(r, "@")
			values = append(values, name)
		}
	case "digest":
		values = []string{string(d.Digest)}
	case "namespace":
		for _, r := range d.Running {
			values = append(values, r.Namespace)
		}
	case "workload":
		for _, r := range d.Running {
			values = append(values, r.Name, strings.ToLower(r.Kind)+"/"+r.Name)
		}
	default:
		values = []string{string(d.Answers.Of(dossier.Question(f.key)).Status)}
	}
	match := func(v string) bool {
		if f.op == "~" {
			return strings.Contains(v, f.value)
		}
		return v == f.value
	}
	return slices.ContainsFunc(values, match) != (f.op == "!=")
}

// sortKeys are the orders that are no question.
var sortKeys = map[string]func(a, b dossier.Dossier) int{
	"image":  func(a, b dossier.Dossier) int { return 0 },
	"digest": func(a, b dossier.Dossier) int { return cmp.Compare(a.Digest, b.Digest) },
	"pods":   func(a, b dossier.Dossier) int { return cmp.Compare(b.Pods(), a.Pods()) },
}

// Sort orders images by a key: image (its title), digest, pods (most first) or one of
// the questions (worst status first). Equal ones stay ordered by title, then digest.
func Sort(images []dossier.Dossier, key string) error {
	by, ok := sortKeys[key]
	if q := dossier.Question(key); !ok && slices.Contains(dossier.Questions(), q) {
		ok = true
		by = func(a, b dossier.Dossier) int {
			return cmp.Compare(b.Answers.Of(q).Status.Severity(), a.Answers.Of(q).Status.Severity())
		}
	}
	if !ok {
		return &dossier.Error{Kind: dossier.KindInvalid, Op: "sorting by", Subject: key,
			Hint: "sort by image, digest, pods, what, origin, rebuild, vulnerabilities or currency"}
	}
	type titled struct {
		title string
		dossier.Dossier
	}
	list := make([]titled, len(images))
	for i, d := range images {
		list[i] = titled{Title(d), d}
	}
	slices.SortStableFunc(list, func(a, b titled) int {
		return cmp.Or(by(a.Dossier, b.Dossier), cmp.Compare(a.title, b.title), cmp.Compare(a.Digest, b.Digest))
	})
	for i, t := range list {
		images[i] = t.Dossier
	}
	return nil
}
