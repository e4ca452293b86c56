// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// The names that a short reference stands for, as Docker set them.
const (
	DefaultRegistry = "docker.io"
	DefaultTag      = "latest"

	legacyRegistry   = "index.docker.io"
	officialPrefix   = "library/"
	maxRepositoryLen = 255 // distribution spec: of the part after the registry
)

// Reference names an image: where its repository lies, and which of the images
// there is meant. Registry and Repository are always set; "nginx" is
// docker.io and library/nginx. Tag and Digest may each be empty or both set.
type Reference struct {
	Registry   string // host or host:port
	Repository string
	Tag        string
	Digest     Digest
}

var (
	identifierPattern = regexp.MustCompile(`^[a-f0-9]{64}$`)
	registryPattern   = regexp.MustCompile(`^(?:` + labelPattern + `(?:\.` + labelPattern + `)*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?$`)
	repositoryPattern = regexp.MustCompile(`^` + elementPattern + `(?:/` + elementPattern + `)*$`)
	tagPattern        = regexp.MustCompile(`^\w[\w.-]{0,127}$`)
)

const (
	labelPattern   = `(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])`
	elementPattern = `[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*`
)

// ParseReference reads a reference as people and pod specs write it and fills
// in the defaults of registry and "library/", not of the tag. It accepts what
// github.com/distribution/reference accepts and normalises it the same way,
// except that digests must be sha256 or sha512. Errors are KindInvalid.
func ParseReference(s string) (Reference, error) {
	refuse := func(why error) (Reference, error) {
		return Reference{}, &Error{
			Kind: KindInvalid, Op: "parsing image reference", Subject: quoteShort(s), Err: why,
			Hint: "Write [REGISTRY/]NAME[:TAG][@DIGEST].",
		}
	}
	fail := func(why string) (Reference, error) { return refuse(errors.New(why)) }
	if s == "" {
		return fail("it is empty")
	}
	if identifierPattern.MatchString(s) {
		return fail("64 hexadecimal digits are an image ID, not a name; write sha256:DIGITS for a digest")
	}
	var ref Reference
	rest := s
	if before, after, ok := strings.Cut(rest, "@"); ok {
		d, err := ParseDigest(after)
		if err != nil {
			return refuse(err)
		}
		rest, ref.Digest = before, d
	}
	ref.Registry, rest = splitRegistry(rest)
	if before, after, ok := strings.Cut(rest, ":"); ok {
		if !tagPattern.MatchString(after) {
			return fail("a tag is up to 128 letters, digits, '_', '.' or '-', and starts with none of the last two")
		}
		rest, ref.Tag = before, after
	}
	ref.Repository = rest
	switch {
	case strings.ToLower(rest) != rest:
		return fail("the repository must be lower case")
	case !registryPattern.MatchString(ref.Registry):
		return fail("the registry is not a host name with an optional port")
	case !repositoryPattern.MatchString(rest):
		return fail("the repository is not letters, digits and single separators")
	case len(rest) > maxRepositoryLen:
		return fail(fmt.Sprintf("the repository has more than %d characters", maxRepositoryLen))
	}
	return ref, nil
}

// splitRegistry parts s into registry and the rest. The first element is a
// registry when it cannot be a part of a repository name, or is "localhost".
func splitRegistry(s string) (registry, rest string) {
	first, after, ok := strings.Cut(s, "/")
	switch {
	case !ok:
		return DefaultRegistry, officialPrefix + s
	case first == "localhost":
		registry, rest = first, after
	case first == legacyRegistry, first == DefaultRegistry:
		registry, rest = DefaultRegistry, after
	case strings.ContainsAny(first, ".:"), strings.ToLower(first) != first:
		registry, rest = first, after
	default:
		registry, rest = DefaultRegistry, s
	}
	if registry == DefaultRegistry && !strings.Contains(rest, "/") {
		rest = officialPrefix + rest
	}
	return registry, rest
}

// Name returns registry and repository: "docker.io/library/nginx".
func (r Reference) Name() string { return r.Registry + "/" + r.Repository }

// String returns the whole reference, with every part that is set.
func (r Reference) String() string {
	s := r.Name()
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + string(r.Digest)
	}
	return s
}

// Familiar returns the reference without the defaults of registry and
// "library/", as people write it.
func (r Reference) Familiar() string {
	s := r.String()
	if r.Registry != DefaultRegistry {
		return s
	}
	s = strings.TrimPrefix(s, DefaultRegistry+"/")
	if short, ok := strings.CutPrefix(s, officialPrefix); ok && !strings.Contains(short, "/") {
		return short
	}
	return s
}

// WithDefaultTag returns r with the tag "latest" when it names neither a tag
// nor a digest.
func (r Reference) WithDefaultTag() Reference {
	if r.Tag == "" && r.Digest == "" {
		r.Tag = DefaultTag
	}
	return r
}

// The prefixes of references to images outside any registry.
const (
	LayoutPrefix  = "oci:"            // DIR[:TAG]: an OCI image layout
	ArchivePrefix = "docker-archive:" // FILE: what docker save writes
)

// IsLocal reports whether s refers to a file or directory rather than to a registry.
func IsLocal(s string) bool {
	return strings.HasPrefix(s, LayoutPrefix) || strings.HasPrefix(s, ArchivePrefix)
}
