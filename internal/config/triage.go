// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package config

// Triage says which findings do not count (docs/spec/scan.md).
type Triage struct {
	VEX    []string `yaml:"vex"`    // files of VEX documents, and directories of such files (*.json)
	Ignore []string `yaml:"ignore"` // files of what to ignore, and directories of such files (*.yaml, *.yml)
	// Attached says what VEX documents that are attached to an image may take out:
	// none, limited (nothing critical, high or exploited) or all. Empty: none.
	Attached string `yaml:"attached"`
}
