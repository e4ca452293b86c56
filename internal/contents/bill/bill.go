// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package bill

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/intoto"
)

// Bill is what a bill of materials says.
type Bill struct {
	Format   string           // "SPDX 2.3", "CycloneDX 1.6", "Syft JSON"
	Tools    []string         // that made it, as it says
	Subjects []intoto.Subject // of the statement around it; none: it is bare
	Packages []Package        // with a package URL, by that, each once
	Unnamed  int              // entries without a package URL
	// Distribution is the one that the bill lists, without Path. nil: none.
	Distribution *dossier.Distribution
}

// Package is an entry of a bill.
type Package struct {
	PURL string // as written
	Key  Key
	more
}

// more is what some bills say of a package beside its URL. Empty: they do not.
type more struct {
	source, sourceVersion string
	module                string // rpm: modularity label
	owner                 string // package URL of the package that installed it
	path                  string // of a file that tells of it
}

// Limits bound what is read. A zero field means its default.
type Limits struct {
	Document int // bytes; 16 MiB
	Packages int // 200,000
	Depth    int // components within components; 32
}

func (l Limits) orDefault() Limits {
	return Limits{
		Document: cmp.Or(l.Document, 16<<20), Packages: cmp.Or(l.Packages, 200_000), Depth: cmp.Or(l.Depth, 32),
	}
}

const op = "reading bill of materials"

// document is the fields by which the formats are told apart.
type document struct {
	SPDXVersion string `json:"spdxVersion"`
	BOMFormat   string `json:"bomFormat"`
	Schema      struct {
		URL string `json:"url"`
	} `json:"schema"`
}

// Parse reads a document. KindInvalid: it is not what it seems to be.
// KindUnsupported: it is of no form that is known. KindLimit: see Limits.
func Parse(b []byte, limits Limits) (Bill, error) {
	limits = limits.orDefault()
	inner, err := intoto.Unwrap(op, b, limits.Document)
	if err != nil {
		return Bill{}, err
	}
	var d document
	if err := decode(inner.Bytes, &d); err != nil {
		return Bill{}, err
	}
	bill, err := parse(inner.Bytes, d, limits)
	bill.Subjects = inner.Subjects
	return bill, err
}

// parse reads a bare document.
func parse(b []byte, d document, limits Limits) (Bill, error) {
	c := &collector{limits: limits, seen: map[string]bool{}}
	var err error
	switch {
	case strings.HasPrefix(d.SPDXVersion, "SPDX-2."):
		c.bill.Format = "SPDX " + printable(strings.TrimPrefix(d.SPDXVersion, "SPDX-"))
		err = c.spdx(b)
	case d.BOMFormat == "CycloneDX":
		err = c.cycloneDX(b)
	case strings.Contains(d.Schema.URL, "anchore/syft"):
		c.bill.Format = "Syft JSON"
		err = c.syft(b)
	default:
		return Bill{}, dossier.Errorf(dossier.KindUnsupported, op, "", "it is neither SPDX 2, CycloneDX nor Syft's JSON")
	}
	if err != nil {
		return Bill{}, err
	}
	slices.SortFunc(c.bill.Packages, func(a, b Package) int { return cmp.Compare(a.PURL, b.PURL) })
	slices.Sort(c.bill.Tools)
	c.bill.Tools = slices.Compact(c.bill.Tools)
	return c.bill, nil
}

// collector gathers what a document says.
type collector struct {
	limits Limits
	bill   Bill
	seen   map[string]bool
	count  int
}

// add adds an entry. What has no package URL, or one of an image or a file, only
// counts.
func (c *collector) add(purl string, more more) error {
	if c.count++; c.count > c.limits.Packages {
		return dossier.Errorf(dossier.KindLimit, op, "", fmt.Sprintf("it has more than %d entries, the limit Packages", c.limits.Packages))
	}
	purl = printable(purl)
	key, ok := KeyOf(purl)
	switch {
	case !ok:
		c.bill.Unnamed++
	case key.Type == "oci", key.Type == "docker", key.Type == "generic", c.seen[purl]:
	default:
		c.seen[purl] = true
		c.bill.Packages = append(c.bill.Packages, Package{purl, key, more.printable()})
	}
	return nil
}

func (c *collector) tool(name, version string) {
	if name = strings.TrimSpace(printable(name) + " " + printable(version)); name != "" && len(c.bill.Tools) < maxTools {
		c.bill.Tools = append(c.bill.Tools, name)
	}
}

