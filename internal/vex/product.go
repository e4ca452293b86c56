// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"path"
	"slices"
	"strings"

	"github.com/package-url/packageurl-go"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/match"
)

// Subject is the artifact that has the findings.
type Subject struct {
	Digests   []dossier.Digest // of the image: its index and its manifest; none: it is no image
	Names     []string         // registry and repository, under which it is known
	Tags      []string
	Platforms []string // "linux/amd64"
}

// isImage reports whether a package URL is one of an image.
func isImage(purl string) bool {
	return strings.HasPrefix(purl, "pkg:oci/") || strings.HasPrefix(purl, "pkg:docker/")
}

// covers reports whether a product is, or is in, the artifact, and the finding's
// package is what it names.
func (p Product) covers(s Subject, f dossier.Finding) bool {
	if p.Ecosystem != "" && p.Ecosystem != match.NormalEcosystem(f.Package.Ecosystem) {
		return false
	}
	if !p.Image.IsZero() && !p.Image.names(s) {
		// Who makes a package may name it as the product, too.
		if isImage(p.Image.PURL) || p.Image.PURL == "" || !samePackage(p.Image.PURL, f.Package.Package, nil) {
			return false
		}
	}
	if p.Component.IsZero() {
		return !p.Image.IsZero() && len(p.Versions) == 0
	}
	return p.Component.PURL != "" && samePackage(p.Component.PURL, f.Package.Package, p.Versions)
}

// names reports whether an identifier is that of the artifact. Of a digest and a
// package URL each that is there must be its.
func (i Identifier) names(s Subject) bool {
	if i.Digest != "" && !slices.Contains(s.Digests, i.Digest) {
		return false
	}
	if i.PURL == "" {
		return i.Digest != ""
	}
	if !isImage(i.PURL) {
		return false
	}
	u, err := packageurl.FromString(i.PURL)
	if err != nil || len(s.Digests) == 0 {
		return false
	}
	return matchesImage(u, s, i.Digest != "")
}

// matchesImage compares a package URL of the type oci or docker with an image.
// What it leaves out may be anything; sure says that the digest was compared.
func matchesImage(u packageurl.PackageURL, s Subject, sure bool) bool {
	if u.Version != "" {
		d, err := dossier.ParseDigest(u.Version)
		switch {
		case err == nil && !slices.Contains(s.Digests, d):
			return false
		case err == nil:
			sure = true
		case !slices.Contains(s.Tags, u.Version): // type docker: a tag
			return false
		}
	}
	q := u.Qualifiers.Map()
	if tag := q["tag"]; tag != "" && !slices.Contains(s.Tags, tag) {
		return false
	}
	if arch := q["arch"]; arch != "" && !slices.ContainsFunc(s.Platforms, func(platform string) bool {
		_, of, _ := strings.Cut(platform, "/")
		return of == arch || strings.HasPrefix(of, arch+"/")
	}) {
		return false
	}
	if sure && q["repository_url"] == "" {
		return true // the same bytes, whatever they are called
	}
	return slices.ContainsFunc(s.Names, func(name string) bool { return calledSo(u, q["repository_url"], name) })
}

// calledSo reports whether a repository is the one that a package URL names.
func calledSo(u packageurl.PackageURL, repositoryURL, name string) bool {
	want := u.Name
	if u.Namespace != "" {
		want = u.Namespace + "/" + u.Name
	}
	if !strings.EqualFold(path.Base(name), path.Base(want)) {
		return false
	}
	if repositoryURL == "" {
		return u.Namespace == "" || strings.HasSuffix(strings.ToLower(name), "/"+strings.ToLower(want))
	}
	url := strings.ToLower(strings.TrimSuffix(repositoryURL, "/"))
	for _, scheme := range []string{"https://", "http://"} {
		url = strings.TrimPrefix(url, scheme)
	}
	ref, err := dossier.ParseReference(url)
	if err == nil && strings.EqualFold(ref.Name(), name) {
		return true
	}
	// Some write where the repository lies, without its own name.
	ref, err = dossier.ParseReference(url + "/" + strings.ToLower(want))
	return err == nil && strings.EqualFold(ref.Name(), name)
}

// samePackage reports whether a package URL names a package, or for a package of
// a distribution what it was built from. What the URL leaves out may be anything;
// versions, if any, are those that are meant.
func samePackage(purl string, p dossier.Package, versions []string) bool {
	want, err := packageurl.FromString(purl)
	if err != nil {
		return false
	}
	have, err := packageurl.FromString(p.PURL)
	if err != nil || want.Type != have.Type || !sameNamespace(want, have) {
		return false
	}
	wanted := want.Qualifiers.Map()
	version, epoch := have.Version, have.Qualifiers.Map()["epoch"]
	switch {
	case isSource(wanted["arch"]):
		if p.Source == "" || want.Name != p.Source {
			return false
		}
		if p.SourceVersion != "" {
			version, epoch = p.SourceVersion, ""
		}
		delete(wanted, "arch")
	case want.Name == have.Name:
	case p.Source != "" && want.Name == p.Source && wanted["arch"] == "" && ofDistribution(want.Type):
		if p.SourceVersion != "" {
			version, epoch = p.SourceVersion, ""
		}
	default:
		return false
	}
	if len(versions) > 0 && !slices.ContainsFunc(versions, func(v string) bool { return sameVersion(v, "", version, epoch) }) {
		return false
	}
	if want.Version != "" && !sameVersion(want.Version, wanted["epoch"], version, epoch) {
		return false
	}
	return sameQualifiers(wanted, have.Qualifiers.Map(), want.Type)
}

func isSource(arch string) bool { return arch == "source" || arch == "src" }

func ofDistribution(kind string) bool { return slices.Contains([]string{"deb", "apk", "rpm"}, kind) }

// sameNamespace compares namespaces. Which vendor builds a distribution's package
// may be left out; for others the namespace is a part of the name.
func sameNamespace(want, have packageurl.PackageURL) bool {
	return strings.EqualFold(want.Namespace, have.Namespace) || want.Namespace == "" && ofDistribution(want.Type)
}

// sameVersion compares versions as they are written, but for an epoch, which may
// be a qualifier, and the v in front of Go's.
func sameVersion(a, epochA, b, epochB string) bool {
	normal := func(version, epoch string) string {
		if epoch != "" && !strings.Contains(version, ":") {
			version = epoch + ":" + version
		}
		return strings.TrimPrefix(strings.TrimPrefix(version, "0:"), "v")
	}
	return normal(a, epochA) == normal(b, epochB)
}

// sameQualifiers wants each qualifier of a URL that tells packages apart to be the
// same, when the package has it.
func sameQualifiers(want, have map[string]string, kind string) bool {
	for name, value := range want {
		switch name {
		case "epoch", "upstream", "vcs_url", "download_url", "checksum", "file_name", "repository_url":
			continue // it is compared with the version, or tells where it was found
		case "distro":
			if !sameDistro(value, have[name]) {
				return false
			}
			continue
		}
		if have[name] != value && (have[name] != "" || !ofDistribution(kind)) {
			return false
		}
	}
	return true
}

// sameDistro compares releases: "debian-12" is "debian-12.5", and "bookworm" may be
// anything, since nothing here says what it is.
func sameDistro(want, have string) bool {
	return have != "" && (want == have || strings.HasPrefix(have, want+".") || strings.HasPrefix(want, have+"."))
}
