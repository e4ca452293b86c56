// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/origin"
)

// CycloneDX writes a bill of materials as CycloneDX 1.6. Equal images under equal
// names give equal bytes: there is no time in it, its serial number is made from
// its content, and which base images are known makes no difference.
// A component is a package URL; where it was found is in its evidence.
func CycloneDX(w io.Writer, s dossier.SBOM) error {
	root := cdx.Component{
		BOMRef: string(s.Manifest), Type: cdx.ComponentTypeContainer, Name: s.Name, Version: string(s.Digest), PackageURL: imagePURL(s),
		Properties: properties("dossier:manifest", string(s.Manifest), "dossier:platform", s.Platform),
	}
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{
		Tools:      &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "dossier", Version: s.Version}}},
		Component:  &root,
		Properties: properties(missedProperties(s)...),
	}
	components := []cdx.Component{}
	if d := s.Distribution; d != nil {
		components = append(components, cdx.Component{
			BOMRef: "distribution", Type: cdx.ComponentTypeOS, Name: d.ID, Version: d.VersionID, Description: d.Name,
			Properties: properties("dossier:ecosystem", d.Ecosystem),
		})
	}
	for group := range byPURL(s.Packages) {
		components = append(components, componentOf(group))
	}
	bom.Components = &components
	aggregate := cdx.CompositionAggregateUnknown
	if len(s.Missed) > 0 {
		aggregate = cdx.CompositionAggregateIncomplete
	}
	bom.Compositions = &[]cdx.Composition{{Aggregate: aggregate, Assemblies: &[]cdx.BOMReference{cdx.BOMReference(root.BOMRef)}}}
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

// byPURL yields packages with equal package URLs together; they are in that
// order.
func byPURL(packages []dossier.SBOMPackage) func(yield func([]dossier.SBOMPackage) bool) {
	return func(yield func([]dossier.SBOMPackage) bool) {
		for len(packages) > 0 {
			n := 1
			for n < len(packages) && packages[n].PURL == packages[0].PURL {
				n++
			}
			if !yield(packages[:n]) {
				return
			}
			packages = packages[n:]
		}
	}
}

// componentOf makes a component of packages with one package URL.
func componentOf(group []dossier.SBOMPackage) cdx.Component {
	p := group[0]
	c := cdx.Component{BOMRef: p.PURL, Type: cdx.ComponentTypeLibrary, Name: p.Name, Version: p.Version, PackageURL: p.PURL, Publisher: p.Vendor}
	c.Group, c.Name = splitName(p.Package)
	var occurrences []cdx.EvidenceOccurrence
	list := []string{"dossier:ecosystem", p.Ecosystem, "dossier:source", p.Source, "dossier:sourceVersion", p.SourceVersion, "dossier:module", p.Module}
	for _, at := range group {
		occurrences = append(occurrences, cdx.EvidenceOccurrence{Location: at.Path, AdditionalContext: "layer " + string(at.Layer)})
		owner := ""
		if at.Owner != nil {
			owner = at.Owner.PURL
		}
		for _, more := range [][2]string{{"dossier:layer", string(at.Layer)}, {"dossier:owner", owner}} {
			if !hasProperty(list, more) {
				list = append(list, more[0], more[1])
			}
		}
		if c.Licenses == nil {
			c.Licenses = licensesOf(at.License)
		}
	}
	c.Evidence = &cdx.Evidence{Occurrences: &occurrences}
	c.Properties = properties(list...)
	return c
}

func hasProperty(list []string, p [2]string) bool {
	for i := 0; i+1 < len(list); i += 2 {
		if list[i] == p[0] && list[i+1] == p[1] {
			return true
		}
	}
	return false
}

// splitName parts a name into group and name as CycloneDX has them.
func splitName(p dossier.Package) (group, name string) {
	switch p.Type {
	case "maven":
		if i := strings.IndexByte(p.Name, ':'); i >= 0 {
			return p.Name[:i], p.Name[i+1:]
		}
	case "npm", "composer":
		if i := strings.IndexByte(p.Name, '/'); i >= 0 {
			return p.Name[:i], p.Name[i+1:]
		}
	}
	return "", p.Name
}

// licensesOf writes what a package says of its licence: an expression where it
// is one, else the words as they are.
func licensesOf(s string) *cdx.Licenses {
	switch {
	case s == "":
		return nil
	case origin.IsLicense(s):
		return &cdx.Licenses{{Expression: s}}
	}
	return &cdx.Licenses{{License: &cdx.License{Name: s}}}
}

// properties makes a list of names and values in turn, without empty values.
func properties(pairs ...string) *[]cdx.Property {
	var out []cdx.Property
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			out = append(out, cdx.Property{Name: pairs[i], Value: pairs[i+1]})
		}
	}
	if out == nil {
		return nil
	}
	return &out
}

// maxMissed bounds how much of what was not read a document of another format
// lists.
const maxMissed = 100

func missedProperties(s dossier.SBOM) []string {
	var out []string
	for _, m := range s.Missed[:min(len(s.Missed), maxMissed)] {
		out = append(out, "dossier:missed", missedText(m))
	}
	if n := len(s.Missed) - maxMissed; n > 0 {
		out = append(out, "dossier:missed", fmt.Sprintf("and %d more", n))
	}
	return out
}

// missedText says in a line what was not read, and why.
func missedText(m dossier.Missed) string {
	var where []string
	if m.Layer != "" {
		where = append(where, "layer "+m.Layer.Short())
	}
	if m.Path != "" {
		where = append(where, m.Path)
	}
	return strings.TrimPrefix(strings.Join(where, ", ")+": "+m.Detail, ": ")
}

// contentUUID is a UUID of version 8 (RFC 9562) made from bytes.
func contentUUID(b []byte) string {
	sum := sha256.Sum256(b)
	u := sum[:16]
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// imagePURL is the package URL of an image (purl specification, type oci).
func imagePURL(s dossier.SBOM) string {
	ref, err := dossier.ParseReference(s.Name)
	if err != nil {
		return ""
	}
	name := ref.Repository[strings.LastIndexByte(ref.Repository, '/')+1:]
	digest := strings.Replace(string(s.Digest), ":", "%3A", 1)
	query := []string{"repository_url=" + strings.ToLower(ref.Name())}
	if _, arch, ok := strings.Cut(s.Platform, "/"); ok {
		query = append(query, "arch="+strings.ReplaceAll(arch, "/", "%2F"))
	}
	slices.Sort(query)
	return "pkg:oci/" + name + "@" + digest + "?" + strings.Join(query, "&")
}
