// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"encoding/json"
	"fmt"

	"dossier.dev/dossier"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Node is one document of an image: an index, manifest or configuration.
type Node struct {
	Descriptor
	Kind dossier.ImageKind
	// Platform is "os/arch[/variant]": of a manifest what the index that names it
	// says, else what its configuration says; of a configuration what it says
	// itself; of an index nothing.
	Platform string
	Bytes    []byte
	Edges    []dossier.Edge // in the order of the document, a configuration before layers
}

// MaxEntries is how many layers, descriptors, annotations, labels, environment
// variables or steps of history one document may have. What has more is refused
// whole: nobody could say afterwards what was left out.
const MaxEntries = 10_000

const (
	opParse  = "reading manifest"
	opConfig = "reading image configuration"

	annotationReferenceType = "vnd.docker.reference.type"
	attestationManifest     = "attestation-manifest"
)

// envelope is every field of a manifest or an index that is looked at. Fields
// that tell the two apart are pointers, so that an absent one is seen.
type envelope struct {
	SchemaVersion int                   `json:"schemaVersion"`
	MediaType     string                `json:"mediaType"`
	ArtifactType  string                `json:"artifactType"`
	Config        *ocispec.Descriptor   `json:"config"`
	Layers        *[]ocispec.Descriptor `json:"layers"`
	Manifests     *[]ocispec.Descriptor `json:"manifests"`
	Subject       *ocispec.Descriptor   `json:"subject"`
	FSLayers      json.RawMessage       `json:"fsLayers"` // schema 1
	Annotations   json.RawMessage       `json:"annotations"`
}

// entries counts those of the longest list.
func (e envelope) entries() int {
	n := members(e.Annotations)
	for _, list := range []*[]ocispec.Descriptor{e.Layers, e.Manifests} {
		if list != nil {
			n = max(n, len(*list))
		}
	}
	return n
}

// members counts those of a JSON object or array. Anything else has none.
func members(b json.RawMessage) int {
	var object map[string]json.RawMessage
	if json.Unmarshal(b, &object) == nil {
		return len(object)
	}
	var array []json.RawMessage
	if json.Unmarshal(b, &array) == nil {
		return len(array)
	}
	return 0
}

// checkEntries refuses a document with too many entries.
func checkEntries(op string, d dossier.Digest, n int) error {
	if n <= MaxEntries {
		return nil
	}
	return limitError(op, string(d), "MaxEntries", MaxEntries, fmt.Sprintf("a list in it has %d entries", n))
}

// ParseManifest reads an index or a manifest: b is its bytes, d says what they
// are. What the bytes say of their own media type goes before d.MediaType,
// which is needed only when they say nothing and can also be left empty then.
// The digest is not checked here; an empty d.Digest is filled in.
//
// KindCorrupt: b is no manifest, or is ambiguous, or names a malformed digest.
// KindLimit: it exceeds MaxEntries.
// KindUnsupported: Docker schema 1, or another media type. (OCI image spec,
// "Image Index" and "Image Manifest"; Docker image manifest version 2, schema 2.)
func ParseManifest(d Descriptor, b []byte) (Node, error) {
	if d.Digest == "" {
		d.Digest = dossier.FromBytes(b)
	}
	d.Size = int64(len(b))
	fail := func(kind dossier.Kind, why string) (Node, error) {
		return Node{}, dossier.Errorf(kind, opParse, string(d.Digest), why)
	}
	var e envelope
	if err := unmarshalObject(b, &e); err != nil {
		return Node{}, &dossier.Error{Kind: dossier.KindCorrupt, Op: opParse, Subject: string(d.Digest), Err: err}
	}
	if err := checkEntries(opParse, d.Digest, e.entries()); err != nil {
		return Node{}, err
	}
	if e.MediaType != "" {
		d.MediaType = e.MediaType
	}
	switch {
	case isSchema1(d.MediaType), e.SchemaVersion == 1, e.FSLayers != nil:
		return Node{}, schema1Error(string(d.Digest))
	case e.Manifests != nil && (e.Layers != nil || e.Config != nil):
		return fail(dossier.KindCorrupt, "it is an index and an image manifest at once")
	case d.MediaType == "" && e.Manifests != nil:
		d.MediaType = ocispec.MediaTypeImageIndex
	case d.MediaType == "" && e.Config != nil:
		d.MediaType = ocispec.MediaTypeImageManifest
	}
	n := Node{Descriptor: d, Bytes: b}
	var err error
	switch {
	case isIndexType(d.MediaType) && e.Manifests != nil:
		n.Kind = dossier.ImageIndex
		n.Edges, err = indexEdges(d.Digest, e)
	case isManifestType(d.MediaType) && e.Config != nil:
		n.Kind = dossier.ImageManifest
		if !isConfigType(e.Config.MediaType) || e.ArtifactType != "" {
			n.Kind = dossier.ImageArtifact
		}
		n.Edges, err = manifestEdges(d.Digest, e)
	case isIndexType(d.MediaType), isManifestType(d.MediaType):
		return fail(dossier.KindCorrupt, "its content is not of its media type "+d.MediaType)
	case d.MediaType == "":
		return fail(dossier.KindCorrupt, "it is neither an image index nor an image manifest")
	default:
		return fail(dossier.KindUnsupported, "media type "+quote(d.MediaType))
	}
	if err != nil {
		return Node{}, err
	}
	return n, nil
}

