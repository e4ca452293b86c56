// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"slices"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/pattern"
)

var (
	cveSuffix = pattern.New(`CVE-[0-9]{4}-[0-9]{4,}$`)
	// bulletin is how the IDs of advisories begin that tell of updates: one may
	// be about many vulnerabilities.
	bulletin = pattern.New(`^(?:DSA|DLA|DTSA|USN|LSN|ALSA|ALBA|ALEA|RLSA|RXSA|RLBA|RLEA|RHSA|RHBA|RHEA|(?:open)?SUSE-[SRFO]U|MGASA|OESA|PHSA|AZL)-`)
	// harmless is how those begin that mend what is no vulnerability, unless they
	// name one.
	harmless = pattern.New(`^(?:AL|RL|RH)[BE]A-|^(?:open)?SUSE-[RFO]U-`)
)

// Names returns the names of each vulnerability that an advisory is about. The
// names of one mean the same; those of different lists do not. Lists and names
// are in order.
func Names(a dossier.Advisory) [][]string {
	if !bulletin.MatchString(a.ID) {
		return [][]string{namesOf(append([]string{a.ID}, slices.Concat(a.Aliases, a.Upstream)...))}
	}
	about := slices.Concat(a.Aliases, a.Upstream)
	if len(about) == 0 {
		about = a.Related
	}
	seen := map[string]bool{}
	var lists [][]string
	for _, id := range about {
		cve := cveSuffix.FindString(id)
		if cve == "" || seen[cve] {
			continue
		}
		seen[cve] = true
		lists = append(lists, []string{cve})
	}
	if lists == nil {
		return [][]string{{a.ID}}
	}
	slices.SortFunc(lists, slices.Compare)
	return lists
}

// namesOf adds the CVE that is in the name of a distribution's record of it.
func namesOf(ids []string) []string {
	for _, id := range ids {
		if cve := cveSuffix.FindString(id); cve != "" {
			ids = append(ids, cve)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// isHarmless reports whether an advisory is about no vulnerability.
func isHarmless(a dossier.Advisory) bool {
	if !harmless.MatchString(a.ID) {
		return false
	}
	names := Names(a)
	return len(names) == 1 && len(names[0]) == 1 && names[0][0] == a.ID
}

// groups brings together what shares a name, transitively.
type groups struct{ parent map[string]string }

func (g *groups) find(name string) string {
	root := name
	for {
		up, ok := g.parent[root]
		if !ok || up == root {
			break
		}
		root = up
	}
	for name != root { // shorten the way
		next := g.parent[name]
		g.parent[name] = root
		name = next
	}
	return root
}

func (g *groups) join(names []string) {
	for _, n := range names {
		if _, ok := g.parent[n]; !ok {
			g.parent[n] = n
		}
		a, b := g.find(names[0]), g.find(n)
		if a != b {
			g.parent[max(a, b)] = min(a, b)
		}
	}
}

// best is the name under which a vulnerability is shown: the first CVE, or else
// the first in the order of who is known best.
func best(names []string) string {
	return slices.MinFunc(names, func(a, b string) int {
		if c := rank(a) - rank(b); c != 0 {
			return c
		}
		return compareIDs(a, b)
	})
}

func rank(id string) int {
	switch {
	case strings.HasPrefix(id, "CVE-"):
		return 0
	case strings.HasPrefix(id, "GHSA-"):
		return 1
	case bulletin.MatchString(id):
		return 3
	}
	return 2
}

// compareIDs orders IDs so that numbers of more digits come later.
func compareIDs(a, b string) int {
	if rank(a) == 0 && rank(b) == 0 && len(a) != len(b) && a[:min(8, len(a))] == b[:min(8, len(b))] {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}
