// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

// noon is a time with microseconds.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)

// fullEntry has something in every field that a block keeps.
func fullEntry(at time.Time) dossier.AuditEntry {
	return dossier.AuditEntry{
		At: at, Action: dossier.ActionMount, Denied: true, Repository: "registry.example/team/app", Object: dossier.ObjectBlob,
		Digest: dossier.FromBytes([]byte("digest")), Tag: "v1", Was: dossier.FromBytes([]byte("was")), Source: "registry.example/base",
		Caller:  dossier.AuditCaller{Kind: "serviceaccount", Name: "ci/builder", Pod: "builder-0", PodUID: "8a1f", Login: "token review"},
		Address: "2001:db8::1", Client: "containerd/2.0 – ünïcode", Status: 403, Code: "DENIED", Bytes: 1 << 40, Count: 7,
	}
}

func TestBlockKeepsEntries(t *testing.T) {
	want := []dossier.AuditEntry{
		{At: noon, Action: dossier.ActionPull},
		fullEntry(noon),
		{At: noon.Add(time.Microsecond)},
		fullEntry(noon.Add(time.Second)),
	}
	got, err := decode(noon, encode(want))
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got, err := decode(noon, encode(nil)); err != nil || len(got) > 0 {
		t.Errorf("no entries: %v, %v", got, err)
	}
}

// TestBlockIsSmall checks that what repeats costs next to nothing.
func TestBlockIsSmall(t *testing.T) {
	var list []dossier.AuditEntry
	for i := range maxEntries {
		e := fullEntry(noon.Add(time.Duration(i) * 100 * time.Microsecond))
		e.Bytes, e.Address = int64(i), fmt.Sprint("10.0.0.", i%200)
		list = append(list, e)
	}
	if got := len(encode(list)) / len(list); got > 32 {
		t.Errorf("an entry takes %d bytes", got)
	}
}

func TestDamagedBlocks(t *testing.T) {
	good := encode([]dossier.AuditEntry{fullEntry(noon), fullEntry(noon)})
	for n := range good {
		if _, err := decode(noon, good[:n]); dossier.KindOf(err) != dossier.KindCorrupt {
			t.Errorf("the first %d of %d bytes: %v, want it refused", n, len(good), err)
		}
	}
	for name, body := range map[string][]byte{
		"version":  append([]byte{2}, good[1:]...),
		"rest":     append(slices.Clone(good), 0),
		"texts":    {blockVersion, 0xff, 0xff, 0xff, 0xff, 0x0f},
		"entries":  {blockVersion, 0, 0xff, 0xff, 0xff, 0xff, 0x0f},
		"no texts": append([]byte{blockVersion, 0, 1}, make([]byte, 20)...),
	} {
		if _, err := decode(noon, body); dossier.KindOf(err) != dossier.KindCorrupt {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
}

func FuzzBlock(f *testing.F) {
	f.Add(encode([]dossier.AuditEntry{fullEntry(noon), {At: noon}}))
	f.Add([]byte{blockVersion, 1, 0, 1, 0, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		list, err := decode(noon, body)
		if err != nil {
			if dossier.KindOf(err) != dossier.KindCorrupt {
				t.Errorf("%v", err)
			}
			return
		}
		if len(list) > 0 && list[0].At.Equal(noon) {
			again, err := decode(noon, encode(list))
			if diff := cmp.Diff(list, again); err != nil || diff != "" {
				t.Errorf("%v (-first +again):\n%s", err, diff)
			}
		}
	})
}

// TestClean checks what a client may make others see.
func TestClean(t *testing.T) {
	for s, want := range map[string]string{
		"":                                  "",
		"containerd/2.0":                    "containerd/2.0",
		"ünïcode 漢字":                        "ünïcode 漢字",
		"a\nlevel=ERROR msg=forged":         "a?level=ERROR msg=forged",
		"\r\t\x00\x1b[31mred\x7f":           "????[31mred?",
		"\u202eevil\u2066\u200f\u061c":      "?evil???",
		"\u2028\u2029\u0085\ufeff":          "????",
		"bad \xff\xfe bytes":                "bad ? bytes",
		strings.Repeat("x", MaxText+10):     strings.Repeat("x", MaxText),
		strings.Repeat("é", MaxText):        strings.Repeat("é", MaxText/2),
		"x" + strings.Repeat("é", MaxText):  "x" + strings.Repeat("é", MaxText/2-1),
		strings.Repeat("\xff", MaxText+100): "?",
	} {
		if got := clean(s); got != want {
			t.Errorf("clean(%q) = %q, want %q", s, got, want)
		}
	}
	for address, want := range map[string]string{
		"10.1.2.3:4711": "10.1.2.3", "[2001:db8::1]:80": "2001:db8::1", "[::ffff:10.1.2.3]:80": "10.1.2.3", "@": "@", "": "", "a\nb:1": "a?b",
	} {
		if got := hostOf(address); got != want {
			t.Errorf("hostOf(%q) = %q, want %q", address, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\nb\u202e\xff")
	f.Add(strings.Repeat("é", MaxText))
	f.Fuzz(func(t *testing.T, s string) {
		got := clean(s)
		if len(got) > MaxText || !isPlain(got) || clean(got) != got {
			t.Errorf("clean(%q) = %q", s, got)
		}
		if strings.ContainsAny(got, "\r\n\x00\x1b") {
			t.Errorf("clean(%q) = %q has a control character", s, got)
		}
	})
}
