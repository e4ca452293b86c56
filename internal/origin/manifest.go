// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"encoding/json"
	"errors"
	"fmt"

	"dossier.dev/dossier"
)

// Limits of what is parsed.
const (
	MaxManifest = 4 << 20 // bytes of a manifest or an index
	MaxConfig   = 8 << 20 // bytes of a configuration
	MaxEntries  = 10_000  // layers, descriptors, history entries, labels or environment variables
)

// Platform is where an image runs, as a descriptor or a configuration says it
// (OCI image spec, "Image Index").
type Platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant"`
	OSVersion    string `json:"os.version"`
}

// String returns "os/arch[/variant]", or "" when the platform is not stated.
func (p Platform) String() string {
	if p.OS == "" && p.Architecture == "" {
		return ""
	}
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// Descriptor points at content (OCI image spec, "Content Descriptors").
type Descriptor struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType"`
	Digest       dossier.Digest    `json:"digest"`
	Size         int64             `json:"size"` // in bytes
	Annotations  map[string]string `json:"annotations"`
	Platform     *Platform         `json:"platform"`
}

// Manifest is an image manifest, OCI or Docker schema 2.
type Manifest struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType"`
	Config       Descriptor        `json:"config"`
	Layers       []Descriptor      `json:"layers"` // base first
	Subject      *Descriptor       `json:"subject"`
	Annotations  map[string]string `json:"annotations"`
}

// Index is an image index or a Docker manifest list.
type Index struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType"`
	Manifests    []Descriptor      `json:"manifests"`
	Subject      *Descriptor       `json:"subject"`
	Annotations  map[string]string `json:"annotations"`
}

// ParseManifest parses an image manifest. It fails with KindInvalid when b is
// not a JSON object or names a malformed digest, and with KindLimit when it
// exceeds MaxManifest or MaxEntries. Unknown fields are ignored.
func ParseManifest(b []byte) (Manifest, error) {
	const op = "parsing manifest"
	var m Manifest
	if err := decode(op, b, MaxManifest, &m); err != nil {
		return Manifest{}, err
	}
	all := append([]Descriptor{m.Config}, m.Layers...)
	if m.Subject != nil {
		all = append(all, *m.Subject)
	}
	if err := checkDescriptors(op, all, len(m.Annotations)); err != nil {
		return Manifest{}, err
	}
	return m, nil
}

// ParseIndex parses an image index. It fails as ParseManifest does.
func ParseIndex(b []byte) (Index, error) {
	const op = "parsing index"
	var x Index
	if err := decode(op, b, MaxManifest, &x); err != nil {
		return Index{}, err
	}
	all := x.Manifests
	if x.Subject != nil {
		all = append(all[:len(all):len(all)], *x.Subject)
	}
	if err := checkDescriptors(op, all, len(x.Annotations)); err != nil {
		return Index{}, err
	}
	return x, nil
}

// decode unmarshals one JSON object of at most limit bytes.
func decode(op string, b []byte, limit int, into any) error {
	if len(b) > limit {
		return dossier.Errorf(dossier.KindLimit, op, "", fmt.Sprintf("it has %d bytes, the limit is %d", len(b), limit))
	}
	if !isObject(b) {
		return dossier.Errorf(dossier.KindInvalid, op, "", "it is not a JSON object")
	}
	if err := json.Unmarshal(b, into); err != nil {
		return &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: err}
	}
	return nil
}

// isObject reports whether the first byte of b that is no white space opens a
// JSON object. Unmarshal alone would take "null" for an empty one.
func isObject(b []byte) bool {
	for _, c := range b {
		switch c {
		case ' ', '\t', '\r', '\n':
		default:
			return c == '{'
		}
	}
	return false
}

// checkDescriptors checks counts, digests and sizes. A descriptor without
// digest (a manifest without configuration) is let through.
func checkDescriptors(op string, ds []Descriptor, annotations int) error {
	if n := max(len(ds), annotations); n > MaxEntries {
		return dossier.Errorf(dossier.KindLimit, op, "", fmt.Sprintf("it has %d entries, the limit is %d", n, MaxEntries))
	}
	for _, d := range ds {
		if len(d.Annotations) > MaxEntries {
			return dossier.Errorf(dossier.KindLimit, op, "", fmt.Sprintf("a descriptor has more than %d annotations", MaxEntries))
		}
		if d.Size < 0 {
			return dossier.Errorf(dossier.KindInvalid, op, "", "a descriptor has a negative size")
		}
		if d.Digest == "" {
			continue
		}
		if _, err := dossier.ParseDigest(string(d.Digest)); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
	}
	return nil
}

// typeProblem returns what a field of the wrong JSON type is called, when that
// is all that is wrong: everything else was decoded.
func typeProblem(err error) (string, bool) {
	t, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return "", false
	}
	field := t.Field
	if field == "" {
		field = "a field"
	}
	return fmt.Sprintf("%s is a JSON %s", printable(field), t.Value), true
}
