// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier_test

import (
	"strings"
	"testing"

	"dossier.dev/dossier"
)

const (
	emptySHA256 = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	emptySHA512 = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce" +
		"47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
)

func TestParseDigest(t *testing.T) {
	tests := []struct {
		in   string
		fine bool
	}{
		{emptySHA256, true},
		{emptySHA512, true},
		{"", false},
		{"sha256", false},
		{"sha256:", false},
		{":" + emptySHA256[7:], false},
		{emptySHA256[7:], false},
		{emptySHA256[:len(emptySHA256)-1], false},
		{emptySHA256 + "0", false},
		{emptySHA256 + "\n", false},
		{" " + emptySHA256, false},
		{strings.ToUpper(emptySHA256), false},
		{"sha256:" + strings.ToUpper(emptySHA256[7:]), false},
		{"SHA256:" + emptySHA256[7:], false},
		{"sha256:" + strings.Repeat("g", 64), false},
		{"sha512:" + emptySHA256[7:], false},
		{"sha256:" + emptySHA512[7:], false},
		{"sha384:" + strings.Repeat("0", 96), false},
		{"md5:" + strings.Repeat("0", 32), false},
		{"sha256:sha256:" + emptySHA256[14:], false},
	}
	for _, test := range tests {
		got, err := dossier.ParseDigest(test.in)
		switch {
		case test.fine && (err != nil || string(got) != test.in):
			t.Errorf("%q: got %q, %v, want it as it is", test.in, got, err)
		case !test.fine && (dossier.KindOf(err) != dossier.KindInvalid || got != ""):
			t.Errorf("%q: got %q, %v, want an invalid error", test.in, got, err)
		}
	}
}

func TestDigestOfBytes(t *testing.T) {
	if got := dossier.FromBytes(nil); got != emptySHA256 {
		t.Errorf("digest of nothing is %s", got)
	}
	for _, s := range []dossier.Digest{emptySHA256, emptySHA512} {
		if got := dossier.FromHash(s.Algorithm(), s.NewHash()); got != s {
			t.Errorf("hash of nothing gives %s, want %s", got, s)
		}
		if !s.Matches(nil) || s.Matches([]byte("x")) {
			t.Errorf("%s matches nothing: %v; something: %v", s, s.Matches(nil), s.Matches([]byte("x")))
		}
	}
	if d := dossier.Digest("md5:00"); d.NewHash() != nil || d.Matches(nil) {
		t.Error("an unknown algorithm has a hash")
	}
}

func TestDigestParts(t *testing.T) {
	tests := []struct {
		d                     dossier.Digest
		algorithm, hex, short string
	}{
		{emptySHA256, "sha256", emptySHA256[7:], "e3b0c44298fc"},
		{"sha256:abc", "sha256", "abc", "abc"},
		{"", "", "", ""},
	}
	for _, test := range tests {
		if a, h, s := test.d.Algorithm(), test.d.Hex(), test.d.Short(); a != test.algorithm || h != test.hex || s != test.short {
			t.Errorf("%q: got %q, %q, %q", test.d, a, h, s)
		}
	}
}

func TestIsDigestPrefix(t *testing.T) {
	for s, want := range map[string]bool{
		"e3b0c442":         true,
		"sha256:e3b0c442":  true,
		"sha512:cf83e135":  true,
		emptySHA256:        true,
		emptySHA512:        true,
		"e3b0c44":          false,
		"sha256:e3b0c44":   false,
		"E3B0C442":         false,
		"nginx:latest":     false,
		"":                 false,
		emptySHA512 + "00": false,
	} {
		if got := dossier.IsDigestPrefix(s); got != want {
			t.Errorf("%q: got %v, want %v", s, got, want)
		}
	}
}

func FuzzParseDigest(f *testing.F) {
	for _, s := range []string{emptySHA256, emptySHA512, "sha256:", "sha512:00", "md5:00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := dossier.ParseDigest(s)
		if err != nil {
			if len(err.Error()) > 1000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			return
		}
		if string(d) != s || d.NewHash() == nil || d.NewHash().Size()*2 != len(d.Hex()) || !dossier.IsDigestPrefix(s) {
			t.Errorf("%q was accepted as %q", s, d)
		}
	})
}
