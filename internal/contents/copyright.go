// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"dossier.dev/dossier"
)

const (
	docDir        = "usr/share/doc"
	maxCopyright  = 1 << 20 // bytes of a copyright file that are looked at
	maxCopyrights = 50_000  // of one layer
)

// isCopyright recognises the files in which Debian keeps licences.
func isCopyright(p string) bool {
	return path.Base(p) == "copyright" && path.Dir(path.Dir(p)) == docDir
}

// takeCopyright notes the licences of a package of Debian. Its database does not
// name them.
func (r *reader) takeCopyright(p string, body io.Reader) error {
	if len(r.licenses) >= maxCopyrights {
		r.miss(p, dossier.MissedCount, fmt.Sprintf("there are more than %d copyright files", maxCopyrights))
		return nil
	}
	license, err := readCopyright(io.LimitReader(body, maxCopyright))
	if name := printable(path.Base(path.Dir(p))); license != "" && r.room(p, len(name)+len(license)) {
		r.licenses[name] = license
	}
	return err
}

var commonLicense = regexp.MustCompile(`/usr/share/common-licenses/([0-9A-Za-z_.-]*[0-9A-Za-z])`)

// readCopyright returns the licences that a copyright file names: those of its
// fields when it is machine-readable (DEP 5), else the texts that it points to.
func readCopyright(body io.Reader) (string, error) {
	fields, common := map[string]bool{}, map[string]bool{}
	readable := false
	lines := bufio.NewScanner(body)
	for n := 0; lines.Scan(); n++ {
		line := lines.Text()
		if strings.HasPrefix(line, "Format") && strings.Contains(line, "copyright-format") || strings.Contains(line, "dep5") && n == 0 {
			readable = true
		}
		if value, ok := strings.CutPrefix(line, "License:"); ok && readable {
			if value = spdxOfDebian(value); value != "" {
				fields[value] = true
			}
		}
		for _, m := range commonLicense.FindAllStringSubmatch(line, -1) {
			common[spdxOfDebian(m[1])] = true
		}
	}
	if lines.Err() == bufio.ErrTooLong {
		return "", nil // no text that people wrote
	}
	found := fields
	if len(found) == 0 {
		found = common
	}
	return printable(strings.Join(slices.Sorted(maps.Keys(found)), " AND ")), lines.Err()
}

// spdxOfDebian writes an expression of Debian's as SPDX does, as far as names
// differ.
func spdxOfDebian(s string) string {
	words := strings.Fields(strings.ReplaceAll(s, ",", " "))
	alternatives := false
	for i, w := range words {
		switch strings.ToLower(w) {
		case "or":
			words[i], alternatives = "OR", true
		case "and":
			words[i] = "AND"
		case "with":
			words[i] = "WITH"
		default:
			words[i] = licenseOfDebian(w)
		}
	}
	out := strings.Join(words, " ")
	if alternatives {
		out = "(" + out + ")"
	}
	return out
}

var gnu = regexp.MustCompile(`^(A?GPL|LGPL|GFDL)-?([0-9]+(?:\.[0-9]+)?)(\+?)$`)

// licenseOfDebian returns the SPDX name of a licence that Debian calls otherwise.
func licenseOfDebian(name string) string {
	if m := gnu.FindStringSubmatch(name); m != nil {
		version := m[2]
		if !strings.Contains(version, ".") {
			version += ".0"
		}
		if m[3] == "+" {
			return m[1] + "-" + version + "-or-later"
		}
		return m[1] + "-" + version + "-only"
	}
	switch strings.ToLower(name) {
	case "expat":
		return "MIT"
	case "artistic":
		return "Artistic-1.0-Perl"
	case "bsd", "bsd-3-clause":
		return "BSD-3-Clause"
	case "bsd-2-clause":
		return "BSD-2-Clause"
	case "zlib":
		return "Zlib"
	}
	return name
}
