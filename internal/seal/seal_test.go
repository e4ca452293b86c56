// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"dossier.dev/dossier"
)

func keyOf(b byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, keySize))
}

func parse(t *testing.T, lines ...string) Keys {
	t.Helper()
	keys, err := Parse([]byte(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestSeal(t *testing.T) {
	secret := []byte("a secret")
	old, both, other := parse(t, keyOf(1)), parse(t, "# the new one first", keyOf(2), "", keyOf(1)), parse(t, hex.EncodeToString(bytes.Repeat([]byte{3}, keySize)))
	kept := old.Seal("a", secret)
	if bytes.Contains(kept, secret) || bytes.Equal(kept, old.Seal("a", secret)) {
		t.Errorf("it is kept as %q", kept)
	}
	for _, keys := range []Keys{old, both} {
		if got, err := keys.Open("a", kept); err != nil || !bytes.Equal(got, secret) {
			t.Errorf("it opens as %q, %v", got, err)
		}
	}
	if !old.Current(kept) || both.Current(kept) || !both.Current(both.Seal("a", secret)) || both.Current(secret) || !Keys(nil).Current(secret) {
		t.Error("what is to be sealed anew is not known")
	}
	if got, err := Keys(nil).Open("a", Keys(nil).Seal("a", secret)); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("without keys it is %q, %v", got, err)
	}
	if got, err := old.Open("a", secret); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("what was never sealed is %q, %v", got, err)
	}
	changed := bytes.Clone(kept)
	changed[len(changed)-1] ^= 1
	for _, tt := range []struct {
		name  string
		keys  Keys
		label string
		kept  []byte
		kind  dossier.Kind
		want  string
	}{
		{"no key", nil, "a", kept, dossier.KindDenied, "the configuration names no key file"},
		{"another key", other, "a", kept, dossier.KindDenied, "which is not in the key file"},
		{"changed", old, "a", changed, dossier.KindCorrupt, "it was changed"},
		{"another's", old, "b", kept, dossier.KindCorrupt, "sealed for something else"},
		{"cut short", old, "a", kept[:len(magic)+3], dossier.KindCorrupt, "cut short"},
		{"cut shorter", old, "a", kept[:len(magic)+nameLen+2], dossier.KindCorrupt, "cut short"},
	} {
		if _, err := tt.keys.Open(tt.label, tt.kept); dossier.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "secret-password", keyOf(1) + "\n" + keyOf(2)[:20], hex.EncodeToString(make([]byte, 16))} {
		_, err := Parse([]byte(text))
		if dossier.KindOf(err) != dossier.KindInvalid || dossier.HintOf(err) == "" || len(text) > 10 && strings.Contains(err.Error(), text[:8]) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
