// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"net"
	"strings"
	"unicode"
	"unicode/utf8"

	"dossier.dev/dossier"
)

// MaxText bounds each text of an entry that a client chooses, in bytes.
const MaxText = 256

// clean cuts a text and takes out of it what could be taken for something else
// where it is shown: ends of lines, other control characters, and those that
// change the direction of writing.
func clean(s string) string {
	if len(s) <= MaxText && isPlain(s) {
		return s
	}
	s = strings.Map(func(r rune) rune {
		if !isShown(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) <= MaxText {
		return s
	}
	end := MaxText
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// hostOf returns the address of HOST:PORT.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	return clean(strings.TrimPrefix(host, "::ffff:"))
}

// cleanCaller cleans all that is known of a caller.
func cleanCaller(c dossier.AuditCaller) dossier.AuditCaller {
	return dossier.AuditCaller{
		Kind: clean(c.Kind), Name: clean(c.Name), Pod: clean(c.Pod), PodUID: clean(c.PodUID), Login: clean(c.Login),
	}
}

// isPlain reports whether all of a text may be shown.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !isShown(r) })
		}
	}
	return true
}

func isShown(r rune) bool { return unicode.IsPrint(r) && !unicode.Is(unicode.Bidi_Control, r) }
