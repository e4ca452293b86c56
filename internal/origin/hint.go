// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"slices"
	"strings"
	"time"
)

// oldestImage is before the first container image was made. A creation time
// before it was set to make the image reproducible: the year 1, the Unix epoch,
// the first day a zip file can name, and their like.
var oldestImage = time.Date(2013, 1, 1, 0, 0, 0, 0, time.UTC)

// Age is what a creation time tells.
type Age struct {
	At           time.Time // as stated, in UTC
	Reproducible bool      // At was fixed to make the build reproducible and says nothing about age
}

// ParseCreated reads a creation time. It reports false when s is not an RFC
// 3339 time.
func ParseCreated(s string) (Age, bool) {
	var t time.Time
	if t.UnmarshalText([]byte(s)) != nil {
		return Age{}, false
	}
	return Age{At: t.UTC(), Reproducible: t.Before(oldestImage)}, true
}

// HintKind is what an environment variable hints at.
type HintKind string

// The kinds of hint.
const (
	HintVersion  HintKind = "version"
	HintRelease  HintKind = "release"
	HintRevision HintKind = "revision"
	HintChecksum HintKind = "checksum"
)

// Hint is an environment variable that tells something about what is inside:
// NGINX_VERSION=1.27.3. It is a hint: nobody promises what it is about, and an
// image inherits those of its base.
type Hint struct {
	Kind  HintKind
	Name  string // what it is about, lower case: "nginx"; empty when it does not say
	Value string
	Key   string // the variable
}

// Hints returns the hints of the environment, in its order. A variable whose
// value does not look like what its name says is left out: environments hold
// secrets, and a hint must not show one.
func Hints(env []string) []Hint {
	var out []Hint
	for _, e := range env {
		variable, value, ok := strings.Cut(e, "=")
		if !ok {
			continue
		}
		for _, s := range hintSuffixes() {
			name, ok := cutSuffixWord(variable, s.suffix)
			if !ok {
				continue
			}
			if s.looks(value) {
				out = append(out, Hint{Kind: s.kind, Name: strings.ToLower(name), Value: value, Key: printable(variable)})
			}
			break
		}
	}
	return out
}

type hintSuffix struct {
	suffix string
	kind   HintKind
	looks  func(string) bool
}

func hintSuffixes() []hintSuffix {
	return []hintSuffix{
		{"VERSION", HintVersion, looksVersion},
		{"VER", HintVersion, looksVersion},
		{"RELEASE", HintRelease, looksVersion},
		{"REVISION", HintRevision, looksRevision},
		{"COMMIT", HintRevision, looksRevision},
		{"COMMIT_SHA", HintRevision, looksRevision},
		{"GIT_SHA", HintRevision, looksRevision},
		{"VCS_REF", HintRevision, looksRevision},
		{"SHA256", HintChecksum, looksChecksum},
		{"SHA512", HintChecksum, looksChecksum},
		{"CHECKSUM", HintChecksum, looksChecksum},
	}
}

// cutSuffixWord splits NGINX_VERSION into NGINX for the suffix VERSION, and
// VERSION itself into "". Letter case matters to neither.
func cutSuffixWord(variable, suffix string) (string, bool) {
	upper := strings.ToUpper(variable)
	if upper == suffix {
		return "", true
	}
	name, ok := strings.CutSuffix(upper, "_"+suffix)
	return name, ok
}

// looksVersion accepts short words of version characters with a digit in them.
func looksVersion(s string) bool {
	const longest = 64
	if s == "" || len(s) > longest || !strings.ContainsAny(s, "0123456789") {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune(".-_+~:", r)
	})
}

// looksRevision accepts what git calls an object name.
func looksRevision(s string) bool { return len(s) >= 7 && len(s) <= 64 && isHex(s) }

// looksChecksum accepts the hexadecimal digits of SHA-1, SHA-256 or SHA-512.
func looksChecksum(s string) bool {
	return slices.Contains([]int{40, 64, 128}, len(s)) && isHex(s)
}

func isHex(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'f') && (r < 'A' || r > 'F')
	})
}
