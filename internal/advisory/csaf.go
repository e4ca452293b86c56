// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"net/url"
	"slices"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/pattern"
)

const opCSAF = "converting CSAF document"

// csaf is a document of the Common Security Advisory Framework 2.0, as far as it
// is read here.
type csaf struct {
	Document struct {
		Category string   `json:"category"`
		Title    string   `json:"title"`
		Severity csafText `json:"aggregate_severity"`
		Tracking struct {
			ID      string  `json:"id"`
			Status  string  `json:"status"`
			Current instant `json:"current_release_date"`
			Initial instant `json:"initial_release_date"`
		} `json:"tracking"`
	} `json:"document"`
	Tree struct {
		Branches      []csafBranch       `json:"branches"`
		Products      []csafProduct      `json:"full_product_names"`
		Relationships []csafRelationship `json:"relationships"`
	} `json:"product_tree"`
	Vulnerabilities []csafVulnerability `json:"vulnerabilities"`
}

type csafText struct {
	Text string `json:"text"`
}

type csafBranch struct {
	Product  *csafProduct `json:"product"`
	Branches []csafBranch `json:"branches"`
}

type csafProduct struct {
	ID     string `json:"product_id"`
	Name   string `json:"name"`
	Helper struct {
		CPE  string `json:"cpe"`
		PURL string `json:"purl"`
	} `json:"product_identification_helper"`
}

type csafRelationship struct {
	Product   csafProduct `json:"full_product_name"`
	Component string      `json:"product_reference"`
	Platform  string      `json:"relates_to_product_reference"`
}

type csafVulnerability struct {
	CVE    string `json:"cve"`
	Title  string `json:"title"`
	Status struct {
		Fixed         []string `json:"fixed"`
		FirstFixed    []string `json:"first_fixed"`
		Affected      []string `json:"known_affected"`
		NotAffected   []string `json:"known_not_affected"`
		Investigating []string `json:"under_investigation"`
	} `json:"product_status"`
	Remediations []struct {
		Category string   `json:"category"`
		Details  string   `json:"details"`
		Products []string `json:"product_ids"`
	} `json:"remediations"`
	Scores []struct {
		V2 csafVector `json:"cvss_v2"`
		V3 csafVector `json:"cvss_v3"`
	} `json:"scores"`
	Threats []struct {
		Category string `json:"category"`
		Details  string `json:"details"`
	} `json:"threats"`
}

type csafVector struct {
	Vector string `json:"vectorString"`
}

// ConvertCSAF makes records of a CSAF document, a VEX one or an advisory: one for
// each vulnerability. It has the ID of the document, with the vulnerability's
// behind it when there are several. What it says of products that are no packages
// of an ecosystem is left out.
func ConvertCSAF(b []byte, limits Limits) iter.Seq2[Record, error] {
	limits = limits.orDefault()
	if err := checkDocument(opCSAF, b, limits); err != nil {
		return fails(err)
	}
	var doc csaf
	if err := json.Unmarshal(b, &doc); err != nil {
		return fails(&dossier.Error{Kind: dossier.KindInvalid, Op: opCSAF, Err: err})
	}
	id := doc.Document.Tracking.ID
	if !idPattern.MatchString(id) {
		return fails(invalidDocument(opCSAF, "its tracking ID %q is none", short(id)))
	}
	products := doc.products()
	records := map[string]*record{}
	for i := range doc.Vulnerabilities {
		v := &doc.Vulnerabilities[i]
		r := &record{ID: id, Summary: printable(doc.Document.Title), Modified: doc.Document.Tracking.Current, Published: doc.Document.Tracking.Initial}
		if len(doc.Vulnerabilities) > 1 {
			r.ID = fmt.Sprintf("%s~%s", id, v.name(i))
		}
		if idPattern.MatchString(v.CVE) && v.CVE != id {
			r.Upstream = []string{v.CVE}
		}
		if doc.Document.Tracking.Status == "withdrawn" {
			r.Withdrawn = doc.Document.Tracking.Current
			r.Withdrawn.told = true
		}
		v.rate(r, doc.Document.Severity.Text)
		v.addTo(r, products)
		records[r.ID] = r
	}
	return writeAll(records, limits)
}

// name tells vulnerabilities of a document apart.
func (v *csafVulnerability) name(i int) string {
	if idPattern.MatchString(v.CVE) {
		return v.CVE
	}
	return fmt.Sprint(i + 1)
}

// rate copies vectors and words.
func (v *csafVulnerability) rate(r *record, all string) {
	seen := map[severity]bool{}
	add := func(s severity) {
		if s.Score != "" && !seen[s] {
			seen[s] = true
			r.Severity = append(r.Severity, s)
		}
	}
	for _, s := range v.Scores {
		add(severity{"CVSS_V3", s.V3.Vector})
		add(severity{"CVSS_V2", s.V2.Vector})
	}
	words := []string{all}
	for _, t := range v.Threats {
		if t.Category == "impact" {
			words = append([]string{t.Details}, words...)
		}
	}
	for _, w := range words {
		if w != "" {
			r.Database.Severity = word(w)
			break
		}
	}
}

// product is a package as CSAF documents name it.
type product struct {
	ecosystem, name, version string
	source                   bool
	stream                   string
}

