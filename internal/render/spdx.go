// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/origin"
)

const noAssertion = "NOASSERTION"

// SPDX writes a bill of materials as SPDX 2.3 in JSON. Equal images under equal
// names give equal bytes: it is dated as the image is, its namespace is made from
// its content, and which base images are known makes no difference.
// Image, layers and packages are SPDX packages that contain one another.
func SPDX(w io.Writer, s dossier.SBOM) error {
	created := s.Created
	if created.IsZero() {
		created = time.Unix(0, 0)
	}
	doc := &spdx.Document{
		SPDXVersion: spdx.Version, DataLicense: spdx.DataLicense, SPDXIdentifier: "DOCUMENT", DocumentName: s.Name,
		CreationInfo: &spdx.CreationInfo{
			Created:        created.UTC().Format(time.RFC3339),
			Creators:       []common.Creator{{CreatorType: "Tool", Creator: "dossier-" + s.Version}},
			CreatorComment: "Made from the bytes of the image's layers. The time is that of the image, so that equal images give equal documents.",
		},
		DocumentComment: missedComment(s),
	}
	const image = common.ElementID("Image")
	doc.Packages = append(doc.Packages, &spdx.Package{
		PackageName: s.Name, PackageSPDXIdentifier: image, PackageVersion: string(s.Digest), PrimaryPackagePurpose: "CONTAINER",
		PackageDownloadLocation: noAssertion, PackageChecksums: checksums(s.Digest), PackageExternalReferences: purlRef(imagePURL(s)),
		PackageComment: "manifest " + string(s.Manifest) + ", platform " + s.Platform,
	})
	relate(doc, "DOCUMENT", common.TypeRelationshipDescribe, image)
	if d := s.Distribution; d != nil {
		doc.Packages = append(doc.Packages, &spdx.Package{
			PackageName: d.ID, PackageSPDXIdentifier: "Distribution", PackageVersion: d.VersionID, PrimaryPackagePurpose: "OPERATING_SYSTEM",
			PackageDownloadLocation: noAssertion, PackageSummary: d.Name, PackageSourceInfo: "found in " + d.Path,
		})
		relate(doc, image, common.TypeRelationshipContains, "Distribution")
	}
	layers := map[dossier.Digest]common.ElementID{}
	for i, l := range s.Layers {
		if layers[l.Digest] != "" {
			continue
		}
		id := common.ElementID(fmt.Sprintf("Layer-%d", i))
		layers[l.Digest] = id
		p := &spdx.Package{
			PackageName: "layer " + l.Digest.Short(), PackageSPDXIdentifier: id, PackageVersion: string(l.Digest), PrimaryPackagePurpose: "ARCHIVE",
			PackageDownloadLocation: noAssertion, PackageChecksums: checksums(l.Digest), PackageComment: l.Instruction,
		}
		doc.Packages = append(doc.Packages, p)
		relate(doc, image, common.TypeRelationshipContains, id)
	}
	for group := range byPURL(s.Packages) {
		p := spdxPackage(group)
		doc.Packages = append(doc.Packages, p)
		var seen []dossier.Digest
		for _, at := range group {
			if id := layers[at.Layer]; id != "" && !contains(seen, at.Layer) {
				seen = append(seen, at.Layer)
				relate(doc, id, common.TypeRelationshipContains, p.PackageSPDXIdentifier)
			}
		}
	}
	doc.DocumentNamespace = ""
	var b bytes.Buffer
	if err := spdxjson.Write(doc, &b, spdxjson.EscapeHTML(false)); err != nil {
		return err
	}
	doc.DocumentNamespace = "https://dossier.dev/spdx/" + s.Manifest.Hex() + "-" + contentUUID(b.Bytes())
	return spdxjson.Write(doc, w, spdxjson.Indent("  "), spdxjson.EscapeHTML(false))
}

func contains(list []dossier.Digest, d dossier.Digest) bool {
	for _, have := range list {
		if have == d {
			return true
		}
	}
	return false
}

func relate(doc *spdx.Document, from common.ElementID, how string, to common.ElementID) {
	doc.Relationships = append(doc.Relationships, &spdx.Relationship{
		RefA: common.DocElementID{ElementRefID: from}, RefB: common.DocElementID{ElementRefID: to}, Relationship: how,
	})
}

// checksums is a digest as SPDX writes it.
func checksums(d dossier.Digest) []common.Checksum {
	algorithm := map[string]common.ChecksumAlgorithm{dossier.SHA256: common.SHA256, dossier.SHA512: common.SHA512}[d.Algorithm()]
	if algorithm == "" {
		return nil
	}
	return []common.Checksum{{Algorithm: algorithm, Value: d.Hex()}}
}

func purlRef(purl string) []*spdx.PackageExternalReference {
	if purl == "" {
		return nil
	}
	return []*spdx.PackageExternalReference{{Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: purl}}
}

// spdxPackage makes an SPDX package of packages with one package URL.
func spdxPackage(group []dossier.SBOMPackage) *spdx.Package {
	p := group[0]
	sum := sha256.Sum256([]byte(p.PURL))
	out := &spdx.Package{
		PackageName: p.Name, PackageSPDXIdentifier: common.ElementID("Package-" + hex.EncodeToString(sum[:8])), PackageVersion: p.Version,
		PackageDownloadLocation: noAssertion, PackageLicenseConcluded: noAssertion, PackageLicenseDeclared: noAssertion, PackageCopyrightText: noAssertion,
		PrimaryPackagePurpose: "LIBRARY", PackageExternalReferences: purlRef(p.PURL),
	}
	var places []string
	for _, at := range group {
		text := "found in layer " + string(at.Layer) + ", file " + at.Path
		if at.Owner != nil {
			text += ", installed by " + at.Owner.PURL
		}
		places = append(places, text)
		if at.License == "" || out.PackageLicenseDeclared != noAssertion || out.PackageLicenseComments != "" {
			continue
		}
		if origin.IsLicense(at.License) {
			out.PackageLicenseDeclared = at.License
		} else {
			out.PackageLicenseComments = "The package says: " + at.License
		}
	}
	out.PackageSourceInfo = strings.Join(places, "; ")
	if p.Source != "" {
		out.PackageComment = strings.TrimSpace("built from source package " + p.Source + " " + p.SourceVersion)
	}
	return out
}

func missedComment(s dossier.SBOM) string {
	var lines []string
	pairs := missedProperties(s)
	for i := 1; i < len(pairs); i += 2 {
		lines = append(lines, "Not read: "+pairs[i])
	}
	return strings.Join(lines, "\n")
}
