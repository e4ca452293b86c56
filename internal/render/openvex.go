// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
)

// The parts of OpenVEX 0.2.0 that are written.
type (
	openVEX struct {
		Context    string             `json:"@context"`
		ID         string             `json:"@id"`
		Author     string             `json:"author"`
		Timestamp  time.Time          `json:"timestamp"`
		Version    int                `json:"version"`
		Tooling    string             `json:"tooling,omitempty"`
		Statements []openVEXStatement `json:"statements"`
	}
	// A statement that something is not affected has a justification or an impact
	// statement: the published schema allows no more than one.
	openVEXStatement struct {
		Vulnerability openVEXVulnerability `json:"vulnerability"`
		Products      []openVEXProduct     `json:"products"`
		Status        string               `json:"status"`
		Justification string               `json:"justification,omitempty"`
		Impact        string               `json:"impact_statement,omitempty"`
		Action        string               `json:"action_statement,omitempty"`
		Notes         string               `json:"status_notes,omitempty"`
	}
	openVEXVulnerability struct {
		ID      string   `json:"@id"`
		Name    string   `json:"name"`
		Aliases []string `json:"aliases,omitempty"`
	}
	openVEXProduct struct {
		ID            string             `json:"@id"`
		Hashes        map[string]string  `json:"hashes,omitempty"`
		Subcomponents []openVEXComponent `json:"subcomponents,omitempty"`
	}
	openVEXComponent struct {
		ID string `json:"@id"`
	}
)

// OpenVEX writes what is known of the findings of an artifact as an OpenVEX
// document: what is affected and what to do, what others say is not and why, and
// programs that do not hold what is vulnerable. version is that of this program.
// Equal lists give equal bytes.
func OpenVEX(w io.Writer, list dossier.FindingList, author, version string) error {
	doc := openVEX{
		Context: "https://openvex.dev/ns/v0.2.0", Author: cmp.Or(author, "dossier"), Timestamp: list.AsOf.UTC(), Version: 1,
		Tooling: strings.TrimSpace("dossier " + version), Statements: []openVEXStatement{},
	}
	seen := map[string]bool{}
	add := func(f dossier.Finding, s openVEXStatement) {
		s.Vulnerability = openVEXVulnerability{ID: "https://osv.dev/vulnerability/" + f.ID, Name: f.ID, Aliases: f.Aliases}
		s.Products = []openVEXProduct{productOf(list, f)}
		if key := fmt.Sprint(s); !seen[key] { // the same package at several places
			seen[key] = true
			doc.Statements = append(doc.Statements, s)
		}
	}
	for _, f := range list.Findings {
		add(f, statementOf(f))
	}
	for _, s := range list.Suppressed {
		add(s.Finding, statementOfSuppressed(s))
	}
	b, err := marshal(doc)
	if err != nil {
		return err
	}
	doc.ID = "https://dossier.dev/vex/" + contentUUID(b)
	return JSON(w, doc)
}

// productOf is the package within the image, or the package alone when nothing
// names the artifact.
func productOf(list dossier.FindingList, f dossier.Finding) openVEXProduct {
	if list.Digest == "" {
		return openVEXProduct{ID: f.Package.PURL}
	}
	p := openVEXProduct{ID: string(list.Digest), Subcomponents: []openVEXComponent{{f.Package.PURL}}}
	if !dossier.IsLocal(list.Artifact) {
		p.ID = cmp.Or(imagePURL(dossier.SBOM{Name: list.Artifact, Digest: list.Digest}), p.ID)
	}
	if list.Digest.Algorithm() == dossier.SHA256 {
		p.Hashes = map[string]string{"sha-256": list.Digest.Hex()}
	}
	return p
}

// statementOf is what this program itself says of a finding.
func statementOf(f dossier.Finding) openVEXStatement {
	switch {
	case f.Symbols == dossier.SymbolsAbsent:
		return openVEXStatement{Status: "not_affected", Justification: "vulnerable_code_not_present",
			Notes: "The program is linked from the vulnerable package, but holds none of its vulnerable functions."}
	case f.State == dossier.Investigating:
		return openVEXStatement{Status: "under_investigation", Notes: strings.Join(f.Notes, "; ")}
	}
	return openVEXStatement{Status: "affected", Action: actionOf(f), Notes: strings.Join(f.Notes, "; ")}
}

func actionOf(f dossier.Finding) string {
	if f.Remedy != nil {
		return f.Remedy.Text
	}
	if f.FixedIn != "" {
		return fmt.Sprintf("Update %s to %s.", f.Package.Name, f.FixedIn)
	}
	return fmt.Sprintf("There is no version to update %s to (%s).", f.Package.Name, f.State)
}

// statementOfSuppressed passes on what others say. What is only ignored is still
// affected.
func statementOfSuppressed(s dossier.Suppressed) openVEXStatement {
	t := s.By[0]
	switch {
	case t.Status == "not_affected" && slices.Contains(justifications(), t.Justification):
		return openVEXStatement{Status: t.Status, Justification: t.Justification, Notes: "As " + triageText(t)}
	case t.Status == "not_affected":
		return openVEXStatement{Status: t.Status, Impact: cmp.Or(t.Reason, t.Justification, "no reason is given"), Notes: "As " + triageText(t)}
	case t.Status == "fixed":
		return openVEXStatement{Status: t.Status, Notes: "As " + triageText(t)}
	}
	return openVEXStatement{Status: "affected", Action: actionOf(s.Finding), Notes: "As " + triageText(t)}
}

// justifications are those that OpenVEX knows.
func justifications() []string {
	return []string{
		"component_not_present", "vulnerable_code_not_present", "vulnerable_code_not_in_execute_path",
		"vulnerable_code_cannot_be_controlled_by_adversary", "inline_mitigations_already_exist",
	}
}
