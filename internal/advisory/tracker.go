// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"bytes"
	"encoding/json"
	"iter"
	"strings"

	"dossier.dev/dossier"
)

const opTracker = "converting Debian security tracker"

// debianRelease returns the number of a release of Debian, "" for one that has
// none: unstable, and what is not known here.
func debianRelease(codename string) string {
	switch codename {
	case "wheezy":
		return "7"
	case "jessie":
		return "8"
	case "stretch":
		return "9"
	case "buster":
		return "10"
	case "bullseye":
		return "11"
	case "bookworm":
		return "12"
	case "trixie":
		return "13"
	case "forky":
		return "14"
	case "duke":
		return "15"
	}
	return ""
}

// trackerEntry is what the tracker says of a vulnerability in a source package.
type trackerEntry struct {
	Description string                    `json:"description"`
	Releases    map[string]trackerRelease `json:"releases"`
}

// trackerRelease is what it says of one release.
type trackerRelease struct {
	Status      string  `json:"status"` // resolved, open, undetermined
	Fixed       string  `json:"fixed_version"`
	Urgency     word    `json:"urgency"`
	NoDSA       *string `json:"nodsa"` // why no bulletin comes
	NoDSAReason string  `json:"nodsa_reason"`
}

// ConvertTracker makes records of the data of Debian's security tracker (JSON by
// source package), one for each vulnerability: "DEBIAN-CVE-2024-0001".
func ConvertTracker(b []byte, limits Limits) iter.Seq2[Record, error] {
	limits = limits.orDefault()
	if err := checkDocument(opTracker, b, limits); err != nil {
		return fails(err)
	}
	records := map[string]*record{}
	err := eachField(b, func(source string, d *json.Decoder) error {
		var entries map[string]trackerEntry
		if err := d.Decode(&entries); err != nil {
			return err
		}
		for id, e := range entries {
			if !idPattern.MatchString(id) {
				return invalidDocument(opTracker, "%s has an ID %q", short(source), short(id))
			}
			e.addTo(records, id, source)
		}
		return nil
	})
	if err != nil {
		return fails(&dossier.Error{Kind: kindOr(err, dossier.KindInvalid), Op: opTracker, Err: err})
	}
	return writeAll(records, limits)
}

// kindOr returns the kind of an error that has one.
func kindOr(err error, other dossier.Kind) dossier.Kind {
	if k := dossier.KindOf(err); k != dossier.KindInternal {
		return k
	}
	return other
}

// eachField calls f for each field of a JSON object, with a decoder that stands
// before its value.
func eachField(b []byte, f func(name string, d *json.Decoder) error) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil {
		return err
	} else if t != json.Delim('{') {
		return invalid("it is no object")
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := t.(string)
		if err := f(name, d); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

func (e *trackerEntry) addTo(records map[string]*record, id, source string) {
	for codename, s := range e.Releases {
		release := debianRelease(codename)
		if release == "" || s.Status == "undetermined" {
			continue
		}
		a := affected{
			Package:   packageName{Ecosystem: "Debian:" + release, Name: source},
			Ecosystem: ecosystemSpecific{Urgency: s.Urgency},
			Database:  affectedSpecific{converted{Source: true}},
		}
		if s.Status == "resolved" {
			a.Ranges = fixedIn(s.Fixed)
		} else {
			// What a later release has is fixed from that version on; here there
			// is nothing to update to.
			a.Ranges = fixedIn(e.inUnstable())
			a.Database.Dossier.Unreleased = e.inUnstable() != ""
			a.Database.Dossier.State, a.Database.Dossier.Note = s.state()
		}
		r := of(records, "DEBIAN", id)
		if r.Summary == "" {
			r.Summary = printable(e.Description)
		}
		r.Affected = append(r.Affected, a)
	}
}

// inUnstable returns the version in which unstable has the fix, or "".
func (e *trackerEntry) inUnstable() string {
	if sid := e.Releases["sid"]; sid.Status == "resolved" && sid.Fixed != "0" {
		return sid.Fixed
	}
	return ""
}

// state says what Debian does about an open vulnerability.
func (s trackerRelease) state() (state, note string) {
	if strings.Contains(string(s.Urgency), "end-of-life") {
		return string(dossier.EndOfLife), "end-of-life"
	}
	if s.NoDSA == nil {
		return "", ""
	}
	return debianState(s.NoDSAReason, *s.NoDSA)
}

// debianState translates Debian's word for why there is no bulletin.
func debianState(word, reason string) (state, note string) {
	switch word {
	case "ignored":
		state = string(dossier.WontFix)
	case "postponed":
		state = string(dossier.Deferred)
	case "end-of-life":
		state = string(dossier.EndOfLife)
	default:
		word = "no-dsa"
	}
	if reason = printable(reason); reason != "" {
		return state, word + ": " + reason
	}
	return state, word
}
