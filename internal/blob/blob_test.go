// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package blob

import (
	"path/filepath"
	"strings"
	"testing"

	"dossier.dev/dossier"
)

func TestCheckKey(t *testing.T) {
	tests := []struct {
		key string
		ok  bool
	}{
		{NewKey(), true},
		{"abcdefgh", true},
		{"0-------9", true},
		{strings.Repeat("a", 128), true},
		{"", false},
		{"abcdefg", false},
		{strings.Repeat("a", 129), false},
		{"ABCDEFGH", false},
		{"abcd/efgh", false},
		{"../../../etc", false},
		{"abcd.efgh", false},
		{"abcdefg\x00", false},
		{"abcdefgé", false},
		{"-abcdefgh", false},
		{"abcdefgh-", false},
		{`abcd\efgh`, false},
	}
	for _, tt := range tests {
		err := CheckKey(tt.key)
		if got := err == nil; got != tt.ok {
			t.Errorf("CheckKey(%q) = %v, want ok %v", tt.key, err, tt.ok)
		}
		if err != nil && dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("CheckKey(%q) has kind %q", tt.key, dossier.KindOf(err))
		}
	}
}

func TestNewKey(t *testing.T) {
	if a, b := NewKey(), NewKey(); a == b {
		t.Errorf("two keys are both %s", a)
	}
}

func FuzzCheckKey(f *testing.F) {
	for _, key := range []string{"abcdefgh", "../../../etc/passwd", "a-b-c-d-e", "", "con\x00", "........"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if CheckKey(key) != nil {
			return
		}
		if !filepath.IsLocal(key) || filepath.Base(key) != key || strings.ContainsAny(key, "./\\ ") {
			t.Errorf("%q is accepted and is not a plain file name", key)
		}
	})
}
