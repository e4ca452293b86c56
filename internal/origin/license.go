// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package origin

import "strings"

// maxLicense bounds a licence expression, in bytes, and with it the depth of
// its parentheses.
const maxLicense = 4096

// IsLicense reports whether s is an SPDX licence expression, by its grammar.
func IsLicense(s string) bool { return licenseFault(s) == "" }

// licenseFault says what is wrong with an SPDX licence expression (SPDX spec,
// annex "SPDX license expressions"), or "". It checks the grammar, not whether
// a licence of that name is on the list.
func licenseFault(s string) string {
	if len(s) > maxLicense {
		return "it is too long for a licence expression"
	}
	p := licenseParser{words: licenseWords(s)}
	if !p.expression() || len(p.words) > 0 {
		return "it is not an SPDX licence expression"
	}
	return ""
}

// licenseWords splits s into names, operators and parentheses.
func licenseWords(s string) []string {
	s = strings.ReplaceAll(s, "(", " ( ")
	s = strings.ReplaceAll(s, ")", " ) ")
	return strings.Fields(s)
}

// licenseParser consumes words from the left. Each method parses one rule and
// reports whether it was there.
type licenseParser struct{ words []string }

// expression = term { ("AND" | "OR") term }. Precedence changes the meaning,
// not what is well-formed.
func (p *licenseParser) expression() bool {
	if !p.term() {
		return false
	}
	for p.take("AND") || p.take("OR") {
		if !p.term() {
			return false
		}
	}
	return true
}

// term = "(" expression ")" | licence [ "WITH" exception ].
func (p *licenseParser) term() bool {
	if p.take("(") {
		return p.expression() && p.take(")")
	}
	if len(p.words) == 0 || !isLicense(p.words[0]) {
		return false
	}
	p.words = p.words[1:]
	if !p.take("WITH") {
		return true
	}
	if len(p.words) == 0 || !isLicenseRef(p.words[0], "AdditionRef-") && !isIDString(p.words[0]) {
		return false
	}
	p.words = p.words[1:]
	return true
}

// take consumes the next word when it is the operator. Operators are upper
// case, or all lower case since SPDX 3.
func (p *licenseParser) take(operator string) bool {
	if len(p.words) == 0 || (p.words[0] != operator && p.words[0] != strings.ToLower(operator)) {
		return false
	}
	p.words = p.words[1:]
	return true
}

// isLicense accepts a licence ID, with "+" for "or later", or a LicenseRef.
func isLicense(s string) bool {
	switch strings.ToUpper(s) {
	case "AND", "OR", "WITH":
		return false
	}
	if strings.HasPrefix(s, "DocumentRef-") || strings.HasPrefix(s, "LicenseRef-") {
		return isLicenseRef(s, "LicenseRef-")
	}
	return isIDString(strings.TrimSuffix(s, "+"))
}

// isLicenseRef accepts [DocumentRef-X:]PREFIX-X.
func isLicenseRef(s, prefix string) bool {
	if rest, ok := strings.CutPrefix(s, "DocumentRef-"); ok {
		document, ref, ok := strings.Cut(rest, ":")
		if !ok || !isIDString(document) {
			return false
		}
		s = ref
	}
	name, ok := strings.CutPrefix(s, prefix)
	return ok && isIDString(name)
}

// isIDString accepts letters, digits, "-" and ".".
func isIDString(s string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' {
			return false
		}
	}
	return s != ""
}
