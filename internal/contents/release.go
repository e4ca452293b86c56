// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"

	"dossier.dev/dossier"
)

const (
	maxRelease  = 64 << 10 // bytes of one
	maxReleases = 64       // of one layer
)

// isRelease recognises files that tell of a distribution. What os-release names
// may be a symbolic link to anywhere, so each file called like it counts.
func isRelease(p string) bool {
	return strings.Contains(path.Base(p), "os-release") || p == "etc/redhat-release" || p == "etc/debian_version"
}

func (r *reader) takeRelease(p string, size int64, body io.Reader) error {
	if len(r.releases) >= maxReleases || size > maxRelease {
		r.miss(p, dossier.MissedFileSize, fmt.Sprintf("a layer has at most %d release files of %d bytes", maxReleases, maxRelease))
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(body, maxRelease))
	if err != nil {
		return err
	}
	if release, ok := parseRelease(p, b); ok {
		r.releases[p] = release
	}
	return nil
}

// parseRelease reads os-release(5), or one of the files that older
// distributions have in its place.
func parseRelease(p string, b []byte) (dossier.Distribution, bool) {
	switch p {
	case "etc/redhat-release":
		return parseRedHat(p, b)
	case "etc/debian_version":
		return dossier.Distribution{Path: p, ID: "debian", VersionID: printable(string(b))}, len(bytes.TrimSpace(b)) > 0
	}
	release := dossier.Distribution{Path: p}
	for line := range strings.SplitSeq(string(b), "\n") {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok {
			continue
		}
		value = unquote(value)
		switch key {
		case "ID":
			release.ID = strings.ToLower(value)
		case "ID_LIKE":
			release.Like = strings.Fields(strings.ToLower(value))
		case "VERSION_ID":
			release.VersionID = value
		case "VERSION_CODENAME":
			release.Codename = value
		case "PRETTY_NAME":
			release.Name = value
		case "VARIANT_ID":
			release.Variant = value
		}
	}
	return release, release.ID != ""
}

// unquote undoes the quoting of a shell as far as os-release(5) allows it.
func unquote(s string) string {
	s = strings.TrimSpace(s)
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		double := s[0] == '"'
		s = s[1 : len(s)-1]
		if double {
			s = strings.NewReplacer(`\"`, `"`, `\$`, `$`, "\\`", "`", `\\`, `\`).Replace(s)
		}
	}
	return printable(s)
}

var redHat = regexp.MustCompile(`(?i)^(centos|red hat|fedora)[^0-9]*([0-9]+(?:\.[0-9]+)*)`)

// parseRedHat reads the one line of /etc/redhat-release, "CentOS release 6.10
// (Final)".
func parseRedHat(p string, b []byte) (dossier.Distribution, bool) {
	line, _, _ := strings.Cut(string(b), "\n")
	m := redHat.FindStringSubmatch(line)
	if m == nil {
		return dossier.Distribution{}, false
	}
	id := strings.ToLower(m[1])
	if id == "red hat" {
		id = "rhel"
	}
	return dossier.Distribution{Path: p, ID: id, VersionID: m[2], Name: printable(line)}, true
}
