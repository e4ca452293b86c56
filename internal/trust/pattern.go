// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"strings"

	"dossier.dev/dossier"
)

// pattern selects images by registry and repository, label by label: those of the host
// between dots, those of the path between slashes. So example.com is not a beginning of
// example.com.evil, nor shop/ of shopping/.
type pattern struct {
	text       string
	host, path []string
}

// parsePattern reads HOST/PATH. "*" stands for one label, "**" for any number of them,
// and nothing else is special. KindInvalid.
func parsePattern(text string) (pattern, error) {
	bad := func(why string) error {
		return &dossier.Error{Kind: dossier.KindInvalid, Op: "reading pattern", Subject: text, Err: errorText(why), Hint: "write it as HOST/PATH: docker.io/library/nginx, registry.example/shop/**"}
	}
	if text == "**" {
		return pattern{text, []string{"**"}, []string{"**"}}, nil
	}
	host, path, ok := strings.Cut(text, "/")
	if !ok || host != "*" && host != "**" && host != "localhost" && !strings.ContainsAny(host, ".:") {
		return pattern{}, bad("it names no registry")
	}
	host = registry(host)
	if strings.ContainsAny(path, "@:") {
		return pattern{}, bad("tags and digests are not compared: an image by digest has no tag")
	}
	p := pattern{text, strings.Split(host, "."), strings.Split(path, "/")}
	for _, label := range append(p.host[:len(p.host):len(p.host)], p.path...) {
		if label == "" || strings.Contains(label, "*") && label != "*" && label != "**" {
			return pattern{}, bad("a label is empty, or has a * among letters")
		}
	}
	return p, nil
}

type errorText string

// Error implements error.
func (e errorText) Error() string { return string(e) }

// matches reports whether an image is meant. Of ref the tag and the digest do not count.
func (p pattern) matches(ref dossier.Reference) bool {
	host, path := repository(ref)
	return labels(p.host, strings.Split(host, ".")) && labels(p.path, strings.Split(path, "/"))
}

// repository returns the registry and the path of an image, the same for all spellings.
func repository(ref dossier.Reference) (host, path string) {
	host, path = registry(ref.Registry), ref.Repository
	if host == dossier.DefaultRegistry && !strings.Contains(path, "/") {
		path = "library/" + path
	}
	return host, path
}

// registry returns the one spelling of a registry: in lower case, without the port of https,
// and Docker's by its short name.
func registry(host string) string {
	host = strings.ToLower(host)
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		port := strings.TrimLeft(host[i+1:], "0")
		if host = host[:i]; port != "443" {
			host += ":" + port
		}
	}
	if host == "index.docker.io" {
		return dossier.DefaultRegistry
	}
	return host
}

// labels compares label by label, in time that grows with the product of their numbers.
func labels(want, got []string) bool {
	ends := make([]bool, len(got)+1) // whether want so far matches the first i of got
	ends[0] = true
	for _, w := range want {
		next := make([]bool, len(got)+1)
		if w == "**" {
			for i, reached := 0, false; i <= len(got); i++ {
				reached = reached || ends[i]
				next[i] = reached
			}
		} else {
			for i, g := range got {
				next[i+1] = ends[i] && (w == "*" || w == g)
			}
		}
		ends = next
	}
	return ends[len(got)]
}
