// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/intoto"
)

// bomComponent is a component of CycloneDX.
type bomComponent struct {
	Ref     string `json:"bom-ref"`
	Type    string `json:"type"`
	Version string `json:"version"`
	PURL    string `json:"purl"`
	Hashes  []struct {
		Algorithm string `json:"alg"`
		Content   string `json:"content"`
	} `json:"hashes"`
	Components []bomComponent `json:"components"`
}

// bomVulnerability is a vulnerability with its analysis.
type bomVulnerability struct {
	ID         string `json:"id"`
	References []struct {
		ID string `json:"id"`
	} `json:"references"`
	Updated  string `json:"updated"`
	Analysis *struct {
		State         string `json:"state"`
		Justification string `json:"justification"`
		Detail        string `json:"detail"`
		FirstIssued   string `json:"firstIssued"`
		LastUpdated   string `json:"lastUpdated"`
	} `json:"analysis"`
	Affects []struct {
		Ref      string `json:"ref"`
		Versions []struct {
			Version string `json:"version"`
			Range   string `json:"range"`
		} `json:"versions"`
	} `json:"affects"`
}

// cycloneDX reads the analyses of a CycloneDX document (1.4 and later). What
// they are about lies in the document itself or is linked (BOM-Link).
func (p *parser) cycloneDX(b []byte) error {
	var d struct {
		Version  string `json:"specVersion"`
		Serial   string `json:"serialNumber"`
		Metadata struct {
			Timestamp string        `json:"timestamp"`
			Component *bomComponent `json:"component"`
			Authors   []struct {
				Name string `json:"name"`
			} `json:"authors"`
			Supplier struct {
				Name string `json:"name"`
			} `json:"supplier"`
		} `json:"metadata"`
		Components      []bomComponent     `json:"components"`
		Vulnerabilities []bomVulnerability `json:"vulnerabilities"`
	}
	if err := json.Unmarshal(b, &d); err != nil {
		return invalid("%w", err)
	}
	p.doc.Version, p.doc.ID, p.doc.At = intoto.Printable(d.Version), intoto.Printable(d.Serial), parseTime(d.Metadata.Timestamp)
	p.doc.Author = d.Metadata.Supplier.Name
	if len(d.Metadata.Authors) > 0 {
		p.doc.Author = cmp.Or(d.Metadata.Authors[0].Name, p.doc.Author)
	}
	p.doc.Author = intoto.Printable(p.doc.Author)
	refs := map[string]Identifier{}
	if err := p.collect(refs, d.Components, 0); err != nil {
		return err
	}
	var image Identifier
	root := ""
	if c := d.Metadata.Component; c != nil {
		image, root = c.image(), c.Ref
		if image.IsZero() && c.PURL != "" {
			refs[c.Ref] = Identifier{PURL: c.PURL}
		}
		if err := p.collect(refs, c.Components, 0); err != nil {
			return err
		}
	}
	for i := range d.Vulnerabilities {
		if err := p.bomVulnerability(&d.Vulnerabilities[i], fmt.Sprintf("vulnerability %d", i+1), refs, image, root); err != nil {
			return err
		}
	}
	return nil
}

// collect notes what components are called.
func (p *parser) collect(refs map[string]Identifier, list []bomComponent, depth int) error {
	if depth > p.limits.Depth {
		return limitError("Depth", p.limits.Depth)
	}
	for _, c := range list {
		if c.Ref != "" && c.PURL != "" {
			refs[c.Ref] = Identifier{PURL: c.PURL}
		}
		if err := p.collect(refs, c.Components, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// image is how the document's product is recognised, if it is an image.
func (c *bomComponent) image() Identifier {
	var id Identifier
	if isImage(c.PURL) {
		id.PURL = c.PURL
	}
	if c.Type != "container" && id.PURL == "" {
		return Identifier{}
	}
	if d, err := dossier.ParseDigest(c.Version); err == nil {
		id.Digest = d
	}
	for _, h := range c.Hashes {
		if d, err := dossier.ParseDigest(dossier.SHA256 + ":" + strings.ToLower(h.Content)); err == nil && h.Algorithm == "SHA-256" && id.Digest == "" {
			id.Digest = d
		}
	}
	return id
}

// bomStatus translates a state of analysis (CycloneDX 1.6,
// vulnerabilities[].analysis.state).
func bomStatus(state string) (Status, bool) {
	switch state {
	case "not_affected", "false_positive":
		return NotAffected, true
	case "resolved", "resolved_with_pedigree":
		return Fixed, true
	case "exploitable":
		return Affected, true
	case "in_triage":
		return Investigating, true
	}
	return "", false
}

func (p *parser) bomVulnerability(v *bomVulnerability, where string, refs map[string]Identifier, image Identifier, root string) error {
	if v.Analysis == nil || v.Analysis.State == "" {
		return nil // nobody judged it
	}
	status, ok := bomStatus(v.Analysis.State)
	if !ok {
		return invalid("%s: the state of its analysis is %q", where, intoto.Printable(v.Analysis.State))
	}
	called := []string{v.ID}
	for _, r := range v.References {
		called = append(called, r.ID)
	}
	s := Statement{Names: names(called...), Status: status, Justification: v.Analysis.Justification, Reason: v.Analysis.Detail, At: p.doc.At}
	if at := parseTime(v.Analysis.LastUpdated, v.Analysis.FirstIssued, v.Updated); !at.IsZero() {
		s.At = at
	}
	if v.Analysis.State == "false_positive" {
		s.Justification = cmp.Or(s.Justification, "false_positive")
	}
	for _, a := range v.Affects {
		product := Product{Image: image}
		switch ref := target(a.Ref); {
		case a.Ref == root && root != "" && !image.IsZero():
		case strings.HasPrefix(ref, "pkg:") && refs[ref].IsZero():
			product.Component = Identifier{PURL: ref}
		default:
			product.Component = refs[ref]
			if product.Component.IsZero() {
				continue
			}
		}
		exact := true
		for _, version := range a.Versions {
			exact = exact && version.Range == ""
			product.Versions = append(product.Versions, version.Version)
		}
		if exact { // ranges (vers) are not read: what they hold is not known
			s.Products = append(s.Products, product)
		}
	}
	return p.add(s)
}

// target is what a reference names: in the document, or behind the number sign of
// a BOM-Link.
func target(ref string) string {
	if !strings.HasPrefix(ref, "urn:cdx:") {
		return ref
	}
	_, fragment, _ := strings.Cut(ref, "#")
	if decoded, err := url.PathUnescape(fragment); err == nil {
		return decoded
	}
	return fragment
}
