// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import "dossier.dev/dossier"

// Pattern is a pattern of repository names, as rules have them.
type Pattern struct{ glob glob }

// ParsePattern reads a pattern. KindInvalid.
func ParsePattern(s string) (Pattern, error) {
	g, fault := parseGlob(s)
	if fault != "" {
		return Pattern{}, dossier.Errorf(dossier.KindInvalid, "reading pattern", s, fault)
	}
	return Pattern{g}, nil
}

// Match reports whether a valid repository name is one of those that are meant.
func (p Pattern) Match(name string) bool { return p.glob.match(name) }
