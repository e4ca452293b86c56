// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"dossier.dev/dossier"
)

// convertedSchema is the version of the format that converters write.
const convertedSchema = "1.7.0"

// write returns a record as it is kept. Equal records give equal bytes.
func (r *record) write(limits Limits) (Record, error) {
	r.SchemaVersion = convertedSchema
	slices.SortStableFunc(r.Affected, func(a, b affected) int {
		if c := strings.Compare(a.Package.Ecosystem, b.Package.Ecosystem); c != 0 {
			return c
		}
		return strings.Compare(a.Package.Name, b.Package.Name)
	})
	b, err := json.Marshal(r)
	if err != nil {
		return Record{}, &dossier.Error{Kind: dossier.KindInternal, Op: "writing advisory", Subject: printable(r.ID), Err: err}
	}
	a, err := Parse(b, limits)
	if err != nil {
		return Record{}, &Refused{printable(r.ID), err}
	}
	return Record{Advisory: a, Bytes: b}, nil
}

// writeAll yields records in the order of their IDs.
func writeAll(records map[string]*record, limits Limits) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for _, id := range slices.Sorted(maps.Keys(records)) {
			if !yield(records[id].write(limits)) {
				return
			}
		}
	}
}

// of returns the record of a distribution about a vulnerability, named
// "PREFIX-ID", and makes it when it is not there.
func of(records map[string]*record, prefix, id string) *record {
	name := prefix + "-" + id
	r := records[name]
	if r == nil {
		r = &record{ID: name, Upstream: []string{id}}
		records[name] = r
	}
	return r
}

// fixedIn is a range from the first version to one that is fixed; none when it is
// empty.
func fixedIn(version string) []versionRange {
	events := []map[string]string{{"introduced": "0"}}
	if version != "" {
		events = append(events, map[string]string{"fixed": version})
	}
	return []versionRange{{Type: string(dossier.RangeEcosystem), Events: events}}
}

// checkDocument checks the bounds of a document that is to be converted.
func checkDocument(op string, b []byte, limits Limits) error {
	if int64(len(b)) > limits.Document {
		return exceeds(op, "", "Document", int64(len(b)), limits.Document, "bytes")
	}
	if err := checkNesting(b, limits.Nesting); err != nil {
		return &dossier.Error{Kind: dossier.KindLimit, Op: op, Err: err}
	}
	return nil
}

// fails is a sequence of one error.
func fails(err error) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) { yield(Record{}, err) }
}

func invalidDocument(op string, format string, args ...any) error {
	return dossier.Errorf(dossier.KindInvalid, op, "", fmt.Sprintf(format, args...))
}

// sortKey orders what is said of packages.
func sortKey(a affected) string {
	return fmt.Sprint(a.Package.Ecosystem, "\x00", a.Package.Name, "\x00", a.Ranges, a.Versions, a.Database)
}
