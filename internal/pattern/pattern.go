// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package pattern has regular expressions that are compiled when they are first used.
// A program begins sooner than one whose packages compile theirs when it starts.
package pattern

import (
	"regexp"
	"sync"
)

// Pattern is a regular expression of package regexp. Its methods are those of
// [regexp.Regexp], and panic when it is none.
type Pattern struct{ compiled func() *regexp.Regexp }

// New returns the regular expression that a text writes.
func New(text string) Pattern {
	return Pattern{sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })}
}

// MatchString is that of regexp.
func (p Pattern) MatchString(s string) bool { return p.compiled().MatchString(s) }

// FindString is that of regexp.
func (p Pattern) FindString(s string) string { return p.compiled().FindString(s) }

// FindStringSubmatch is that of regexp.
func (p Pattern) FindStringSubmatch(s string) []string { return p.compiled().FindStringSubmatch(s) }

// ReplaceAllString is that of regexp.
func (p Pattern) ReplaceAllString(s, to string) string { return p.compiled().ReplaceAllString(s, to) }
