// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestFactsSpec compares docs/spec/facts.md with the code: the example's ID
// and leaf, the kinds, and the limits.
func TestFactsSpec(t *testing.T) {
	b, err := os.ReadFile("docs/spec/facts.md")
	if err != nil {
		t.Fatal(err)
	}
	example := Fact{
		Statement: Statement{
			Subject: FromBytes(nil),
			Kind:    FactTag,
			Source:  "registry:example.org/shop:1",
			ValidAt: time.Date(2024, 6, 1, 12, 0, 0, 0, time.UTC),
			Body:    []byte(`{"name":"example.org/shop","tag":"1","points":true}`),
		},
		RecordedAt: time.Date(2024, 6, 1, 12, 0, 1, 0, time.UTC),
		Seq:        1,
		Salt:       make([]byte, 32),
	}
	want := []string{
		string(example.Subject), example.Source, string(example.Body),
		string(example.Statement.ID()), string(example.LeafHash()),
		"at most 1024 bytes", "at most 16 MiB",
	}
	for _, kind := range []FactKind{
		FactIndex, FactManifest, FactConfig, FactGoBuild, FactLayer, FactContents, FactBill, FactAttached, FactSignature, FactName, FactTag, FactRun,
		FactPush, FactMount, FactRetag, FactDelete, FactDamage, FactHeal, FactRetraction,
	} {
		want = append(want, "| `"+string(kind)+"` |")
	}
	for _, w := range want {
		if !strings.Contains(string(b), w) {
			t.Errorf("the specification does not have %s", w)
		}
	}
	if MaxFactSource != 1024 || MaxFactBody != 16<<20 {
		t.Error("the specification has other limits")
	}
}
