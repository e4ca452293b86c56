// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"dossier.dev/dossier"
)

func sampleResult(t testing.TB) LayerResult {
	return readLayer(t, Options{},
		file("etc/os-release", debian12), file(status, dpkgBash+dpkgZlib), file("app/package.json", npm("a", "1.0.0")),
		symlink("lib", "usr/lib"), gone("old"), dir("srv"), exe("bin/app", rustProgram(t, rustAudit)), hardlink("b/package.json", "app/package.json"))
}

func TestEncode(t *testing.T) {
	want := sampleResult(t)
	b, err := Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Encode(sampleResult(t))
	if err != nil || !bytes.Equal(b, again) {
		t.Errorf("the same result is written in two ways, %v", err)
	}
	got, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after Encode and Decode (-want +got):\n%s", diff)
	}
}

func TestEncodeOfTooMuch(t *testing.T) {
	r := LayerResult{Version: Version, Digest: dossier.FromBytes(nil), Entries: 3}
	random := rand.New(rand.NewPCG(1, 2))
	for range 3 << 20 {
		r.Names = append(r.Names, random.Uint64())
	}
	r.Names = r.Names.normal()
	b, err := Encode(r)
	if err != nil || len(b) > dossier.MaxFactBody {
		t.Fatalf("got %d bytes, %v", len(b), err)
	}
	got, err := Decode(b)
	if err != nil || got.Digest != r.Digest || got.Entries != 3 || len(got.Names) != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
	if diff := cmp.Diff([]string{" layer"}, reasons(got.Missed)); diff != "" {
		t.Errorf("missed (-want +got):\n%s", diff)
	}
}

func TestDecodeFails(t *testing.T) {
	whole, err := Encode(sampleResult(t))
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for name, b := range map[string][]byte{
		"nothing":   nil,
		"no zstd":   []byte("{}"),
		"cut off":   whole[:len(whole)/2],
		"no JSON":   z.EncodeAll([]byte("x"), nil),
		"two":       z.EncodeAll([]byte("{}{}"), nil),
		"bad names": z.EncodeAll([]byte(`{"names":"AA=="}`), nil),
	} {
		if got, err := Decode(b); dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("%s: got %+v, %v; want an invalid error", name, got, err)
		}
	}
	bomb := z.EncodeAll([]byte(`{"version":"`+strings.Repeat(" ", 1<<20)+`"}`), nil)
	if _, err := decode(bomb, func() (*zstd.Decoder, error) { return newUnpacker(1 << 20) }); dossier.KindOf(err) != dossier.KindLimit {
		t.Errorf("bomb of %d bytes: %v, want a limit error", len(bomb), err)
	}
}

func TestSerial(t *testing.T) {
	if Serial(Version) < 1 {
		t.Errorf("version %s has no serial", Version)
	}
	for version, want := range map[string]int{"12+x": 12, "": 0, "x": 0, "-1+x": 0, "3": 3} {
		if got := Serial(version); got != want {
			t.Errorf("Serial(%q) = %d, want %d", version, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	b, err := Encode(sampleResult(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Decode(b)
		if err != nil {
			if kind := dossier.KindOf(err); kind != dossier.KindInvalid && kind != dossier.KindLimit {
				t.Errorf("an error of kind %q: %v", kind, err)
			}
			return
		}
		Fold([]LayerResult{r, r})
	})
}
