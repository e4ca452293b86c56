// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package bill

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

// said writes what advisories ask of a package in a line.
func said(p dossier.PackageAt) string {
	owner := ""
	if p.Owner != nil {
		owner = " of " + p.Owner.Name
	}
	return fmt.Sprintf("%s|%s|%s %s|%s %s|%s|%s%s", p.Ecosystem, p.Distribution, p.Name, p.Version, p.Source, p.SourceVersion, p.Module, p.Path, owner)
}

func TestListed(t *testing.T) {
	for name, tt := range map[string]struct {
		document string
		want     []string
	}{
		"the URL tells all": {`{"bomFormat":"CycloneDX","specVersion":"1.5","components":[
			{"type":"library","purl":"pkg:deb/debian/libssl3@3.0.11-1?arch=amd64&distro=debian-12&upstream=openssl"},
			{"type":"library","purl":"pkg:deb/debian/libc6@2.36-9%2Bb1?distro=bookworm&upstream=glibc%402.36-9"},
			{"type":"library","purl":"pkg:apk/alpine/ssl_client@1.36.1-r29?distro=3.20.3&upstream=busybox"},
			{"type":"library","purl":"pkg:rpm/almalinux/glibc@2.34-60.el9?distro=almalinux-9.3&epoch=1&upstream=glibc-2.34-60.el9.src.rpm"},
			{"type":"library","purl":"pkg:rpm/redhat/perl@5.26?distro=rhel-8.4&rpmmod=perl%3A5.26%3A1%3Ax"},
			{"type":"library","purl":"pkg:deb/ubuntu/bash@5.1?distro=jammy"}]}`, []string{
			"Alpine:v3.20|alpine 3.20.3|ssl_client 1.36.1-r29|busybox ||",
			"Debian:12|debian 12|libc6 2.36-9+b1|glibc 2.36-9||",
			"Debian:12|debian 12|libssl3 3.0.11-1|openssl ||",
			"Ubuntu:22.04:LTS|ubuntu 22.04|bash 5.1| ||",
			"AlmaLinux:9|almalinux 9.3|glibc 1:2.34-60.el9|glibc 2.34-60.el9||",
			"Red Hat:8|rhel 8.4|perl 5.26| |perl:5.26:1:x|",
		}},
		"the bill tells the distribution": {`{"bomFormat":"CycloneDX","specVersion":"1.6","components":[
			{"type":"operating-system","name":"debian","version":"11.2"},
			{"type":"library","purl":"pkg:deb/debian/bash@5","properties":[{"name":"aquasecurity:trivy:SrcName","value":"bash"},{"name":"aquasecurity:trivy:SrcVersion","value":"5"},
			 {"name":"aquasecurity:trivy:SrcRelease","value":"1"},{"name":"aquasecurity:trivy:SrcEpoch","value":"2"}]}]}`,
			[]string{"Debian:11|debian 11.2|bash 5|bash 2:5-1||"}},
		"nobody tells it": {`{"spdxVersion":"SPDX-2.3","packages":[` + entryOf("pkg:deb/debian/bash@5") + `]}`, []string{"|debian|bash 5| ||"}},
		"languages": {`{"spdxVersion":"SPDX-2.3","packages":[` + entryOf("pkg:maven/org.example/app@1") + `,` + entryOf("pkg:npm/%40s/a@1") + `,` + entryOf("pkg:golang/example.com/m@v1.2.3") +
			`,` + entryOf("pkg:golang/stdlib@go1.22.1") + `,` + entryOf("pkg:pypi/Zope.Interface@5") + `,` + entryOf("pkg:hex/x@1") + `]}`, []string{
			"Go||example.com/m 1.2.3| ||", "Go||stdlib 1.22.1| ||", "||x 1| ||", "Maven||org.example:app 1| ||", "npm||@s/a 1| ||", "PyPI||zope-interface 5| ||",
		}},
		"Syft tells files": {`{"schema":{"url":"https://github.com/anchore/syft"},"distro":{"id":"debian","versionID":"12"},
			"artifacts":[{"purl":"pkg:deb/debian/bash@5","locations":[{"path":"/var/lib/dpkg/status"}]}]}`, []string{"Debian:12|debian 12|bash 5| ||var/lib/dpkg/status"}},
		"who installed it": {`{"bomFormat":"CycloneDX","specVersion":"1.6","components":[
			{"type":"library","purl":"pkg:deb/debian/python3-a@1?distro=debian-12"},
			{"type":"library","purl":"pkg:pypi/a@1","properties":[{"name":"dossier:owner","value":"pkg:deb/debian/python3-a@1?distro=debian-12"}],"evidence":{"occurrences":[{"location":"usr/lib/a"}]}}]}`,
			[]string{"Debian:12|debian 12|python3-a 1| ||", "PyPI||a 1| ||usr/lib/a of python3-a"}},
	} {
		b, err := Parse([]byte(tt.document), Limits{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, p := range b.Listed() {
			got = append(got, said(p))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func entryOf(purl string) string {
	return `{"name":"x","externalRefs":[{"referenceType":"purl","referenceLocator":"` + purl + `"}]}`
}

func TestMoreOfSPDX(t *testing.T) {
	for _, tt := range []struct {
		info, comment string
		want          more
	}{
		{"built package from: openssl 3.0.11-1", "", more{source: "openssl", sourceVersion: "3.0.11-1"}},
		{"found in layer sha256:00, file usr/lib/a b/METADATA, installed by pkg:deb/a@1; found in layer x", "built from source package openssl 3", more{source: "openssl", sourceVersion: "3", owner: "pkg:deb/a@1", path: "usr/lib/a b/METADATA"}},
		{"found in layer sha256:00, file a", "", more{path: "a"}},
		{"acquired package info from DPKG DB", "whatever", more{}},
	} {
		if got := moreOfSPDX(tt.info, tt.comment); got != tt.want {
			t.Errorf("%q: got %+v, want %+v", tt.info, got, tt.want)
		}
	}
}
