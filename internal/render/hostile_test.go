// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"io"
	"strings"
	"testing"
	"time"
	"unicode"

	"dossier.dev/dossier"
)

// TestNothingReachesTheTerminal: whatever images, clusters and servers say, no
// control character is printed, and no text can pass for a line of its own.
func TestNothingReachesTheTerminal(t *testing.T) {
	const evil = "x\x1b[2J\r\n\u009b2J\u202e\x7fFORGED"
	d := dossier.Digest("sha256:\x1b[2J\n\u202eFORGED")
	a := dossier.Answer{Status: evil, Grade: dossier.GradeClaimed, Summary: evil, Next: evil, Details: map[string][]dossier.Value{
		"name": {{Value: evil}, {Value: []any{evil}}, {Value: map[string]any{evil: evil}}}, evil: {{Value: 1.5}},
	}, Evidence: []dossier.Citation{{ID: d, Kind: evil, Source: evil, Summary: evil}}}
	running := []dossier.Running{{Workload: dossier.Workload{Cluster: evil, Namespace: evil, Kind: evil, Name: evil}, Container: evil, Type: evil, Pods: 1}}
	image := dossier.Dossier{
		Digest: d, MediaType: evil, Platforms: []dossier.PlatformImage{{Platform: evil, Manifest: d}},
		Requested: []string{evil, evil}, References: []string{evil}, Running: running,
		Answers: dossier.Answers{What: a, Origin: a, Rebuild: a, Vulnerabilities: a, Currency: a},
	}
	tests := map[string]func(io.Writer, Options) error{
		"images": func(w io.Writer, o Options) error {
			return Images(w, dossier.ImageList{Images: []dossier.Dossier{image}}, o)
		},
		"dossier": func(w io.Writer, o Options) error { return Dossier(w, image, o) },
		"history": func(w io.Writer, o Options) error {
			return History(w, dossier.History{
				Tags:   []dossier.TagInterval{{Name: evil, Tag: evil, Digest: d, From: time.Unix(0, 0)}},
				Layers: []dossier.LayerStep{{Platform: evil, Instruction: evil, Layer: d, Base: evil}},
			}, o)
		},
		"sbom": func(w io.Writer, o Options) error {
			p := dossier.SBOMPackage{PackageAt: dossier.PackageAt{Package: dossier.Package{PURL: evil, Type: evil, Name: evil, Version: evil}, Layer: d, Path: evil}, License: evil, Base: evil}
			return SBOM(w, dossier.SBOM{Packages: []dossier.SBOMPackage{p}, Missed: []dossier.Missed{{Layer: d, Path: evil, Detail: evil}}, Attached: []dossier.BillDiff{
				{AttachedBill: dossier.AttachedBill{Document: d, How: evil, Format: evil, Tools: []string{evil}}, Missing: []string{evil}, Extra: []string{evil}, Otherwise: []string{evil}},
				{AttachedBill: dossier.AttachedBill{How: evil, Problem: evil}}}}, o)
		},
		"found": func(w io.Writer, o Options) error {
			return Found(w, dossier.FoundList{Found: []dossier.Found{{Digest: d, Field: evil, Match: evil, References: []string{evil}, Running: running}}}, o)
		},
	}
	kept := dossier.KeptIn{Repository: evil, Kind: evil, Reasons: []dossier.KeepReason{{Kind: evil, Text: evil}}, Goes: &dossier.Going{Rule: evil}}
	for name, bytes := range map[string]dossier.Bytes{
		"condemned": {CondemnedAt: time.Unix(9, 0), Reason: evil}, "damaged": {Damage: evil}, "whole": {CheckedAt: time.Unix(9, 0)},
	} {
		tests[name] = func(w io.Writer, o Options) error {
			k := dossier.Keeping{Digest: d, Repositories: []dossier.KeptIn{kept}, Bytes: &bytes, Deleted: []dossier.Deleted{{Repository: evil, By: evil, Reason: evil}}}
			return Keeping(w, k, o)
		}
	}
	tests["collection"] = func(w io.Writer, o Options) error {
		return Collection(w, dossier.Collection{Items: []dossier.Collected{
			{Kind: evil, Repository: evil, Tag: evil, Rule: evil}, {Kind: dossier.HeldBytes, Digest: d, Size: -1, Rule: evil},
		}}, o)
	}
	for name, write := range tests {
		for _, opt := range []Options{{}, {Wide: true}, {Width: 40}, {Width: 200}} {
			var b strings.Builder
			if err := write(&b, opt); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(b.String()) {
				line = strings.TrimSuffix(line, "\n")
				if i := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
					t.Errorf("%s %+v: %q is printed", name, opt, line)
				}
				if strings.HasPrefix(strings.TrimSpace(line), "FORGED") {
					t.Errorf("%s %+v: a line was forged", name, opt)
				}
			}
		}
	}
}
