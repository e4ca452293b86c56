// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import (
	"errors"
	"fmt"
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

// ParseReference reads a reference as people and pod specs write it and fills
// in the defaults of registry and "library/", not of the tag. It accepts what
// github.com/distribution/reference accepts and normalises it the same way,
// except that digests must be sha256 or sha512, and that a registry must be a
// host name: where "a.b_c/d" is given, that package finds a repository in no
// registry, from which nothing can be pulled. Errors are KindInvalid.
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
	if len(s) == 64 && isLowerHex(s) {
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
		if !isTag(after) {
			return fail("a tag is up to 128 letters, digits, '_', '.' or '-', and starts with none of the last two")
		}
		rest, ref.Tag = before, after
	}
	ref.Repository = rest
	switch {
	case strings.ToLower(rest) != rest:
		return fail("the repository must be lower case")
	case !isRegistry(ref.Registry):
		return fail("the registry is not a host name with an optional port")
	case !isRepository(rest):
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

// The forms of the parts of a reference, as github.com/distribution/reference
// has them in regular expressions. Lists of a cluster hold tens of thousands.
const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	digits = "0123456789"
	letter = lower + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// isTag: \w[\w.-]{0,127}
func isTag(s string) bool {
	const word = letter + digits + "_"
	return s != "" && len(s) <= 128 && strings.Contains(word, s[:1]) && strings.Trim(s, word+".-") == ""
}

// isRegistry: labels with dots between them, or an IPv6 address in brackets;
// then maybe a colon and digits.
func isRegistry(s string) bool {
	if rest, ok := strings.CutPrefix(s, "["); ok {
		address, port, ok := strings.Cut(rest, "]")
		return ok && address != "" && strings.Trim(address, digits+"abcdefABCDEF:") == "" && (port == "" || isPort(port))
	}
	if i := strings.IndexByte(s, ':'); i >= 0 {
		if !isPort(s[i:]) {
			return false
		}
		s = s[:i]
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' || strings.Trim(label, letter+digits+"-") != "" {
			return false
		}
	}
	return true
}

// isPort: :[0-9]+
func isPort(s string) bool {
	port, ok := strings.CutPrefix(s, ":")
	return ok && port != "" && strings.Trim(port, digits) == ""
}

// isRepository: elements with slashes between them, each [a-z0-9]+ with
// separators between: one dot, one or two underscores, any number of dashes.
func isRepository(s string) bool {
	for element := range strings.SplitSeq(s, "/") {
		for {
			rest := strings.TrimLeft(element, lower+digits)
			if len(rest) == len(element) {
				return false
			}
			if rest == "" {
				break
			}
			switch {
			case rest[0] == '.':
				element = rest[1:]
			case rest[0] == '_':
				element = strings.TrimPrefix(rest[1:], "_")
			case rest[0] == '-':
				element = strings.TrimLeft(rest, "-")
			default:
				return false
			}
		}
	}
	return true
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
