// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"io"
	"strings"
	"time"

	"dossier.dev/dossier"
)

// Explanation writes why packages have a vulnerability, or do not. replayed says
// of each what judging it again gave, in the same order.
func Explanation(w io.Writer, e dossier.Explanation, replayed []string, opt Options) error {
	var b strings.Builder
	if len(e.Packages) == 0 {
		fmt.Fprintf(&b, "%s: no advisory of it names a package of %s\n", Clean(e.Vulnerability), Clean(e.Artifact))
	}
	for i, p := range e.Packages {
		if i > 0 {
			b.WriteByte('\n')
		}
		title, style := fmt.Sprintf("%s does not concern %s %s", e.Vulnerability, p.Package.Name, p.Package.Version), styleGood
		if p.Finding != nil {
			title, style = fmt.Sprintf("%s concerns %s %s", p.Finding.ID, p.Package.Name, p.Package.Version), styleBad
		}
		b.WriteString(paint(Clean(title), style, opt) + "\n")
		fields := [][2]string{{"package", Clean(p.Package.PURL)}, {"found in", Clean(p.Package.Path) + ", layer " + Clean(p.Package.Layer.Short())}}
		if f := p.Finding; f != nil {
			fields = append(fields, [2]string{"severity", strings.TrimSpace(string(f.Severity) + " " + Clean(f.Vector))})
			fields = append(fields, [2]string{"also called", cleanLines(f.Aliases)}, [2]string{"fixed in", orState(f)}, [2]string{"known since", p.Since.UTC().Format(time.RFC3339)})
		}
		for _, v := range p.Verdicts {
			fields = append(fields, [2]string{Clean(v.Advisory), Clean(verdictText(v)) + "\n" + recordText(p.Records, v)})
		}
		fields = append(fields, [2]string{"judged again", replayed[i]})
		writeFields(&b, "  ", fields)
	}
	_, err := io.WriteString(w, trimLines(b.String()))
	return err
}

// orState is the version to update to, or why there is none.
func orState(f *dossier.Finding) string {
	if f.FixedIn != "" {
		return Clean(f.FixedIn)
	}
	return "(" + string(f.State) + ")"
}

// verdictText says what an advisory means, and by which of its events.
func verdictText(v dossier.Verdict) string {
	p := v.Proof
	text := v.Reason
	switch {
	case p.Version == "":
		return text
	case p.Listed:
		return fmt.Sprintf("%s: it lists %s", text, p.Version)
	}
	text += fmt.Sprintf(": %s %s %s", p.Ecosystem, p.Name, p.Version)
	if p.Introduced != "" {
		text += ", vulnerable since " + p.Introduced
	}
	switch {
	case p.Fixed != "":
		text += ", fixed in " + p.Fixed
	case p.LastAffected != "":
		text += ", last affected " + p.LastAffected
	}
	return text
}

// recordText names the bytes that say so.
func recordText(records []dossier.Original, v dossier.Verdict) string {
	for _, r := range records {
		if r.SHA256 == v.Proof.SHA256 {
			return fmt.Sprintf("%s, %d bytes, of feed %s", r.SHA256, len(r.Bytes), Clean(r.Feed))
		}
	}
	return string(v.Proof.SHA256)
}
