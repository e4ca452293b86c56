// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"dossier.dev/dossier"
)

// CycloneDXVEX writes what is known of the findings of an artifact as a CycloneDX
// 1.6 document of vulnerabilities with their analysis: the same statements as
// OpenVEX makes. version is that of this program. Equal lists give equal bytes.
func CycloneDXVEX(w io.Writer, list dossier.FindingList, version string) error {
	root := vexRoot(list)
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{
		Timestamp: list.AsOf.UTC().Format(time.RFC3339),
		Tools:     &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "dossier", Version: version}}},
		Component: &root,
	}
	d := vexDocument{components: map[string]cdx.Component{}, at: map[string]int{}}
	for _, f := range list.Findings {
		d.add(f, statementOf(f))
	}
	for _, s := range list.Suppressed {
		d.add(s.Finding, statementOfSuppressed(s))
	}
	components := []cdx.Component{}
	for _, purl := range d.order {
		components = append(components, d.components[purl])
	}
	bom.Components, bom.Vulnerabilities = &components, &d.vulnerabilities
	encode := func(w io.Writer) error {
		return cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).EncodeVersion(bom, cdx.SpecVersion1_6)
	}
	var b bytes.Buffer
	if err := encode(&b); err != nil {
		return err
	}
	bom.SerialNumber = "urn:uuid:" + contentUUID(b.Bytes())
	return encode(w)
}

// vexRoot is what the document is about: an image by its digest, anything else by
// its name.
func vexRoot(list dossier.FindingList) cdx.Component {
	root := cdx.Component{BOMRef: "artifact", Type: cdx.ComponentTypeApplication, Name: cmp.Or(list.Artifact, "artifact")}
	if list.Digest == "" {
		return root
	}
	root.Type, root.Version = cdx.ComponentTypeContainer, string(list.Digest)
	if !dossier.IsLocal(list.Artifact) {
		root.PackageURL = imagePURL(dossier.SBOM{Name: list.Artifact, Digest: list.Digest})
	}
	if list.Digest.Algorithm() == dossier.SHA256 {
		root.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: list.Digest.Hex()}}
	}
	return root
}

// vexDocument gathers vulnerabilities, those together of which the same is said.
type vexDocument struct {
	vulnerabilities []cdx.Vulnerability
	at              map[string]int // by what is said
	components      map[string]cdx.Component
	order           []string // of components
}

func (d *vexDocument) add(f dossier.Finding, s openVEXStatement) {
	purl := f.Package.PURL
	if _, ok := d.components[purl]; !ok {
		c := cdx.Component{BOMRef: purl, Type: cdx.ComponentTypeLibrary, Version: f.Package.Version, PackageURL: purl}
		c.Group, c.Name = splitName(f.Package.Package)
		d.components[purl], d.order = c, append(d.order, purl)
	}
	v := cdx.Vulnerability{
		ID: f.ID, Source: &cdx.Source{Name: "OSV", URL: "https://osv.dev/vulnerability/" + f.ID}, Ratings: ratingsOf(f), Analysis: analysisOf(f, s),
	}
	if s.Status == "affected" {
		v.Recommendation = s.Action
	}
	if len(f.Aliases) > 0 {
		refs := make([]cdx.VulnerabilityReference, len(f.Aliases))
		for i, id := range f.Aliases {
			refs[i] = cdx.VulnerabilityReference{ID: id, Source: &cdx.Source{URL: "https://osv.dev/vulnerability/" + id}}
		}
		v.References = &refs
	}
	if f.Exploit != nil && !f.Exploit.KnownSince.IsZero() {
		v.Properties = properties("dossier:exploitedSince", f.Exploit.KnownSince.UTC().Format(time.DateOnly))
	}
	key := fmt.Sprint(v.ID, *v.Ratings, f.Aliases, v.Recommendation, *v.Analysis, *v.Analysis.Response)
	i, ok := d.at[key]
	if !ok {
		i = len(d.vulnerabilities)
		v.BOMRef = fmt.Sprintf("vulnerability-%d", i+1)
		v.Affects = &[]cdx.Affects{}
		d.at[key], d.vulnerabilities = i, append(d.vulnerabilities, v)
	}
	affects := d.vulnerabilities[i].Affects
	if !slices.ContainsFunc(*affects, func(a cdx.Affects) bool { return a.Ref == purl }) { // at several places
		*affects = append(*affects, cdx.Affects{Ref: purl})
	}
}

// ratingsOf is the severity, with the vector that it follows from where there is one.
func ratingsOf(f dossier.Finding) *[]cdx.VulnerabilityRating {
	r := cdx.VulnerabilityRating{Severity: cdx.Severity(f.Severity), Vector: f.Vector}
	switch f.Severity {
	case dossier.SeverityNegligible: // the word that CycloneDX has below "low"
		r.Severity = cdx.SeverityInfo
	case "":
		r.Severity = cdx.SeverityUnknown
	}
	if f.Score > 0 {
		r.Score = &f.Score
	}
	switch {
	case f.Vector == "":
	case strings.HasPrefix(f.Vector, "CVSS:4."):
		r.Method = cdx.ScoringMethodCVSSv4
	case strings.HasPrefix(f.Vector, "CVSS:3.1"):
		r.Method = cdx.ScoringMethodCVSSv31
	case strings.HasPrefix(f.Vector, "CVSS:3."):
		r.Method = cdx.ScoringMethodCVSSv3
	case strings.HasPrefix(f.Vector, "AV:"):
		r.Method = cdx.ScoringMethodCVSSv2
	default:
		r.Method = cdx.ScoringMethodOther
	}
	return &[]cdx.VulnerabilityRating{r}
}

// analysisOf writes a statement in the words of CycloneDX.
func analysisOf(f dossier.Finding, s openVEXStatement) *cdx.VulnerabilityAnalysis {
	a := &cdx.VulnerabilityAnalysis{Detail: strings.Join(slices.DeleteFunc([]string{s.Impact, s.Notes}, func(t string) bool { return t == "" }), "; "), Response: &[]cdx.ImpactAnalysisResponse{}}
	switch s.Status {
	case "not_affected":
		a.State = cdx.IASNotAffected
		switch s.Justification {
		case "component_not_present", "vulnerable_code_not_present":
			a.Justification = cdx.IAJCodeNotPresent
		case "vulnerable_code_not_in_execute_path":
			a.Justification = cdx.IAJCodeNotReachable
		case "inline_mitigations_already_exist":
			a.Justification = cdx.IAJProtectedByMitigatingControl
		}
	case "fixed":
		a.State = cdx.IASResolved
	case "under_investigation":
		a.State = cdx.IASInTriage
	default:
		a.State = cdx.IASExploitable
		switch f.State {
		case dossier.Fixable:
			*a.Response = append(*a.Response, cdx.IARUpdate)
		case dossier.WontFix:
			*a.Response = append(*a.Response, cdx.IARWillNotFix)
		case dossier.Unfixed, dossier.EndOfLife:
			*a.Response = append(*a.Response, cdx.IARCanNotFix)
		}
	}
	return a
}