// products returns the packages of a document by their IDs.
func (c *csaf) products() map[string]product {
	plain := map[string]csafProduct{}
	var walk func([]csafBranch)
	walk = func(list []csafBranch) {
		for _, b := range list {
			if b.Product != nil {
				plain[b.Product.ID] = *b.Product
			}
			walk(b.Branches)
		}
	}
	walk(c.Tree.Branches)
	for _, p := range c.Tree.Products {
		plain[p.ID] = p
	}
	out := map[string]product{}
	for id, p := range plain {
		if made, ok := packageOf(p.Helper.PURL, ""); ok {
			out[id] = made
		}
	}
	for _, r := range c.Tree.Relationships {
		component := plain[r.Component]
		if component.Helper.PURL == "" {
			component = r.Product
		}
		if made, ok := packageOf(component.Helper.PURL, plain[r.Platform].Helper.CPE); ok {
			out[r.Product.ID] = made
		}
	}
	return out
}

var redhatCPE = pattern.New(`^cpe:(?:/|2\.3:)[ao]:redhat:([a-z_]+(?::[^*]*)?)`)

// packageOf returns the package that a purl and the CPE of its platform name. ok
// is false when no ecosystem has it.
func packageOf(purl, cpe string) (p product, ok bool) {
	rest, ok := strings.CutPrefix(purl, "pkg:")
	if !ok {
		return p, false
	}
	rest, _, _ = strings.Cut(rest, "#")
	rest, query, _ := strings.Cut(rest, "?")
	qualifiers, err := url.ParseQuery(query)
	if err != nil {
		return p, false
	}
	kind, rest, _ := strings.Cut(rest, "/")
	rest, version, _ := strings.Cut(rest, "@")
	if p.version, err = url.PathUnescape(version); err != nil {
		return p, false
	}
	if rest, err = url.PathUnescape(rest); err != nil {
		return p, false
	}
	switch kind {
	case "rpm":
		m := redhatCPE.FindStringSubmatch(cpe)
		if m == nil {
			return p, false
		}
		p.ecosystem = "Red Hat:" + strings.TrimRight(m[1], ":")
		p.name = rest[strings.LastIndexByte(rest, '/')+1:]
		p.source = qualifiers.Get("arch") == "src"
		p.stream = streamOf(qualifiers.Get("rpmmod"))
		if epoch := qualifiers.Get("epoch"); epoch != "" && epoch != "0" && p.version != "" {
			p.version = epoch + ":" + p.version
		}
	case "golang", "npm", "pypi", "gem", "cargo", "nuget", "composer", "maven":
		p.ecosystem = map[string]string{"golang": "Go", "npm": "npm", "pypi": "PyPI", "gem": "RubyGems", "cargo": "crates.io", "nuget": "NuGet", "composer": "Packagist", "maven": "Maven"}[kind]
		p.name = rest
		if kind == "maven" {
			p.name = strings.Replace(rest, "/", ":", 1)
		}
	}
	return p, p.ecosystem != "" && p.name != ""
}

// streamOf returns "name:stream" of a module as purls write it.
func streamOf(module string) string {
	parts := strings.SplitN(module, ":", 3)
	if len(parts) < 2 {
		return ""
	}
	return parts[0] + ":" + parts[1]
}

// addTo adds what is said of packages. Of builds for several architectures one
// remains.
func (v *csafVulnerability) addTo(r *record, products map[string]product) {
	remedies := map[string]converted{}
	for _, m := range v.Remediations {
		for _, id := range m.Products {
			switch m.Category {
			case "no_fix_planned":
				remedies[id] = converted{State: string(dossier.WontFix), Note: printable(m.Details)}
			case "none_available":
				remedies[id] = converted{State: string(dossier.Unfixed), Note: printable(m.Details)}
			}
		}
	}
	type key struct {
		product
		fixed, state string
	}
	made := map[key]affected{}
	add := func(ids []string, fix func(product) string, state dossier.FixState) {
		for _, id := range ids {
			p, ok := products[id]
			if !ok {
				continue
			}
			about := converted{Source: p.source, Stream: p.stream, State: string(state)}
			fixed := fix(p)
			if fixed == "" && state == "" {
				about.State, about.Note = remedies[id].State, remedies[id].Note
			}
			a := affected{Package: packageName{Ecosystem: p.ecosystem, Name: p.name}, Database: affectedSpecific{about}}
			if p.version != "" && fixed == "" && !strings.HasPrefix(p.ecosystem, "Red Hat") {
				a.Versions = []string{p.version}
			} else {
				a.Ranges = fixedIn(fixed)
			}
			made[key{p, fixed, about.State}] = a
		}
	}
	itself := func(p product) string { return p.version }
	none := func(product) string { return "" }
	add(slices.Concat(v.Status.Fixed, v.Status.FirstFixed), itself, "")
	add(v.Status.Affected, none, "")
	add(v.Status.NotAffected, func(product) string { return "0" }, "")
	add(v.Status.Investigating, none, dossier.Investigating)
	r.Affected = slices.SortedFunc(maps.Values(made), func(a, b affected) int { return strings.Compare(sortKey(a), sortKey(b)) })
}
