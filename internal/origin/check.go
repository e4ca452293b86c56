// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"

	"dossier.dev/dossier"
)

// MaxValue is how many bytes of a value are kept for people to read.
const MaxValue = 1024

// fault says what is wrong with a value under the rules of its meaning (OCI
// image spec, "Annotations"), or "".
func fault(m Meaning, value string) string {
	if strings.TrimSpace(value) == "" {
		return "it is empty"
	}
	if isPlaceholder(value) {
		return "it is a placeholder"
	}
	switch m {
	case Created:
		var t time.Time
		if t.UnmarshalText([]byte(value)) != nil {
			return "it is not an RFC 3339 time"
		}
	case URL, Documentation, Source:
		if !isURL(value) {
			return "it is not a URL"
		}
		if withoutPassword(value) != value {
			return "it holds a password"
		}
	case Licenses:
		return licenseFault(value)
	case RefName:
		if !isRefName(value) {
			return "it is not a reference name"
		}
	case BaseDigest:
		if _, err := dossier.ParseDigest(value); err != nil {
			return "it is not a digest"
		}
	case BaseName:
		if _, err := dossier.ParseReference(value); err != nil {
			return "it is not an image reference"
		}
	}
	return ""
}

// isPlaceholder reports whether a value stands for the lack of one: a word
// that says so, or a template that nobody filled in.
func isPlaceholder(value string) bool {
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "unknown", "none", "n/a", "null", "nil", "undefined", "unset", "<no value>", "todo":
		return true
	}
	return strings.Contains(value, "${") || strings.Contains(value, "$(") || strings.Contains(value, "{{") ||
		(strings.HasPrefix(value, "$") && !strings.ContainsAny(value, " \t"))
}

// isURL reports whether s is an absolute URL with a host.
func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme != "" && u.Host != "" && !strings.ContainsFunc(s, unicode.IsSpace)
}

const refComponent = `[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*`

var refNamePattern = regexp.MustCompile(`^` + refComponent + `(?:/` + refComponent + `)*$`)

// isRefName follows the grammar of org.opencontainers.image.ref.name.
func isRefName(s string) bool {
	return len(s) <= MaxValue && refNamePattern.MatchString(s)
}

// printable makes a value from outside fit to be shown on one line: valid
// UTF-8, at most MaxValue bytes, white space as single blanks, and every
// control or formatting character as U+FFFD, so that it can neither steer a
// terminal nor hide what it says.
func printable(s string) string {
	cut := len(s) > MaxValue
	s = strings.Join(strings.Fields(s[:min(len(s), MaxValue)]), " ")
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
	const more = "…"
	if cut || len(s) > MaxValue {
		s = s[:min(len(s), MaxValue-len(more))]
		return strings.ToValidUTF8(s, "") + more
	}
	return s
}

// withoutPassword hides the password of a URL: build systems leave their
// tokens in the address that they cloned from.
func withoutPassword(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.User == nil {
		return s
	}
	if _, ok := u.User.Password(); !ok {
		return s
	}
	return u.Redacted()
}
