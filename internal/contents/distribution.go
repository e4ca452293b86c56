// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"strconv"
	"strings"

	"github.com/package-url/packageurl-go"

	"dossier.dev/dossier"
)

// osvDistribution names a distribution and its release as OSV does (OSV schema,
// "Defined ecosystems"), or "" when OSV does not know it or the release is not
// told.
func osvDistribution(r dossier.Distribution) string {
	major, rest, _ := strings.Cut(r.VersionID, ".")
	minor, _, _ := strings.Cut(rest, ".")
	switch r.ID {
	case "wolfi":
		return "Wolfi"
	case "chainguard":
		return "Chainguard"
	case "minimos":
		return "MinimOS"
	}
	if !isNumber(major) {
		return ""
	}
	switch r.ID {
	case "alpine":
		if minor != "" && !strings.ContainsAny(r.VersionID, "_") {
			return "Alpine:v" + major + "." + minor
		}
	case "debian":
		return "Debian:" + major
	case "ubuntu":
		return ubuntu(r)
	case "almalinux":
		return "AlmaLinux:" + major
	case "rocky":
		return "Rocky Linux:" + major
	case "photon":
		return "Photon OS:" + r.VersionID
	case "mageia":
		return "Mageia:" + major
	case "azurelinux", "mariner":
		return "Azure Linux:" + major
	case "openeuler":
		return "openEuler:" + r.VersionID
	case "opensuse-leap":
		return "openSUSE:Leap " + r.VersionID
	case "sles":
		if rest != "" {
			return "SUSE:Linux Enterprise Server " + major + " SP" + minor
		}
		return "SUSE:Linux Enterprise Server " + major
	case "rhel":
		return "Red Hat:" + major
	}
	return ""
}

// ubuntu names a release of Ubuntu: every second April's is supported for long.
func ubuntu(r dossier.Distribution) string {
	year, month, _ := strings.Cut(r.VersionID, ".")
	n, err := strconv.Atoi(year)
	if err == nil && n%2 == 0 && month == "04" {
		return "Ubuntu:" + r.VersionID + ":LTS"
	}
	return "Ubuntu:" + r.VersionID
}

func isNumber(s string) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

// ecosystems are OSV's names for types of packages that no distribution has.
func languageEcosystem(kind string) string {
	switch kind {
	case "golang":
		return "Go"
	case "npm":
		return "npm"
	case "pypi":
		return "PyPI"
	case "maven":
		return "Maven"
	case "gem":
		return "RubyGems"
	case "cargo":
		return "crates.io"
	case "composer":
		return "Packagist"
	case "nuget":
		return "NuGet"
	}
	return ""
}

// ecosystemOf returns OSV's name for where a package comes from, or "".
func ecosystemOf(p Package, d *dossier.Distribution) string {
	switch {
	case !p.ofDistribution():
		return languageEcosystem(p.Type)
	case d != nil && manages(d, p.Type):
		return d.Ecosystem
	}
	return ""
}

// manages reports whether a type of package is that of the distribution. An
// image of Debian may hold rpm's database, for a chroot or by mistake.
func manages(d *dossier.Distribution, kind string) bool {
	for _, id := range append([]string{d.ID}, d.Like...) {
		switch id {
		case "debian", "ubuntu":
			return kind == "deb"
		case "alpine", "wolfi", "chainguard", "minimos":
			return kind == "apk"
		case "rhel", "fedora", "centos", "almalinux", "rocky", "suse", "sles", "opensuse", "opensuse-leap", "photon", "mageia",
			"azurelinux", "mariner", "openeuler", "amzn", "ol":
			return kind == "rpm"
		}
	}
	return false
}

