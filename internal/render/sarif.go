// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"dossier.dev/dossier"
)

// The parts of SARIF 2.1.0 that are written (OASIS, errata 01).
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Invocations []sarifInvocation `json:"invocations"`
		Results     []sarifResult     `json:"results"`
		Properties  map[string]any    `json:"properties,omitempty"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		Version        string      `json:"version,omitempty"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID         string         `json:"id"`
		Short      sarifText      `json:"shortDescription"`
		HelpURI    string         `json:"helpUri,omitempty"`
		Properties map[string]any `json:"properties,omitempty"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifInvocation struct {
		Successful    bool                `json:"executionSuccessful"`
		Notifications []sarifNotification `json:"toolExecutionNotifications,omitempty"`
	}
	sarifNotification struct {
		Level   string    `json:"level"`
		Message sarifText `json:"message"`
	}
	sarifResult struct {
		RuleID       string             `json:"ruleId"`
		RuleIndex    int                `json:"ruleIndex"`
		Level        string             `json:"level"`
		Message      sarifText          `json:"message"`
		Locations    []sarifLocation    `json:"locations"`
		Fingerprints map[string]string  `json:"partialFingerprints"`
		Suppressions []sarifSuppression `json:"suppressions,omitempty"`
		Properties   map[string]any     `json:"properties,omitempty"`
	}
	sarifLocation struct {
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   sarifRegion   `json:"region"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine int `json:"startLine"`
	}
	sarifLogical struct {
		FullyQualifiedName string `json:"fullyQualifiedName"`
		Kind               string `json:"kind"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Status        string `json:"status"`
		Justification string `json:"justification"`
	}
)

// SARIF writes findings as SARIF 2.1.0: each vulnerability is a rule, each
// finding a result, at the file that tells of the package. What is suppressed is
// there and says so. What could not be judged is a notification. version is that
// of this program. There is no time in it: equal lists give equal bytes.
func SARIF(w io.Writer, list dossier.FindingList, version string) error {
	rules := map[string]int{}
	run := sarifRun{
		Tool:        sarifTool{sarifDriver{Name: "dossier", Version: version, InformationURI: "https://dossier.dev", Rules: []sarifRule{}}},
		Invocations: []sarifInvocation{{Successful: true, Notifications: sarifNotifications(list)}},
		Results:     []sarifResult{},
		Properties:  map[string]any{"artifact": list.Artifact, "feeds": list.Feeds},
	}
	if list.Digest != "" {
		run.Properties["digest"] = list.Digest
	}
	add := func(f dossier.Finding, by []dossier.Triage) {
		i, ok := rules[f.ID]
		if !ok {
			i = len(run.Tool.Driver.Rules)
			rules[f.ID] = i
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRuleOf(f))
		}
		r := sarifResultOf(list, f)
		r.RuleIndex = i
		for _, t := range by {
			r.Suppressions = append(r.Suppressions, sarifSuppression{Kind: "external", Status: "accepted", Justification: triageText(t)})
		}
		run.Results = append(run.Results, r)
	}
	for _, f := range list.Findings {
		add(f, nil)
	}
	for _, s := range list.Suppressed {
		add(s.Finding, s.By)
	}
	return JSON(w, sarifLog{Schema: "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}})
}

// sarifNotifications says what was not judged.
func sarifNotifications(list dossier.FindingList) []sarifNotification {
	var out []sarifNotification
	warn := func(text string) {
		out = append(out, sarifNotification{Level: "warning", Message: sarifText{text}})
	}
	for _, line := range notAssessableLines(list.NotAssessable) {
		warn("not assessable: " + line)
	}
	for _, m := range list.Missed[:min(len(list.Missed), maxMissed)] {
		warn("not read: " + missedText(m))
	}
	if n := len(list.Missed) - maxMissed; n > 0 {
		warn(fmt.Sprintf("not read: and %d more", n))
	}
	for _, n := range list.Notes {
		warn(n)
	}
	return out
}

// sarifRuleOf describes a vulnerability. security-severity is what GitHub orders
// by.
func sarifRuleOf(f dossier.Finding) sarifRule {
	r := sarifRule{
		ID: f.ID, Short: sarifText{"known vulnerability " + f.ID}, HelpURI: "https://osv.dev/vulnerability/" + url.PathEscape(f.ID),
		Properties: map[string]any{"tags": []string{"security", "vulnerability"}},
	}
	if f.Severity != dossier.SeverityUnknown {
		r.Properties["security-severity"] = strconv.FormatFloat(securitySeverity(f), 'f', 1, 64)
	}
	if f.Vector != "" {
		r.Properties["cvss"] = f.Vector
	}
	if len(f.Aliases) > 0 {
		r.Properties["aliases"] = f.Aliases
	}
	return r
}

// securitySeverity is a number for the word, since the word goes before the
// score: of the score when that is rated the same, else the middle of its range.
func securitySeverity(f dossier.Finding) float64 {
	low, high := 0.0, 0.0
	switch f.Severity {
	case dossier.SeverityCritical:
		low, high = 9, 10
	case dossier.SeverityHigh:
		low, high = 7, 8.9
	case dossier.SeverityMedium:
		low, high = 4, 6.9
	case dossier.SeverityLow, dossier.SeverityNegligible:
		low, high = 0.1, 3.9
	}
	if f.Score >= low && f.Score <= high {
		return f.Score
	}
	return (low + high) / 2
}

func sarifLevel(s dossier.Severity) string {
	switch s {
	case dossier.SeverityCritical, dossier.SeverityHigh:
		return "error"
	case dossier.SeverityLow, dossier.SeverityNegligible:
		return "note"
	}
	return "warning"
}

func sarifResultOf(list dossier.FindingList, f dossier.Finding) sarifResult {
	text := fmt.Sprintf("%s %s has %s (%s)", f.Package.Name, f.Package.Version, f.ID, f.Severity)
	if f.FixedIn != "" {
		text += ": fixed in " + f.FixedIn
	} else {
		text += ": " + string(f.State)
	}
	if f.Remedy != nil {
		text += "; " + f.Remedy.Text
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{f.ID, f.Package.PURL, f.Package.Path}, "\x00")))
	properties := map[string]any{"purl": f.Package.PURL, "state": f.State, "fixedIn": f.FixedIn, "proof": f.Proof}
	if f.Package.Layer != "" {
		properties["layer"] = f.Package.Layer
	}
	return sarifResult{
		RuleID: f.ID, Level: sarifLevel(f.Severity), Message: sarifText{text},
		Locations: []sarifLocation{{
			Physical: sarifPhysical{sarifArtifact{fileURI(f.Package.Path, list.Artifact)}, sarifRegion{1}},
			Logical:  []sarifLogical{{FullyQualifiedName: f.Package.PURL, Kind: "package"}},
		}},
		Fingerprints: map[string]string{"finding/v1": hex.EncodeToString(sum[:16])},
		Properties:   properties,
	}
}

// fileURI is a path within the artifact as a relative URI, or the artifact
// itself where nothing tells of a file.
func fileURI(path, artifact string) string {
	if path == "" {
		path = artifact
	}
	escaped := (&url.URL{Path: "/" + strings.TrimLeft(path, "/")}).EscapedPath()[1:]
	return strings.ReplaceAll(escaped, ":", "%3A") // before a slash it would end a scheme
}
