// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/intoto"
)

const op = "reading VEX document"

// Status is what a statement says of a product and a vulnerability (VEX
// minimum requirements, CISA 2023).
type Status string

// The statuses.
const (
	NotAffected   Status = "not_affected"
	Fixed         Status = "fixed"
	Affected      Status = "affected"
	Investigating Status = "under_investigation"
)

// Document is what a VEX document says.
type Document struct {
	Format     string         // "OpenVEX", "CSAF" or "CycloneDX"
	Version    string         // of the format
	ID         string         // as the document calls itself
	Author     string         // who wrote it, as it says
	At         time.Time      // when; zero: it does not say
	SHA256     dossier.Digest // of the bytes that were parsed
	Statements []Statement
}

// Statement is what a document says of a vulnerability in some products.
type Statement struct {
	Names         []string  // of the vulnerability
	Products      []Product // never none
	Status        Status
	Justification string    // why it is not affected, a word of the format
	Reason        string    // in words
	At            time.Time // when it was said; zero: nobody tells
}

// Product is what a statement is about: all that it names must be so.
type Product struct {
	Image Identifier // the product as a whole; zero: any
	// Component is a package in it; zero: all of it.
	Component Identifier
	// Ecosystem is that of the distribution in which the component is, as
	// match.NormalEcosystem writes it; empty: any.
	Ecosystem string
	// Versions are those of the component that are meant; none: as Component says.
	Versions []string
}

// Identifier names something by package URL, by digest, or both. The zero value
// names nothing.
type Identifier struct {
	PURL   string
	Digest dossier.Digest
}

// IsZero reports whether i names nothing.
func (i Identifier) IsZero() bool { return i == Identifier{} }

// Limits bound what is read. A zero field means its default.
type Limits struct {
	Document   int // bytes; 64 MiB
	Statements int // 200,000
	Products   int // of all statements together; 2,000,000
	Depth      int // branches, components within one another; 32
}

func (l Limits) orDefault() Limits {
	return Limits{
		Document: cmp.Or(l.Document, 64<<20), Statements: cmp.Or(l.Statements, 200_000),
		Products: cmp.Or(l.Products, 2_000_000), Depth: cmp.Or(l.Depth, 32),
	}
}

// Parse reads a document. KindInvalid: it is not what it seems to be, or says
// what cannot be: not_affected without a reason. KindUnsupported: it is of no form
// that is known. KindLimit: see Limits.
func Parse(b []byte, limits Limits) (Document, error) {
	limits = limits.orDefault()
	inner, err := intoto.Unwrap(op, b, limits.Document)
	if err != nil {
		return Document{}, err
	}
	var kind struct {
		Context   string          `json:"@context"`
		BOMFormat string          `json:"bomFormat"`
		Document  json.RawMessage `json:"document"`
		Tree      json.RawMessage `json:"product_tree"`
	}
	if err := intoto.Decode(op, inner.Bytes, &kind); err != nil {
		return Document{}, err
	}
	p := &parser{limits: limits}
	switch {
	case strings.HasPrefix(kind.Context, "https://openvex.dev/ns"):
		p.doc.Format = "OpenVEX"
		err = p.openVEX(inner.Bytes)
	case kind.BOMFormat == "CycloneDX":
		p.doc.Format = "CycloneDX"
		err = p.cycloneDX(inner.Bytes)
	case len(kind.Document) > 0 && len(kind.Tree) > 0:
		p.doc.Format = "CSAF"
		err = p.csaf(inner.Bytes)
	default:
		return Document{}, dossier.Errorf(dossier.KindUnsupported, op, "", "it is neither OpenVEX, CSAF nor CycloneDX")
	}
	if err != nil {
		return Document{}, err
	}
	p.doc.SHA256 = dossier.FromBytes(b)
	return p.doc, nil
}

// parser gathers what a document says.
type parser struct {
	limits   Limits
	doc      Document
	products int
}

// add adds a statement. One about no product that can be recognised says
// nothing.
func (p *parser) add(s Statement) error {
	if len(s.Names) == 0 || len(s.Products) == 0 {
		return nil
	}
	if len(p.doc.Statements) >= p.limits.Statements {
		return limitError("Statements", p.limits.Statements)
	}
	if p.products += len(s.Products); p.products > p.limits.Products {
		return limitError("Products", p.limits.Products)
	}
	s.Justification, s.Reason = intoto.Printable(s.Justification), intoto.Printable(s.Reason)
	p.doc.Statements = append(p.doc.Statements, s)
	return nil
}

// names returns those that are not empty, each once.
func names(list ...string) []string {
	var out []string
	seen := map[string]bool{}
	for _, n := range list {
		if n = strings.TrimSpace(intoto.Printable(n)); n != "" && !seen[n] {
			seen[n] = true
			out = append(out, n)
		}
	}
	return out
}

func limitError(name string, n int) error {
	return dossier.Errorf(dossier.KindLimit, op, "", fmt.Sprintf("it has more than %d, the limit %s", n, name))
}

func invalid(format string, args ...any) error {
	return &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: fmt.Errorf(format, args...)}
}

// parseTime reads a time of RFC 3339; zero when it is none.
func parseTime(texts ...string) time.Time {
	for _, s := range texts {
		if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
			return dossier.Instant(t)
		}
	}
	return time.Time{}
}

// checkReason wants to know why something is not affected.
func (s Statement) checkReason(where string) error {
	if s.Status == NotAffected && strings.TrimSpace(s.Justification+s.Reason) == "" {
		return invalid("%s: %s is said not to be affected, and not why", where, strings.Join(s.Names, ", "))
	}
	return nil
}

var errStatus = errors.New("want not_affected, affected, fixed or under_investigation")