// purlOf returns the package URL of a package (purl specification 1.0).
func purlOf(p Package, d *dossier.Distribution) string {
	u := packageurl.PackageURL{Type: p.Type, Name: p.Name, Version: p.Version}
	qualify := func(key, value string) {
		u.Qualifiers = append(u.Qualifiers, packageurl.Qualifier{Key: key, Value: value})
	}
	switch p.Type {
	case "deb", "apk", "rpm", "opkg":
		if p.Arch != "" {
			qualify("arch", p.Arch)
		}
		if d != nil && manages(d, p.Type) {
			u.Namespace = purlNamespace(d.ID)
			qualify("distro", strings.TrimSuffix(d.ID+"-"+d.VersionID, "-"))
		}
		if p.Epoch != 0 {
			qualify("epoch", strconv.Itoa(p.Epoch))
		}
	case "maven":
		u.Namespace, u.Name = cut(p.Name, strings.IndexByte(p.Name, ':'))
	case "golang":
		u.Namespace, u.Name = cut(p.Name, strings.LastIndexByte(p.Name, '/'))
		if p.Version != "" && p.Name != "stdlib" {
			u.Version = "v" + p.Version
		}
	case "npm", "composer":
		u.Namespace, u.Name = cut(p.Name, strings.LastIndexByte(p.Name, '/'))
	case "pypi":
		u.Name = strings.ToLower(strings.ReplaceAll(p.Name, "_", "-"))
	}
	return purlText(u)
}

// purlText is [packageurl.PackageURL.ToString] for what purlOf makes: qualifiers are in the
// order of keys, and there is no subpath. An image has thousands of packages, and that is
// ten times as quick.
func purlText(u packageurl.PackageURL) string {
	b := make([]byte, 0, len("pkg:")+len(u.Type)+len(u.Namespace)+len(u.Name)+len(u.Version)+64)
	b = append(append(b, "pkg:"...), u.Type...)
	for segment := range strings.SplitSeq(u.Namespace, "/") {
		if segment != "" {
			b = appendEncoded(append(b, '/'), segment)
		}
	}
	b = appendEncoded(append(b, '/'), u.Name)
	if u.Version != "" {
		b = appendEncoded(append(b, '@'), u.Version)
	}
	for i, q := range u.Qualifiers {
		mark := byte('&')
		if i == 0 {
			mark = '?'
		}
		b = append(append(append(b, mark), q.Key...), '=')
		b = appendEncoded(b, q.Value)
	}
	return string(b)
}

// appendEncoded appends a part of a purl, percent-encoded as the specification asks:
// all but letters, digits, and ".-_~:".
func appendEncoded(b []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte(".-_~:", c) >= 0:
			b = append(b, c)
		default:
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return b
}

// purlNamespace is the vendor's name in purls, where that is not its ID.
func purlNamespace(id string) string {
	switch id {
	case "rhel":
		return "redhat"
	case "sles":
		return "suse"
	case "opensuse-leap", "opensuse-tumbleweed":
		return "opensuse"
	}
	return id
}

// cut splits s around byte i; before is empty when i is negative.
func cut(s string, i int) (before, after string) {
	if i < 0 {
		return "", s
	}
	return s[:i], s[i+1:]
}

// Release returns d with the name that OSV has for it.
func Release(d dossier.Distribution) dossier.Distribution {
	d.Ecosystem = osvDistribution(d)
	return d
}

// Ecosystem returns OSV's name for where packages of a type (of their purl) come
// from, in an image of a distribution: "" when there is none. d may be nil.
func Ecosystem(kind string, d *dossier.Distribution) string {
	return ecosystemOf(Package{Type: kind}, d)
}

// ReleaseOfPURL returns the distribution that a package URL tells, by its
// namespace and its qualifier "distro": "debian-12", "3.20.3" or a codename.
func ReleaseOfPURL(namespace, distro string) dossier.Distribution {
	id := strings.ToLower(namespace)
	switch id {
	case "redhat":
		id = "rhel"
	case "suse":
		id = "sles"
	case "opensuse":
		id = "opensuse-leap"
	}
	version := distro
	if i := strings.LastIndexByte(distro, '-'); i >= 0 {
		id, version = strings.ToLower(distro[:i]), distro[i+1:]
	}
	if number := releaseNumber(id, strings.ToLower(version)); number != "" {
		version = number
	}
	return Release(dossier.Distribution{ID: id, VersionID: version})
}

// releaseNumber is the number of a release that is called by its codename.
func releaseNumber(id, codename string) string {
	var names map[string]string
	switch id {
	case "debian":
		names = map[string]string{"jessie": "8", "stretch": "9", "buster": "10", "bullseye": "11", "bookworm": "12", "trixie": "13", "forky": "14"}
	case "ubuntu":
		names = map[string]string{"trusty": "14.04", "xenial": "16.04", "bionic": "18.04", "focal": "20.04", "jammy": "22.04", "noble": "24.04"}
	}
	return names[codename]
}
