// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"cmp"
	"slices"
	"strings"
)

// Meaning is what a statement is about.
type Meaning string

// The meanings. Each is a predefined annotation key of the OCI image spec
// ("Annotations"), or what another key says about the same thing.
const (
	Created       Meaning = "created"
	Authors       Meaning = "authors"
	URL           Meaning = "url"
	Documentation Meaning = "documentation"
	Source        Meaning = "source"
	Version       Meaning = "version"
	Revision      Meaning = "revision"
	Vendor        Meaning = "vendor"
	Licenses      Meaning = "licenses"
	RefName       Meaning = "refName"
	Title         Meaning = "title"
	Description   Meaning = "description"
	BaseDigest    Meaning = "baseDigest"
	BaseName      Meaning = "baseName"
	Builder       Meaning = "builder"
)

// Where is the part of an image in which a statement stands.
type Where string

// The parts. They are kept apart because they may disagree.
const (
	InIndex      Where = "index.annotation"      // of the index itself
	InDescriptor Where = "descriptor.annotation" // of the manifest's descriptor in the index
	InManifest   Where = "manifest.annotation"
	InLabel      Where = "config.label"
	InConfig     Where = "config" // a field of the configuration
	InEnv        Where = "config.env"
	InHistory    Where = "config.history"
	InProvenance Where = "provenance" // of a statement about the image
)

// Statement is one thing that an image says about itself.
type Statement struct {
	Meaning Meaning
	Value   string // printable, at most MaxValue bytes
	Key     string // as written: label key, variable, or field
	Where   Where
	Invalid string // what is wrong with Value; empty when nothing is
}

// key is a label or annotation key that is known.
type key struct {
	name    string
	meaning Meaning
	free    bool // its specification allows any text
}

// keys are the known keys, those with the better claim to a meaning first.
var keys = [...]key{
	{name: "org.opencontainers.image.created", meaning: Created},
	{name: "org.opencontainers.image.authors", meaning: Authors},
	{name: "org.opencontainers.image.url", meaning: URL},
	{name: "org.opencontainers.image.documentation", meaning: Documentation},
	{name: "org.opencontainers.image.source", meaning: Source},
	{name: "org.opencontainers.image.version", meaning: Version},
	{name: "org.opencontainers.image.revision", meaning: Revision},
	{name: "org.opencontainers.image.vendor", meaning: Vendor},
	{name: "org.opencontainers.image.licenses", meaning: Licenses},
	{name: "org.opencontainers.image.ref.name", meaning: RefName},
	{name: "org.opencontainers.image.title", meaning: Title},
	{name: "org.opencontainers.image.description", meaning: Description},
	{name: "org.opencontainers.image.base.digest", meaning: BaseDigest},
	{name: "org.opencontainers.image.base.name", meaning: BaseName},
	{name: "org.label-schema.build-date", meaning: Created},
	{name: "org.label-schema.name", meaning: Title},
	{name: "org.label-schema.description", meaning: Description},
	{name: "org.label-schema.usage", meaning: Documentation, free: true},
	{name: "org.label-schema.url", meaning: URL},
	{name: "org.label-schema.vcs-url", meaning: Source},
	{name: "org.label-schema.vcs-ref", meaning: Revision},
	{name: "org.label-schema.vendor", meaning: Vendor},
	{name: "org.label-schema.version", meaning: Version},
	{name: "maintainer", meaning: Authors},
}

// Labels returns what labels or annotations say under the keys that are known,
// in a fixed order. Each value is checked against the specification of its key.
func Labels(where Where, labels map[string]string) []Statement {
	if len(labels) == 0 {
		return nil
	}
	out := make([]Statement, 0, min(len(labels), len(keys)))
	for _, k := range keys {
		value, ok := labels[k.name]
		if !ok {
			continue
		}
		st := Statement{Meaning: k.meaning, Value: printable(withoutPassword(value)), Key: k.name, Where: where}
		if !k.free {
			st.Invalid = fault(k.meaning, value)
		}
		out = append(out, st)
	}
	return out
}

// Fields returns what the configuration says in its own fields: created,
// author, and what its history tells of the builder and the base.
func Fields(c Config) []Statement {
	var out []Statement
	add := func(m Meaning, where Where, key, value string) {
		out = append(out, Statement{Meaning: m, Value: printable(value), Key: key, Where: where, Invalid: fault(m, value)})
	}
	if c.Created != "" {
		add(Created, InConfig, "created", c.Created)
	}
	if c.Author != "" {
		add(Authors, InConfig, "author", c.Author)
	}
	if name, where, key := builder(c); name != "" {
		add(Builder, where, key, name)
	}
	for _, h := range c.History {
		// Buildah notes the base in the first entry that it adds.
		if base, ok := strings.CutPrefix(h.Comment, "FROM "); ok && base != "scratch" {
			add(BaseName, InHistory, "comment", strings.TrimSpace(base))
		}
	}
	return out
}

// builder names the tool that wrote the configuration, by the traces that each
// leaves, and where the trace is.
func builder(c Config) (name string, where Where, key string) {
	if v := c.Labels["io.buildah.version"]; v != "" {
		return "buildah " + v, InLabel, "io.buildah.version"
	}
	if _, ok := c.Labels["io.buildpacks.lifecycle.metadata"]; ok {
		return "buildpacks", InLabel, "io.buildpacks.lifecycle.metadata"
	}
	// The newest entry tells of this image, older ones may be the base's.
	for _, h := range slices.Backward(c.History) {
		by := h.CreatedBy
		switch {
		case strings.HasPrefix(h.Comment, "buildkit."):
			return "buildkit", InHistory, "comment"
		case h.Author == "kaniko":
			return "kaniko", InHistory, "author"
		case h.Author == "apko" || by == "apko":
			return "apko", InHistory, "created_by"
		case strings.HasPrefix(by, "ko build "):
			return "ko", InHistory, "created_by"
		case strings.HasPrefix(by, "jib-"):
			return cmp.Or(strings.Replace(by, ":", " ", 1), "jib"), InHistory, "created_by"
		case strings.HasPrefix(by, "bazel build"):
			return "bazel", InHistory, "created_by"
		case strings.HasPrefix(h.Comment, "store paths:"):
			return "nix", InHistory, "comment"
		case strings.HasPrefix(by, shellNop) && c.DockerVersion != "":
			return "docker " + c.DockerVersion, InConfig, "docker_version"
		}
	}
	return "", "", ""
}

// IsPredefined reports whether a key is one that the OCI image spec defines.
func IsPredefined(key string) bool { return strings.HasPrefix(key, "org.opencontainers.image.") }
