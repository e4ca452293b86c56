// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// MaxTerms is how many search terms one fact gives at most; the rest cannot be
// searched for.
const MaxTerms = 2000

// Terms returns the search terms that a fact of that kind and body gives to
// its subject: labels and annotations, source, revision, base, layers, media
// types, artifact type, subject, platform, and the main package of a Go program.
// Kinds without terms give none. It fails as the parser of the body does.
func Terms(kind dossier.FactKind, body []byte) ([]store.Term, error) {
	t := terms{seen: map[store.Term]bool{}}
	switch kind {
	case dossier.FactIndex:
		x, err := ParseIndex(body)
		if err != nil {
			return nil, err
		}
		t.add(dossier.FieldMediaType, cmp.Or(x.MediaType, ociIndex))
		t.add(dossier.FieldArtifactType, x.ArtifactType)
		t.subject(x.Subject)
		t.labels(InIndex, x.Annotations)
		for _, d := range x.Manifests {
			t.labels(InDescriptor, d.Annotations)
		}
	case dossier.FactManifest:
		m, err := ParseManifest(body)
		if err != nil {
			return nil, err
		}
		t.add(dossier.FieldMediaType, cmp.Or(m.MediaType, ociManifest))
		t.add(dossier.FieldMediaType, m.Config.MediaType)
		t.add(dossier.FieldArtifactType, m.artifactType())
		t.subject(m.Subject)
		for _, l := range m.Layers {
			t.add(dossier.FieldLayer, string(l.Digest))
			t.add(dossier.FieldMediaType, l.MediaType)
		}
		t.labels(InManifest, m.Annotations)
	case dossier.FactConfig:
		c, err := ParseConfig(body)
		if err != nil {
			return nil, err
		}
		t.add(dossier.FieldPlatform, c.Platform.String())
		for _, d := range c.DiffIDs {
			t.add(dossier.FieldLayer, string(d))
		}
		t.statements(Fields(c))
		t.labels(InLabel, c.Labels)
	case dossier.FactGoBuild:
		b, err := ParseGoBuild(body)
		if err != nil {
			return nil, err
		}
		t.add(dossier.FieldProgram, b.Main)
		t.add(dossier.FieldSource, b.Module)
		t.add(dossier.FieldRevision, b.Settings["vcs.revision"])
	}
	return t.list, nil
}

// The media types of an index and a manifest that state none.
const (
	ociIndex    = "application/vnd.oci.image.index.v1+json"
	ociManifest = "application/vnd.oci.image.manifest.v1+json"
)

// artifactType is what an artifact is (OCI image spec, "Guidelines for Artifact
// Usage"); "" for an image.
func (m Manifest) artifactType() string {
	switch {
	case m.ArtifactType != "":
		return m.ArtifactType
	case m.Config.MediaType == "application/vnd.oci.image.config.v1+json", m.Config.MediaType == "application/vnd.docker.container.image.v1+json":
		return ""
	}
	return m.Config.MediaType
}

// ParseGoBuild parses the body of a dossier.FactGoBuild. It fails with
// KindInvalid when b is not a JSON object of that form.
func ParseGoBuild(b []byte) (dossier.GoBuild, error) {
	var g dossier.GoBuild
	if err := decode("parsing Go build information", b, MaxConfig, &g); err != nil {
		return dossier.GoBuild{}, err
	}
	return g, nil
}

// terms collects distinct terms, up to MaxTerms.
type terms struct {
	list []store.Term
	seen map[store.Term]bool
}

func (t *terms) add(field dossier.Field, value string) {
	value = strings.TrimSpace(value)
	value = strings.ToValidUTF8(value[:min(len(value), store.MaxTermKey)], "")
	term := store.Term{Field: field, Value: value, Key: store.Normal(value)}
	if term.Key == "" || len(t.list) >= MaxTerms || t.seen[term] {
		return
	}
	t.seen[term] = true
	t.list = append(t.list, term)
}

// labels adds what is known to have a meaning first, so that a flood of other
// labels cannot push it out.
func (t *terms) labels(where Where, labels map[string]string) {
	t.statements(Labels(where, labels))
	field := dossier.FieldAnnotation
	if where == InLabel {
		field = dossier.FieldLabel
	}
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		t.add(field, fmt.Sprintf("%s=%s", k, withoutPassword(labels[k])))
		t.add(field, withoutPassword(labels[k]))
	}
}

func (t *terms) subject(d *Descriptor) {
	if d != nil {
		t.add(dossier.FieldSubject, string(d.Digest))
	}
}

func (t *terms) statements(list []Statement) {
	for _, s := range list {
		switch s.Meaning {
		case Source:
			t.add(dossier.FieldSource, s.Value)
		case Revision:
			t.add(dossier.FieldRevision, s.Value)
		case BaseName, BaseDigest:
			t.add(dossier.FieldBase, s.Value)
		}
	}
}
