// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"dossier.dev/dossier"
)

// held is what the layers of one platform hold, in short.
type held struct {
	*dossier.Contents
	platform dossier.PlatformImage
	fact     *dossier.Fact
}

// heldBy returns what the layers of a platform hold, as a fact says.
func (s *survey) heldBy(f *dossier.Fact, c *dossier.Contents) held {
	h := held{c, dossier.PlatformImage{Manifest: f.Subject}, f}
	for _, p := range s.Platforms {
		if p.Manifest == f.Subject {
			h.platform = p
		}
	}
	return h
}

// cite cites the fact for what it says of something.
func (h held) cite(text string) cite {
	return cite{h.fact, string(dossier.FactContents), text, dossier.GradeObserved}
}

// count returns how many packages there are.
func (h held) count() int {
	n := 0
	for _, l := range h.Layers {
		for _, more := range l.Packages {
			n += more
		}
	}
	return n
}

// baseLayers returns how many of the lowest layers of a manifest are those of a
// known base.
func (s *survey) baseLayers(h held) int {
	most := 0
	for _, b := range s.Bases {
		if (b.On == h.platform.Manifest || b.On == "") && b.Layers < len(h.Layers) {
			most = max(most, b.Layers)
		}
	}
	return most
}

// packageCount is an element of the detail "packages". Its fields are in the
// order of the alphabet: what a server sends comes out the same.
type packageCount struct {
	Base     int    `json:"base"` // so many of them lie in layers of the known base
	Count    int    `json:"count"`
	Platform string `json:"platform,omitempty"` // only when there are several
	Type     string `json:"type"`               // of their purls
}

// packageCounts returns how many packages of which type there are, as one value;
// none as long as the contents are not known.
func (s *survey) packageCounts() []found {
	if len(s.held) == 0 {
		return nil
	}
	counts := []packageCount{}
	var cites []cite
	for _, h := range s.held {
		base := s.baseLayers(h)
		byType := map[string]*packageCount{}
		for i, l := range h.Layers {
			for kind, n := range l.Packages {
				c := byType[kind]
				if c == nil {
					c = &packageCount{Type: kind}
					if len(s.held) > 1 {
						c.Platform = h.platform.Platform
					}
					byType[kind] = c
				}
				c.Count += n
				if i < base {
					c.Base += n
				}
			}
		}
		for _, c := range byType {
			counts = append(counts, *c)
		}
		cites = append(cites, h.cite(plural(h.count(), "package")))
	}
	slices.SortFunc(counts, func(a, b packageCount) int {
		return cmp.Or(cmp.Compare(a.Platform, b.Platform), cmp.Compare(a.Type, b.Type))
	})
	return []found{seen(counts, cites...)}
}

// distributions returns the operating systems that the platforms are made from.
func (s *survey) distributions() []found {
	var out []found
	for _, h := range s.held {
		if d := h.Distribution; d != nil {
			out = merge(out, seen(distributionName(d), h.cite(d.Path+" says "+distributionName(d))), sameText)
		}
	}
	return out
}

// distributionName is what a distribution calls itself.
func distributionName(d *dossier.Distribution) string {
	return cmp.Or(d.Name, strings.TrimSpace(d.ID+" "+d.VersionID))
}

// shortDistribution is a distribution in few characters: "debian 12".
func shortDistribution(d *dossier.Distribution) string {
	return cmp.Or(strings.TrimSpace(d.ID+" "+d.VersionID), d.Name)
}

// mains returns the packages for which the image is there, as one value.
func (s *survey) mains() []found {
	var purls []string
	var cites []cite
	for _, h := range s.held {
		for _, m := range h.Main {
			if !slices.Contains(purls, m.PURL) {
				purls = append(purls, m.PURL)
			}
			cites = append(cites, h.cite(m.PURL+" is "+m.Why))
		}
	}
	if len(purls) == 0 {
		return nil
	}
	slices.Sort(purls)
	return []found{seen(purls, cites...)}
}

// missed returns what of the layers was not read, as one value.
func (s *survey) missed() []found {
	var list []string
	var cites []cite
	for _, h := range s.held {
		for _, m := range h.Missed {
			where := cmp.Or(m.Path, "layer "+m.Layer.Short())
			if text := where + ": " + m.Detail; !slices.Contains(list, text) {
				list = append(list, text)
			}
		}
		if more := h.MissedCount - len(h.Missed); more > 0 {
			list = append(list, fmt.Sprintf("and %d more", more))
		}
		if h.MissedCount > 0 {
			cites = append(cites, h.cite(plural(h.MissedCount, "part")+" not read"))
		}
	}
	if len(list) == 0 {
		return nil
	}
	return []found{seen(list, cites...)}
}

// mainPackage returns the package for which the image is there, when its
// platforms agree on one name.
func (s *survey) mainPackage() (name found, versions []found, ok bool) {
	for _, h := range s.held {
		if len(h.Main) != 1 {
			return found{}, nil, false
		}
		m := h.Main[0]
		n := seen(shortName(m), h.cite(m.PURL+" is "+m.Why))
		switch {
		case name.value == nil:
			name = n
		case name.text() != n.text():
			return found{}, nil, false
		default:
			name = addSupport(name, n)
		}
		if m.Version != "" {
			versions = merge(versions, seen(m.Version, h.cite(m.PURL+" is "+m.Why)), sameText)
		}
	}
	return name, versions, name.value != nil
}

// shortName is the name of a package without the names of who made it.
func shortName(m dossier.MainPackage) string {
	switch {
	case strings.HasPrefix(m.PURL, "pkg:maven/"):
		return m.Name[strings.LastIndexByte(m.Name, ':')+1:]
	case strings.HasPrefix(m.PURL, "pkg:golang/"):
		return path.Base(majorSuffix.ReplaceAllString(m.Name, ""))
	}
	return m.Name
}

var packaging = regexp.MustCompile(`^(?:[0-9]+:)?v?(.+?)(?:[-+~].*)?$`)

// upstream is a version without what a distribution adds: epoch and revision.
func upstream(v string) string {
	if m := packaging.FindStringSubmatch(v); m != nil {
		return m[1]
	}
	return v
}

// samePackaged takes a version and the same as a distribution packages it for
// the same: 1.27.3 and 1:1.27.3-1~bookworm.
func samePackaged(a, b string) bool { return sameVersion(a, b) || upstream(a) == upstream(b) }

// system returns the distribution when the image is named for it: then it is
// what the image is.
func (s *survey) system(name string) (title, version found, ok bool) {
	for _, h := range s.held {
		d := h.Distribution
		if d == nil || d.VersionID == "" || !strings.EqualFold(d.ID, name) {
			continue
		}
		c := h.cite(d.Path + " says " + distributionName(d))
		return seen(d.ID, c), seen(d.VersionID, c), true
	}
	return found{}, found{}, false
}

// summaryOfContents says what is in the image, when that is all there is to say.
func (s *survey) summaryOfContents() (found, bool) {
	all := slices.Clone(s.held)
	slices.SortStableFunc(all, func(a, b held) int { return cmp.Compare(b.count(), a.count()) })
	for _, h := range all {
		n := h.count()
		if h.Distribution == nil && n == 0 {
			continue
		}
		text := plural(n, "package")
		if h.Distribution != nil {
			text = shortDistribution(h.Distribution) + ", " + text
		}
		return seen(text, h.cite(text)), true
	}
	return found{}, false
}

// plural writes a count of things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
