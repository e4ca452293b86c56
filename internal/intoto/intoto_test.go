// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package intoto

import (
	"encoding/base64"
	"testing"

	"dossier.dev/dossier"
)

func statement(predicate string) string {
	return `{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://example.org/p","subject":[{"name":"a","digest":{"sha256":"` + dossier.FromBytes(nil).Hex() +
		`"}},{"name":"b","digest":{"sha256":"x"}}],"predicate":` + predicate + `}`
}

func envelope(payload string) string {
	return `{"payloadType":"application/vnd.in-toto+json","payload":"` + base64.StdEncoding.EncodeToString([]byte(payload)) + `"}`
}

func TestUnwrap(t *testing.T) {
	deep := `{"a":1}`
	for range 6 {
		deep = envelope(deep)
	}
	for name, tt := range map[string]struct {
		document, want, predicate string
		kind                      dossier.Kind
	}{
		"bare":              {`{"a":1}`, `{"a":1}`, "", ""},
		"statement":         {statement(`{"a":1}`), `{"a":1}`, "https://example.org/p", ""},
		"envelope":          {envelope(statement(`{"a":1}`)), `{"a":1}`, "https://example.org/p", ""},
		"bundle":            {`{"dsseEnvelope":` + envelope(statement(`{"a":1}`)) + `}`, `{"a":1}`, "https://example.org/p", ""},
		"predicate as text": {statement(`"{\"a\":1}"`), `{"a":1}`, "https://example.org/p", ""},
		"predicate in Data": {statement(`{"Data":"{\"a\":1}"}`), `{"a":1}`, "https://example.org/p", ""},
		"too deep":          {deep, "", "", dossier.KindUnsupported},
		"no object":         {`[1]`, "", "", dossier.KindUnsupported},
		"no JSON":           {`{"a"`, "", "", dossier.KindInvalid},
		"no payload":        {`{"payloadType":"x","payload":"%"}`, "", "", dossier.KindInvalid},
		"too large":         {statement(`"` + string(make([]byte, 2000)) + `"`), "", "", dossier.KindLimit},
	} {
		d, err := Unwrap("testing", []byte(tt.document), 2000)
		if err != nil && dossier.KindOf(err) != tt.kind || err == nil && tt.kind != "" {
			t.Errorf("%s: got %v, want an error of kind %q", name, err, tt.kind)
		}
		if string(d.Bytes) != tt.want || d.PredicateType != tt.predicate {
			t.Errorf("%s: got %s of %q, want %s of %q", name, d.Bytes, d.PredicateType, tt.want, tt.predicate)
		}
		if tt.predicate != "" && (len(d.Subjects) != 1 || d.Subjects[0] != Subject{"a", dossier.FromBytes(nil)}) {
			t.Errorf("%s: subjects %v", name, d.Subjects)
		}
	}
}

func FuzzUnwrap(f *testing.F) {
	f.Add([]byte(envelope(statement(`{"Data":{}}`))))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Unwrap("testing", b, 1<<20)
		if (err == nil) != (d.Bytes != nil) {
			t.Errorf("%v, %v", d, err)
		}
	})
}
