// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/intoto"
	"dossier.dev/dossier/internal/match"
)

// csafDocument is a document of the Common Security Advisory Framework 2.0, as
// far as it is read here.
type csafDocument struct {
	Document struct {
		Version   string `json:"csaf_version"`
		Publisher struct {
			Name string `json:"name"`
		} `json:"publisher"`
		Tracking struct {
			ID      string `json:"id"`
			Current string `json:"current_release_date"`
		} `json:"tracking"`
	} `json:"document"`
	Tree            csafTree            `json:"product_tree"`
	Vulnerabilities []csafVulnerability `json:"vulnerabilities"`
}

type csafTree struct {
	Branches      []csafBranch  `json:"branches"`
	Products      []csafProduct `json:"full_product_names"`
	Relationships []struct {
		Product   csafProduct `json:"full_product_name"`
		Component string      `json:"product_reference"`
		Platform  string      `json:"relates_to_product_reference"`
	} `json:"relationships"`
	Groups []struct {
		ID       string   `json:"group_id"`
		Products []string `json:"product_ids"`
	} `json:"product_groups"`
}

type csafBranch struct {
	Product  *csafProduct `json:"product"`
	Branches []csafBranch `json:"branches"`
}

type csafProduct struct {
	ID     string `json:"product_id"`
	Helper struct {
		CPE    string `json:"cpe"`
		PURL   string `json:"purl"`
		Hashes []struct {
			Sums []struct {
				Algorithm string `json:"algorithm"`
				Value     string `json:"value"`
			} `json:"file_hashes"`
		} `json:"hashes"`
	} `json:"product_identification_helper"`
}

type csafVulnerability struct {
	CVE string `json:"cve"`
	IDs []struct {
		Text string `json:"text"`
	} `json:"ids"`
	Status map[string][]string `json:"product_status"`
	Flags  []struct {
		Label string `json:"label"`
		csafAbout
	} `json:"flags"`
	Threats []struct {
		Category string `json:"category"`
		Details  string `json:"details"`
		csafAbout
	} `json:"threats"`
}

// csafAbout is which products something is about; none: all.
type csafAbout struct {
	Products []string `json:"product_ids"`
	Groups   []string `json:"group_ids"`
}

// csaf reads a CSAF document, of the VEX profile or another.
func (p *parser) csaf(b []byte) error {
	var d csafDocument
	if err := json.Unmarshal(b, &d); err != nil {
		return invalid("%w", err)
	}
	p.doc.Version, p.doc.ID, p.doc.Author = intoto.Printable(d.Document.Version), intoto.Printable(d.Document.Tracking.ID), intoto.Printable(d.Document.Publisher.Name)
	p.doc.At = parseTime(d.Document.Tracking.Current)
	products, err := d.Tree.products(p.limits.Depth)
	if err != nil {
		return err
	}
	groups := map[string][]string{}
	for _, g := range d.Tree.Groups {
		groups[g.ID] = g.Products
	}
	for i := range d.Vulnerabilities {
		if err := p.csafVulnerability(&d.Vulnerabilities[i], fmt.Sprintf("vulnerability %d", i+1), products, groups); err != nil {
			return err
		}
	}
	return nil
}

// csafStatuses are the lists of product_status that say what VEX asks for.
func csafStatuses() []struct {
	list   string
	status Status
} {
	return []struct {
		list   string
		status Status
	}{
		{"fixed", Fixed}, {"first_fixed", Fixed}, {"known_affected", Affected}, {"first_affected", Affected}, {"last_affected", Affected},
		{"known_not_affected", NotAffected}, {"under_investigation", Investigating},
	}
}

