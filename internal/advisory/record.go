// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"encoding/json"
	"time"
)

// record is a record of the Open Source Vulnerability format (OSV schema 1.7),
// as far as it is read and written here.
type record struct {
	SchemaVersion string         `json:"schema_version,omitempty"`
	ID            string         `json:"id"`
	Modified      instant        `json:"modified"`
	Published     instant        `json:"published,omitzero"`
	Withdrawn     instant        `json:"withdrawn,omitzero"`
	Aliases       []string       `json:"aliases,omitempty"`
	Upstream      []string       `json:"upstream,omitempty"`
	Related       []string       `json:"related,omitempty"`
	Summary       string         `json:"summary,omitempty"`
	Details       string         `json:"details,omitempty"`
	Severity      []severity     `json:"severity,omitempty"`
	Affected      []affected     `json:"affected,omitempty"`
	References    []reference    `json:"references,omitempty"`
	Database      recordSpecific `json:"database_specific,omitzero"`
}

type severity struct {
	Type  string `json:"type"`
	Score string `json:"score"`
}

type affected struct {
	Package   packageName       `json:"package"`
	Severity  []severity        `json:"severity,omitempty"`
	Ranges    []versionRange    `json:"ranges,omitempty"`
	Versions  []string          `json:"versions,omitempty"`
	Ecosystem ecosystemSpecific `json:"ecosystem_specific,omitzero"`
	Database  affectedSpecific  `json:"database_specific,omitzero"`
}

type packageName struct {
	Ecosystem string `json:"ecosystem"`
	Name      string `json:"name"`
	PURL      string `json:"purl,omitempty"`
}

type versionRange struct {
	Type   string              `json:"type"`
	Events []map[string]string `json:"events"`
}

type reference struct {
	Type string `json:"type"`
	URL  string `json:"url"`
}

// recordSpecific is what the database of a record adds to it.
type recordSpecific struct {
	Severity word `json:"severity,omitempty"` // GitHub
}

// ecosystemSpecific is what an ecosystem adds to a package.
type ecosystemSpecific struct {
	Urgency  word           `json:"urgency,omitempty"` // Debian
	Severity word           `json:"severity,omitempty"`
	Imports  []goImport     `json:"imports,omitempty"` // Go
	Custom   []versionRange `json:"custom_ranges,omitempty"`
	Broken   error          `json:"-"` // what Go's fields hold instead
}

// UnmarshalJSON reads what it knows. What other ecosystems write under the same
// names is no error: it may be anything.
func (e *ecosystemSpecific) UnmarshalJSON(b []byte) error {
	var fields map[string]json.RawMessage
	if json.Unmarshal(b, &fields) != nil {
		return nil
	}
	for name, to := range map[string]*word{"urgency": &e.Urgency, "severity": &e.Severity} {
		if raw, ok := fields[name]; ok {
			*to = word(unquote(raw))
		}
	}
	for name, to := range map[string]any{"imports": &e.Imports, "custom_ranges": &e.Custom} {
		if raw, ok := fields[name]; ok {
			if err := json.Unmarshal(raw, to); err != nil {
				e.Broken = err
			}
		}
	}
	return nil
}

// UnmarshalJSON reads what converters wrote, if it is that.
func (a *affectedSpecific) UnmarshalJSON(b []byte) error {
	type plain affectedSpecific
	var p plain
	if json.Unmarshal(b, &p) == nil {
		*a = affectedSpecific(p)
	}
	return nil
}

// UnmarshalJSON reads what GitHub writes, if it is that.
func (r *recordSpecific) UnmarshalJSON(b []byte) error {
	type plain recordSpecific
	var p plain
	if json.Unmarshal(b, &p) == nil {
		*r = recordSpecific(p)
	}
	return nil
}

type goImport struct {
	Path    string   `json:"path"`
	Symbols []string `json:"symbols,omitempty"`
	OS      []string `json:"goos,omitempty"`
	Arch    []string `json:"goarch,omitempty"`
}

// affectedSpecific is what our converters add to a package.
type affectedSpecific struct {
	Dossier converted `json:"dossier,omitzero"`
}

// converted is what the Open Source Vulnerability format has no field for
// (docs/spec/advisories.md).
type converted struct {
	State      string `json:"state,omitempty"`      // dossier.FixState
	Note       string `json:"note,omitempty"`       // the distribution's words for it
	Unreleased bool   `json:"unreleased,omitempty"` // the fixed version is none of this release
	Source     bool   `json:"source,omitempty"`     // the name is that of a source package
	Stream     string `json:"stream,omitempty"`     // "name:stream" of the module
}

// instant is a time, the zero time where somebody wrote what is none. told says
// that something was written.
type instant struct {
	time.Time
	told bool
}

// UnmarshalJSON reads a time of RFC 3339. It never fails.
func (t *instant) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	t.told = true
	if at, err := time.Parse(time.RFC3339Nano, unquote(b)); err == nil {
		t.Time = at
	}
	return nil
}

// MarshalJSON writes a time of RFC 3339.
func (t instant) MarshalJSON() ([]byte, error) { return t.Time.UTC().MarshalJSON() }

// IsZero reports whether nothing was written.
func (t instant) IsZero() bool { return !t.told && t.Time.IsZero() }

// word is a string where others may write something else: that counts for
// nothing.
type word string

// UnmarshalJSON reads a string. It never fails.
func (w *word) UnmarshalJSON(b []byte) error {
	*w = word(unquote(b))
	return nil
}
