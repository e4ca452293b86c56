// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSymbols(t *testing.T) {
	var names []string
	for i := range 5000 {
		names = append(names, fmt.Sprintf("example.org/p.F%d", i))
	}
	s := NewSymbols(append(names, names...))
	text, err := s.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var back Symbols
	if err := back.UnmarshalText(text); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, back); diff != "" {
		t.Errorf("after writing and reading (-want +got):\n%s", diff)
	}
	for _, n := range names {
		if !back.Has(n) {
			t.Fatalf("%s is not in the set", n)
		}
	}
	if wrong := slices.ContainsFunc([]string{"example.org/p.G", "", "F1"}, back.Has); wrong {
		t.Error("something is in the set that was not put there")
	}
	if len(text) > 5*len(names) {
		t.Errorf("%d symbols take %d bytes of text", len(names), len(text))
	}
}

func TestSymbolsUnmarshal(t *testing.T) {
	for _, text := range []string{"AAA=", "AQA=", "gA==", "////////", "!", "/////w8B"} { // 0 0; 1 0; unfinished; too large; no base64; overflow
		var s Symbols
		if err := s.UnmarshalText([]byte(text)); KindOf(err) != KindInvalid {
			t.Errorf("%s: %v, %v", text, s, err)
		}
	}
	var s Symbols
	if err := s.UnmarshalText([]byte("AAE=")); err != nil || !slices.Equal(s, Symbols{0, 1}) { // 0 1
		t.Errorf("%v, %v", s, err)
	}
}

func FuzzSymbolsUnmarshal(f *testing.F) {
	f.Add([]byte("AAE="))
	f.Fuzz(func(t *testing.T, text []byte) {
		var s Symbols
		if s.UnmarshalText(text) != nil {
			return
		}
		if !slices.IsSorted(s) || len(slices.Compact(slices.Clone(s))) != len(s) {
			t.Errorf("%s is no sorted set", text)
		}
	})
}

func TestSeverityRank(t *testing.T) {
	order := []Severity{SeverityUnknown, SeverityNegligible, SeverityLow, SeverityMedium, SeverityHigh, SeverityCritical}
	for i, s := range order {
		if s.Rank() != i {
			t.Errorf("%s has rank %d, want %d", s, s.Rank(), i)
		}
	}
}