// csafVulnerability adds a statement for each status and reason.
func (p *parser) csafVulnerability(v *csafVulnerability, where string, products map[string]Product, groups map[string][]string) error {
	called := []string{v.CVE}
	for _, id := range v.IDs {
		called = append(called, id.Text)
	}
	why := v.reasons(groups)
	for _, s := range csafStatuses() {
		by := map[csafReason]*Statement{}
		var order []csafReason
		for _, id := range v.Status[s.list] {
			product, ok := products[id]
			if !ok {
				continue
			}
			var r csafReason
			if s.status == NotAffected {
				r = why(id)
			}
			if by[r] == nil {
				by[r] = &Statement{Names: names(called...), Status: s.status, Justification: r.label, Reason: r.details, At: p.doc.At}
				order = append(order, r)
			}
			by[r].Products = append(by[r].Products, product)
		}
		for _, r := range order {
			if err := by[r].checkReason(where); err != nil {
				return err
			}
			if err := p.add(*by[r]); err != nil {
				return err
			}
		}
	}
	return nil
}

type csafReason struct{ label, details string }

// reasons returns why a product is not affected: a flag, and what is said of the
// impact.
func (v *csafVulnerability) reasons(groups map[string][]string) func(id string) csafReason {
	by := map[string]csafReason{}
	var all csafReason
	note := func(about csafAbout, set func(*csafReason)) {
		if len(about.Products)+len(about.Groups) == 0 {
			set(&all)
			return
		}
		ids := about.Products
		for _, g := range about.Groups {
			ids = append(ids, groups[g]...)
		}
		for _, id := range ids {
			r := by[id]
			set(&r)
			by[id] = r
		}
	}
	for _, f := range v.Flags {
		note(f.csafAbout, func(r *csafReason) { r.label = f.Label })
	}
	for _, t := range v.Threats {
		if t.Category == "impact" {
			note(t.csafAbout, func(r *csafReason) { r.details = t.Details })
		}
	}
	return func(id string) csafReason {
		r := by[id]
		if r.label == "" {
			r.label = all.label
		}
		if r.details == "" {
			r.details = all.details
		}
		return r
	}
}

// products returns the products of a tree that can be recognised, by their IDs.
func (t *csafTree) products(maxDepth int) (map[string]Product, error) {
	plain := map[string]csafProduct{}
	var walk func(list []csafBranch, depth int) error
	walk = func(list []csafBranch, depth int) error {
		if depth > maxDepth {
			return limitError("Depth", maxDepth)
		}
		for _, b := range list {
			if b.Product != nil {
				plain[b.Product.ID] = *b.Product
			}
			if err := walk(b.Branches, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(t.Branches, 1); err != nil {
		return nil, err
	}
	for _, p := range t.Products {
		plain[p.ID] = p
	}
	out := map[string]Product{}
	for id, p := range plain {
		if of := p.identifier(); !of.IsZero() {
			out[id] = productOf(of)
		}
	}
	for _, r := range t.Relationships {
		component := plain[r.Component].identifier()
		if component.IsZero() {
			component = r.Product.identifier()
		}
		if component.IsZero() {
			continue
		}
		if product, ok := within(component, plain[r.Platform]); ok {
			out[r.Product.ID] = product
		}
	}
	return out, nil
}

var redhatCPE = regexp.MustCompile(`^cpe:(?:/|2\.3:)[ao]:redhat:([a-z_]+(?::[^*]*)?)`)

// within is a component in a platform: an image, or a distribution by its CPE. ok
// is false when the platform is neither, for then it cannot be told where the
// statement holds.
func within(component Identifier, platform csafProduct) (Product, bool) {
	if image := platform.identifier(); !image.IsZero() {
		return Product{Image: image, Component: component}, true
	}
	m := redhatCPE.FindStringSubmatch(platform.Helper.CPE)
	if m == nil {
		return Product{}, false
	}
	return Product{Component: component, Ecosystem: match.NormalEcosystem("Red Hat:" + strings.TrimRight(m[1], ":"))}, true
}

func (p csafProduct) identifier() Identifier {
	id := Identifier{}
	if strings.HasPrefix(p.Helper.PURL, "pkg:") {
		id.PURL = p.Helper.PURL
	}
	for _, h := range p.Helper.Hashes {
		for _, sum := range h.Sums {
			if d, err := dossier.ParseDigest(sum.Algorithm + ":" + strings.ToLower(sum.Value)); err == nil && id.Digest == "" {
				id.Digest = d
			}
		}
	}
	return id
}
