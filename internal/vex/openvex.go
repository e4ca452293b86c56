// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/intoto"
)

// openComponent is a product, or a part of one. In version 0.0.1 it was a text.
type openComponent struct {
	ID          string `json:"@id"`
	Identifiers struct {
		PURL string `json:"purl"`
	} `json:"identifiers"`
	Hashes        map[string]string `json:"hashes"`
	Subcomponents []openComponent   `json:"subcomponents"`
}

// UnmarshalJSON reads both forms.
func (c *openComponent) UnmarshalJSON(b []byte) error {
	if json.Unmarshal(b, &c.ID) == nil {
		return nil
	}
	type plain openComponent
	return json.Unmarshal(b, (*plain)(c))
}

// openVulnerability is a vulnerability. In version 0.0.1 it was a text.
type openVulnerability struct {
	ID      string   `json:"@id"`
	Name    string   `json:"name"`
	Aliases []string `json:"aliases"`
}

// UnmarshalJSON reads both forms.
func (v *openVulnerability) UnmarshalJSON(b []byte) error {
	if json.Unmarshal(b, &v.Name) == nil {
		return nil
	}
	type plain openVulnerability
	return json.Unmarshal(b, (*plain)(v))
}

// openVEX reads OpenVEX (github.com/openvex/spec, 0.2.0).
func (p *parser) openVEX(b []byte) error {
	var d struct {
		Context    string `json:"@context"`
		ID         string `json:"@id"`
		Author     string `json:"author"`
		Timestamp  string `json:"timestamp"`
		Updated    string `json:"last_updated"`
		Statements []struct {
			Vulnerability openVulnerability `json:"vulnerability"`
			Timestamp     string            `json:"timestamp"`
			Updated       string            `json:"last_updated"`
			Products      []openComponent   `json:"products"`
			Subcomponents []openComponent   `json:"subcomponents"` // 0.0.1
			Status        Status            `json:"status"`
			Notes         string            `json:"status_notes"`
			Justification string            `json:"justification"`
			Impact        string            `json:"impact_statement"`
		} `json:"statements"`
	}
	if err := json.Unmarshal(b, &d); err != nil {
		return invalid("%w", err)
	}
	p.doc.Version = intoto.Printable(strings.TrimPrefix(strings.TrimPrefix(d.Context, "https://openvex.dev/ns"), "/v"))
	p.doc.ID, p.doc.Author, p.doc.At = intoto.Printable(d.ID), intoto.Printable(d.Author), parseTime(d.Updated, d.Timestamp)
	for i, s := range d.Statements {
		where := fmt.Sprintf("statement %d", i+1)
		switch s.Status {
		case NotAffected, Fixed, Affected, Investigating:
		default:
			return invalid("%s: its status is %q, %w", where, intoto.Printable(string(s.Status)), errStatus)
		}
		// A statement has the time of the document unless it has its own.
		out := Statement{
			Names:  names(append([]string{s.Vulnerability.Name, lastElement(s.Vulnerability.ID)}, s.Vulnerability.Aliases...)...),
			Status: s.Status, Justification: s.Justification, Reason: cmp.Or(s.Impact, s.Notes), At: parseTime(s.Updated, s.Timestamp, d.Updated, d.Timestamp),
		}
		if len(out.Names) == 0 {
			return invalid("%s: it names no vulnerability", where)
		}
		if err := out.checkReason(where); err != nil {
			return err
		}
		for _, c := range s.Products {
			out.Products = append(out.Products, c.products(s.Subcomponents)...)
		}
		if err := p.add(out); err != nil {
			return err
		}
	}
	return nil
}

// lastElement is the name of a vulnerability in an IRI that ends in it.
func lastElement(iri string) string {
	if strings.HasSuffix(iri, "/") {
		return ""
	}
	return iri[strings.LastIndexAny(iri, "/:")+1:]
}

// products makes products of one: with each of its parts, or alone.
func (c openComponent) products(more []openComponent) []Product {
	id := c.identifier()
	if id.IsZero() {
		return nil
	}
	parts := append(c.Subcomponents, more...)
	if len(parts) == 0 {
		return []Product{productOf(id)}
	}
	var out []Product
	for _, part := range parts {
		if of := part.identifier(); !of.IsZero() {
			out = append(out, Product{Image: id, Component: of})
		}
	}
	return out
}

// productOf is a product alone: an image, or a package wherever it is.
func productOf(id Identifier) Product {
	if id.Digest != "" || isImage(id.PURL) {
		return Product{Image: id}
	}
	return Product{Component: id}
}

// identifier is by what the component is recognised.
func (c openComponent) identifier() Identifier {
	var id Identifier
	for _, s := range []string{c.Identifiers.PURL, c.ID} {
		if id.PURL == "" && strings.HasPrefix(s, "pkg:") {
			id.PURL = s
		}
		if d, err := dossier.ParseDigest(s); id.Digest == "" && err == nil {
			id.Digest = d
		}
	}
	for name, algorithm := range map[string]string{"sha-256": dossier.SHA256, "sha256": dossier.SHA256, "sha-512": dossier.SHA512} {
		if d, err := dossier.ParseDigest(algorithm + ":" + strings.ToLower(c.Hashes[name])); err == nil && (id.Digest == "" || algorithm == dossier.SHA256) {
			id.Digest = d
		}
	}
	return id
}
