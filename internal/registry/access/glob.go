// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import "strings"

// maxRepository is how long a repository name may be, in bytes (distribution
// spec, "Pulling manifests", as clients practise it).
const maxRepository = 255

// ValidRepository reports whether s is the name of a repository: elements of
// lower-case letters and digits, parted inside by '.', '_', '__' or dashes,
// joined by '/' (distribution spec, "Pulling manifests"). Nothing else ever
// matches a rule.
func ValidRepository(s string) bool {
	if s == "" || len(s) > maxRepository {
		return false
	}
	for element := range strings.SplitSeq(s, "/") {
		if !validElement(element) {
			return false
		}
	}
	return true
}

func validElement(s string) bool {
	if s == "" || !isLowerAlnum(s[0]) || !isLowerAlnum(s[len(s)-1]) {
		return false
	}
	for i := 0; i < len(s); {
		if isLowerAlnum(s[i]) {
			i++
			continue
		}
		start := i
		for i < len(s) && !isLowerAlnum(s[i]) {
			i++
		}
		switch sep := s[start:i]; {
		case sep == ".", sep == "_", sep == "__", strings.Trim(sep, "-") == "":
		default:
			return false
		}
	}
	return true
}

// glob is a pattern of repository names, element by element. In an element '*'
// stands for any characters, none included; the element "**" stands for one or
// more whole elements. So "a" is a alone, "a/**" all below it, and "**" is everything.
type glob []string

// anyDepth is the element that stands for one or more.
const anyDepth = "**"

// parseGlob returns the pattern, or what is wrong with it.
func parseGlob(s string) (g glob, fault string) {
	if s == "" || len(s) > maxRepository {
		return nil, "a pattern has 1 to 255 characters"
	}
	for element := range strings.SplitSeq(s, "/") {
		switch {
		case element == "":
			return nil, "it has an empty element: write no '/' at the ends and no two in a row"
		case element == anyDepth:
		case strings.Contains(element, anyDepth):
			return nil, "\"**\" is an element of its own"
		case !validElement(fillStars(element)):
			return nil, "no repository can match: names are lower-case letters and digits, parted by '.', '_', '__' or '-'; patterns have '*' besides"
		}
		g = append(g, element)
	}
	return g, ""
}

// fillStars returns an element that the pattern could match.
func fillStars(element string) string { return strings.ReplaceAll(element, "*", "x") }

// match reports whether the pattern matches a valid repository name. Its cost
// is at most the product of both lengths.
func (g glob) match(name string) bool {
	elements := strings.Split(name, "/")
	// The position after the last "**", and the first element it has not taken.
	star, taken := -1, 0
	p := 0
	for i := 0; i < len(elements); {
		switch {
		case p < len(g) && g[p] == anyDepth:
			// It takes one now, and more when what follows fails.
			star, taken = p+1, i+1
			p, i = star, taken
		case p < len(g) && matchElement(g[p], elements[i]):
			p, i = p+1, i+1
		case star >= 0:
			taken++
			p, i = star, taken
		default:
			return false
		}
	}
	return p == len(g)
}

// matchElement matches one element, in which '*' stands for any characters.
func matchElement(pattern, s string) bool {
	star, taken := -1, 0
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, taken = p+1, i
			p = star
		case p < len(pattern) && pattern[p] == s[i]:
			p, i = p+1, i+1
		case star >= 0:
			taken++
			p, i = star, taken
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