func schema1Error(subject string) error {
	return &dossier.Error{
		Kind: dossier.KindUnsupported, Op: opParse, Subject: subject,
		Hint: "Pull the image with a current tool and push it again.",
		Err:  fmt.Errorf("it is in Docker's schema 1 form, which was replaced in 2017"),
	}
}

func indexEdges(parent dossier.Digest, e envelope) ([]dossier.Edge, error) {
	edges := make([]dossier.Edge, 0, len(*e.Manifests)+1)
	add := adder(parent, &edges)
	for _, d := range *e.Manifests {
		role, platform := dossier.RolePlatform, ""
		if p := d.Platform; p != nil {
			platform = platformString(p.OS, p.Architecture, p.Variant)
		}
		if platform == unknownPlatform || d.Annotations[annotationReferenceType] == attestationManifest {
			role, platform = dossier.RoleAttestation, ""
		}
		if err := add(role, d, platform); err != nil {
			return nil, err
		}
	}
	if e.Subject != nil {
		if err := add(dossier.RoleSubject, *e.Subject, ""); err != nil {
			return nil, err
		}
	}
	return edges, nil
}

func manifestEdges(parent dossier.Digest, e envelope) ([]dossier.Edge, error) {
	var edges []dossier.Edge
	add := adder(parent, &edges)
	if err := add(dossier.RoleConfig, *e.Config, ""); err != nil {
		return nil, err
	}
	if e.Layers != nil {
		for _, d := range *e.Layers {
			if err := add(dossier.RoleLayer, d, ""); err != nil {
				return nil, err
			}
		}
	}
	if e.Subject != nil {
		if err := add(dossier.RoleSubject, *e.Subject, ""); err != nil {
			return nil, err
		}
	}
	return edges, nil
}

// adder returns a function that checks a descriptor and appends its edge.
func adder(parent dossier.Digest, edges *[]dossier.Edge) func(dossier.Role, ocispec.Descriptor, string) error {
	return func(role dossier.Role, d ocispec.Descriptor, platform string) error {
		position := len(*edges)
		child, err := dossier.ParseDigest(string(d.Digest))
		if err != nil {
			return &dossier.Error{
				Kind: dossier.KindCorrupt, Op: opParse, Subject: string(parent),
				Err: fmt.Errorf("%s at position %d: %w", role, position, err),
			}
		}
		if d.Size < 0 {
			return dossier.Errorf(dossier.KindCorrupt, opParse, string(parent),
				fmt.Sprintf("%s %s has the size %d", role, child, d.Size))
		}
		*edges = append(*edges, dossier.Edge{
			Parent: parent, Child: child, Role: role, Position: position,
			MediaType: d.MediaType, Size: d.Size, Platform: platform,
		})
		return nil
	}
}

// ParseConfig reads an image configuration as far as it is needed here, which
// is its platform. KindCorrupt: b is no JSON object. KindLimit: it exceeds
// MaxEntries. (OCI image spec, "Image Configuration".)
func ParseConfig(d Descriptor, b []byte) (Node, error) {
	if d.Digest == "" {
		d.Digest = dossier.FromBytes(b)
	}
	d.Size = int64(len(b))
	var config struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
		Variant      string `json:"variant"`

		Config  json.RawMessage `json:"config"`
		RootFS  json.RawMessage `json:"rootfs"`
		History json.RawMessage `json:"history"`
	}
	if err := unmarshalObject(b, &config); err != nil {
		return Node{}, &dossier.Error{Kind: dossier.KindCorrupt, Op: opConfig, Subject: string(d.Digest), Err: err}
	}
	n := members(config.History)
	for _, b := range []json.RawMessage{config.Config, config.RootFS} {
		var fields map[string]json.RawMessage
		_ = json.Unmarshal(b, &fields) // what is of another type has no lists
		for _, f := range fields {
			n = max(n, members(f))
		}
	}
	if err := checkEntries(opConfig, d.Digest, n); err != nil {
		return Node{}, err
	}
	return Node{
		Descriptor: d, Kind: dossier.ImageConfig, Bytes: b,
		Platform: platformString(config.OS, config.Architecture, config.Variant),
	}, nil
}

// unmarshalObject is json.Unmarshal for a JSON object and nothing else.
func unmarshalObject(b []byte, v any) error {
	if trimmed := bytes.TrimLeft(b, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return fmt.Errorf("it is not a JSON object")
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("it is not the JSON that was expected: %w", err)
	}
	return nil
}
