// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package store

import "strings"

// MaxTermKey is how many bytes of a term are searched; the rest is cut.
const MaxTermKey = 512

// ReferenceKey is the key of the term by which a tag of a repository is found,
// or the repository itself when tag is empty. Letter case makes a difference in
// tags.
func ReferenceKey(name, tag string) string {
	if tag == "" {
		return Normal(name)
	}
	return strings.ToLower(name) + ":" + tag
}

// Normal returns the form of a search term in which letter case, the scheme of
// a URL, a final ".git" and final slashes make no difference.
func Normal(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	for _, scheme := range []string{"https://", "http://", "git+https://", "git://", "ssh://", "oci://"} {
		if rest, ok := strings.CutPrefix(s, scheme); ok {
			s = rest
			break
		}
	}
	s = strings.TrimRight(s, "/")
	s = strings.TrimSuffix(s, ".git")
	return strings.ToValidUTF8(s[:min(len(s), MaxTermKey)], "")
}
