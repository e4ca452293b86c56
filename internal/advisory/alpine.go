// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"encoding/json"
	"iter"
	"slices"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/pattern"
)

const opAlpine = "converting Alpine secdb"

// secdb is a file of Alpine's secdb: what was fixed in one repository of one
// branch. Wolfi and Chainguard publish the same, without a branch.
type secdb struct {
	Branch     string `json:"distroversion"`
	Repository string `json:"reponame"`
	Packages   []struct {
		Package struct {
			Name  string              `json:"name"`
			Fixes map[string][]string `json:"secfixes"`
		} `json:"pkg"`
	} `json:"packages"`
}

var (
	alpineBranch = pattern.New(`^v[0-9]+\.[0-9]+$`)
	foreignID    = pattern.New(`^[A-Z][A-Za-z]*-[A-Za-z0-9-]*[0-9][A-Za-z0-9-]*$`)
)

// ecosystem is whose packages a file is about: secdb names its branch only, and
// others their repository. Empty: it is not known.
func (s *secdb) ecosystem() string {
	switch {
	case alpineBranch.MatchString(s.Branch):
		return "Alpine:" + s.Branch
	case s.Branch == "edge" || s.Branch == "edge-main":
		return "Alpine:edge"
	case s.Repository == "os" && strings.Contains(s.Branch, "chainguard"):
		return "Chainguard"
	case s.Repository == "os":
		return "Wolfi"
	}
	return ""
}

// ConvertAlpine makes records of a file of Alpine's secdb (JSON), one for each
// vulnerability: "ALPINE-CVE-2024-0001". A fixed version of 0 says that the
// package was never vulnerable.
func ConvertAlpine(b []byte, limits Limits) iter.Seq2[Record, error] {
	limits = limits.orDefault()
	if err := checkDocument(opAlpine, b, limits); err != nil {
		return fails(err)
	}
	var s secdb
	if err := json.Unmarshal(b, &s); err != nil {
		return fails(&dossier.Error{Kind: dossier.KindInvalid, Op: opAlpine, Err: err})
	}
	ecosystem := s.ecosystem()
	if ecosystem == "" {
		return fails(invalidDocument(opAlpine, "the branch %q and repository %q are not known", short(s.Branch), short(s.Repository)))
	}
	prefix := strings.ToUpper(strings.SplitN(ecosystem, ":", 2)[0])
	records := map[string]*record{}
	for _, p := range s.Packages {
		for version, fixed := range p.Package.Fixes {
			if version == "" {
				return fails(invalidDocument(opAlpine, "%s is fixed in no version", short(p.Package.Name)))
			}
			for _, entry := range fixed {
				for _, ids := range alpineIDs(entry) {
					r := of(records, prefix, ids[0])
					r.Upstream = append(r.Upstream, ids[1:]...)
					r.Affected = append(r.Affected, affected{
						Package: packageName{Ecosystem: ecosystem, Name: p.Package.Name}, Ranges: fixedIn(version),
						Database: affectedSpecific{converted{Source: true}},
					})
				}
			}
		}
	}
	for _, r := range records {
		slices.Sort(r.Upstream)
		r.Upstream = slices.Compact(r.Upstream)
		slices.SortFunc(r.Affected, func(a, b affected) int { return strings.Compare(sortKey(a), sortKey(b)) })
	}
	return writeAll(records, limits)
}

// alpineIDs returns the vulnerabilities that an entry of secdb names: "CVE-2019-14697",
// "CVE-2017-2616 (+ regression fix)", "CVE-2019-18421 XSA-299". Where one is a
// CVE and the others are not, they are names of it.
func alpineIDs(entry string) [][]string {
	var cves, others []string
	for _, word := range strings.Fields(entry) {
		word = strings.Replace(strings.Trim(word, "(),;"), "_", "-", 1)
		switch {
		case !foreignID.MatchString(word):
		case strings.HasPrefix(word, "CVE-"):
			cves = append(cves, word)
		default:
			others = append(others, word)
		}
	}
	if len(cves) == 1 {
		return [][]string{append(cves, others...)}
	}
	var out [][]string
	for _, id := range append(cves, others...) {
		out = append(out, []string{id})
	}
	return out
}