const maxTools = 20

func (c *collector) spdx(b []byte) error {
	var d struct {
		CreationInfo struct {
			Creators []string `json:"creators"`
		} `json:"creationInfo"`
		Packages []struct {
			Purpose string `json:"primaryPackagePurpose"`
			Name    string `json:"name"`
			Version string `json:"versionInfo"`
			Source  string `json:"sourceInfo"`
			Comment string `json:"comment"`
			Refs    []struct {
				Type    string `json:"referenceType"`
				Locator string `json:"referenceLocator"`
			} `json:"externalRefs"`
		} `json:"packages"`
	}
	if err := decode(b, &d); err != nil {
		return err
	}
	for _, creator := range d.CreationInfo.Creators {
		if tool, ok := strings.CutPrefix(creator, "Tool: "); ok {
			c.tool(tool, "")
		}
	}
	for _, p := range d.Packages {
		switch p.Purpose {
		case "OPERATING-SYSTEM", "OPERATING_SYSTEM":
			c.distribution(p.Name, p.Version)
			continue
		case "CONTAINER", "ARCHIVE", "FILE":
			continue // the image itself, its layers
		}
		purl := ""
		for _, r := range p.Refs {
			if r.Type == "purl" {
				purl = r.Locator
			}
		}
		if err := c.add(purl, moreOfSPDX(p.Source, p.Comment)); err != nil {
			return err
		}
	}
	return nil
}

// component is an entry of CycloneDX.
type component struct {
	Type       string      `json:"type"`
	Name       string      `json:"name"`
	Version    string      `json:"version"`
	PURL       string      `json:"purl"`
	Components []component `json:"components"`
	Properties []property  `json:"properties"`
	Evidence   struct {
		Occurrences []struct {
			Location string `json:"location"`
		} `json:"occurrences"`
	} `json:"evidence"`
}

func (c *collector) cycloneDX(b []byte) error {
	var d struct {
		SpecVersion string `json:"specVersion"`
		Metadata    struct {
			Tools json.RawMessage `json:"tools"`
		} `json:"metadata"`
		Components []component `json:"components"`
	}
	if err := decode(b, &d); err != nil {
		return err
	}
	c.bill.Format = "CycloneDX " + printable(d.SpecVersion)
	var tools struct {
		Components []component `json:"components"`
	}
	if json.Unmarshal(d.Metadata.Tools, &tools) != nil { // a list until 1.4
		_ = json.Unmarshal(d.Metadata.Tools, &tools.Components) // who made it is not worth the rest
	}
	for _, t := range tools.Components {
		c.tool(t.Name, t.Version)
	}
	return c.components(d.Components, 0)
}

func (c *collector) components(list []component, depth int) error {
	if depth > c.limits.Depth {
		return dossier.Errorf(dossier.KindLimit, op, "", fmt.Sprintf("components lie %d deep, the limit Depth is %d", depth, c.limits.Depth))
	}
	for _, p := range list {
		switch p.Type {
		case "operating-system":
			c.distribution(p.Name, p.Version)
		case "file", "container":
		default:
			if err := c.add(p.PURL, moreOfCycloneDX(p)); err != nil {
				return err
			}
		}
		if err := c.components(p.Components, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (c *collector) syft(b []byte) error {
	var d struct {
		Descriptor struct {
			Name    string `json:"name"`
			Version string `json:"version"`
		} `json:"descriptor"`
		Distro struct {
			ID        string `json:"id"`
			VersionID string `json:"versionID"`
		} `json:"distro"`
		Artifacts []struct {
			PURL      string `json:"purl"`
			Locations []struct {
				Path string `json:"path"`
			} `json:"locations"`
		} `json:"artifacts"`
	}
	if err := decode(b, &d); err != nil {
		return err
	}
	c.tool(d.Descriptor.Name, d.Descriptor.Version)
	c.distribution(d.Distro.ID, d.Distro.VersionID)
	for _, a := range d.Artifacts {
		var m more
		if len(a.Locations) > 0 {
			m.path = strings.TrimPrefix(a.Locations[0].Path, "/")
		}
		if err := c.add(a.PURL, m); err != nil {
			return err
		}
	}
	return nil
}

func decode(b []byte, v any) error { return intoto.Decode(op, b, v) }

func printable(s string) string { return intoto.Printable(s) }
