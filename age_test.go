// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import (
	"testing"
	"time"
)

func TestParseAge(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"0": 0, "0d": 0, "90d": 90 * 24 * time.Hour, "2w": 14 * 24 * time.Hour, "36h": 36 * time.Hour, "15m": 15 * time.Minute, "7s": 7 * time.Second,
		"9223372036s": 9223372036 * time.Second,
	} {
		if got, err := ParseAge(s); err != nil || got != want {
			t.Errorf("ParseAge(%q) = %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "d", "90", "-1d", "+1d", "1.5d", "1y", "90 d", "1d2h", "9223372037s", "18446744073709551616d", "106752d", "d90", "１d"} {
		if got, err := ParseAge(s); KindOf(err) != KindInvalid {
			t.Errorf("ParseAge(%q) = %v, %v, want it refused", s, got, err)
		}
	}
}

func FuzzParseAge(f *testing.F) {
	f.Add("90d")
	f.Add("-1w")
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := ParseAge(s); got < 0 || err != nil && (got != 0 || KindOf(err) != KindInvalid) {
			t.Errorf("ParseAge(%q) = %v, %v", s, got, err)
		}
	})
}
