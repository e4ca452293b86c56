// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/advisory"
	"dossier.dev/dossier/internal/match"
)

// Replayed is what judging again gave.
type Replayed struct {
	Finding  *dossier.Finding // nil: the package does not have the vulnerability
	Verdicts []dossier.Verdict
	// Differs says in what that differs from what was explained; empty: in nothing.
	Differs string
}

// Replay judges a package again, from the bytes of the advisories that explain it
// and from nothing else. KindCorrupt: the bytes are not those that they are said
// to be.
func Replay(e dossier.ExplainedPackage) (Replayed, error) {
	var list []dossier.Advisory
	for _, r := range e.Records {
		if !r.SHA256.Matches(r.Bytes) {
			return Replayed{}, dossier.Errorf(dossier.KindCorrupt, "judging again", r.ID, fmt.Sprintf("its bytes are not those of %s", r.SHA256))
		}
		a, err := advisory.Parse(r.Bytes, advisory.Limits{})
		if err != nil {
			return Replayed{}, err
		}
		a.Feed = r.Feed
		list = append(list, a)
	}
	var out Replayed
	wanted := map[string]bool{}
	for _, v := range e.Verdicts {
		wanted[verdictKey(v.Advisory, v.Names)] = true
	}
	for _, v := range match.Verdicts(e.Package.Package, list) {
		if wanted[verdictKey(v.Advisory, v.Names)] {
			out.Verdicts = append(out.Verdicts, dossier.Verdict{Advisory: v.Advisory, Names: v.Names, Reason: string(v.Reason), Proof: v.Proof})
		}
	}
	for _, f := range match.Match(e.Package.Package, list).Findings {
		if slices.ContainsFunc(out.Verdicts, func(v dossier.Verdict) bool { return slices.Contains(v.Names, f.ID) }) {
			out.Finding = &f
		}
	}
	out.Differs = out.compare(e)
	return out, nil
}

func verdictKey(advisory string, names []string) string { return fmt.Sprint(advisory, names) }

// compare says in what the replay differs from what was explained.
func (r Replayed) compare(e dossier.ExplainedPackage) string {
	switch {
	case !sameJSON(append([]dossier.Verdict{}, r.Verdicts...), append([]dossier.Verdict{}, e.Verdicts...)):
		return "the verdicts differ"
	case (r.Finding == nil) != (e.Finding == nil):
		return "what is kept says the opposite"
	case r.Finding == nil:
		return ""
	}
	a, b := *r.Finding, *e.Finding
	a.Package, b.Package, a.Exploit, b.Exploit = dossier.PackageAt{}, dossier.PackageAt{}, nil, nil
	if !sameJSON(a, b) {
		return "the finding differs"
	}
	return ""
}

func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
