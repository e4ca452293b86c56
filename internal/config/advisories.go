// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package config

import "time"

// Advisories says where feeds of advisories are fetched from, and how often.
type Advisories struct {
	// Base is where feeds lie, as OSV publishes them: a web address, file:// or a
	// directory. Empty: none are fetched.
	Base       string        `yaml:"base"`
	Ecosystems []string      `yaml:"ecosystems"` // that are fetched, as OSV names them
	Every      time.Duration `yaml:"every"`      // 0: 1h
	// MaxAge is how old advisories may be before answers and metrics call them old. 0: 72h.
	MaxAge time.Duration `yaml:"maxAge"`
}
