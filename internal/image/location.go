// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"strings"

	"dossier.dev/dossier"
)

// Scheme says what sort of place an image is read from.
type Scheme string

// The schemes.
const (
	Registry Scheme = "registry"
	Layout   Scheme = "oci"            // a directory in the form of the OCI image layout
	Archive  Scheme = "docker-archive" // a file written by docker save, plain or gzip
)

// Location is where an image is read from.
type Location struct {
	Scheme    Scheme
	Reference dossier.Reference // Registry only
	Path      string            // Layout and Archive: of the directory or file
	Name      string            // Layout and Archive: which image there; may be empty
	Digest    dossier.Digest    // Layout and Archive: which image there; may be empty
}

// ParseLocation reads what a person wrote to name an image:
//
//	NAME[:TAG][@DIGEST]                    in a registry
//	oci:DIR[:NAME | @DIGEST]               in an OCI layout
//	docker-archive:FILE[:NAME | @DIGEST]   in a file of docker save
//
// A path ends at its first colon, so it cannot hold one. Errors are
// KindInvalid.
func ParseLocation(s string) (Location, error) {
	for _, scheme := range []Scheme{Layout, Archive} {
		if rest, ok := strings.CutPrefix(s, string(scheme)+":"); ok {
			return parsePath(scheme, s, rest)
		}
	}
	ref, err := dossier.ParseReference(s)
	if err != nil {
		return Location{}, err
	}
	return Location{Scheme: Registry, Reference: ref}, nil
}

func parsePath(scheme Scheme, whole, s string) (Location, error) {
	loc := Location{Scheme: scheme, Path: s}
	if i := strings.LastIndex(s, "@"); i >= 0 {
		if d, err := dossier.ParseDigest(s[i+1:]); err == nil {
			loc.Path, loc.Digest = s[:i], d
		}
	}
	path, name, named := strings.Cut(loc.Path, ":")
	loc.Path, loc.Name = path, name
	if path == "" || named && name == "" {
		return Location{}, &dossier.Error{
			Kind: dossier.KindInvalid, Op: "parsing image location", Subject: quote(whole),
			Hint: "Write " + string(scheme) + ":PATH or " + string(scheme) + ":PATH:NAME.",
		}
	}
	if strings.ContainsRune(s, 0) {
		return Location{}, dossier.Errorf(dossier.KindInvalid, "parsing image location", quote(whole), "a path cannot hold a zero byte")
	}
	return loc, nil
}

// Local reports whether l is on this machine.
func (l Location) Local() bool { return l.Scheme != Registry }

// String returns what ParseLocation reads.
func (l Location) String() string {
	if !l.Local() {
		return l.Reference.String()
	}
	s := string(l.Scheme) + ":" + l.Path
	if l.Name != "" {
		s += ":" + l.Name
	}
	if l.Digest != "" {
		s += "@" + string(l.Digest)
	}
	return s
}
