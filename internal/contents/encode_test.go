// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"bytes"
	"math/rand/v2"
	"slices"
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
	if _, err := decode(bomb, 1<<20); dossier.KindOf(err) != dossier.KindLimit {
		t.Errorf("bomb of %d bytes: %v, want a limit error", len(bomb), err)
	}
}

// TestUnfolded compares the room that is made for a text with what it takes, and refuses what
// is not one frame.
func TestUnfolded(t *testing.T) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	random := rand.NewChaCha8([32]byte{7})
	for _, size := range []int{0, 1, 1000, 128 << 10, 128<<10 + 1, 5 << 20} {
		noise := make([]byte, size)
		random.Read(noise)
		for _, text := range [][]byte{noise, make([]byte, size), bytes.Repeat([]byte("text "), size/5)} {
			var stream bytes.Buffer
			z.Reset(&stream)
			for part := range slices.Chunk(text, 100_000) {
				if _, err := z.Write(part); err != nil {
					t.Fatal(err)
				}
			}
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			for _, b := range [][]byte{stream.Bytes(), z.EncodeAll(text, nil)} {
				if len(b) == 0 {
					continue // a stream of nothing
				}
				room, ok := unfolded(b)
				if !ok || room < len(text) || room > len(text)+256<<10 {
					t.Errorf("%d bytes: room for %d, %v", len(text), room, ok)
				}
				two := append(slices.Clone(b), b...)
				if _, ok := unfolded(two); ok {
					t.Error("two frames are taken for one")
				}
				for n := range min(len(b), 1000) {
					if _, ok := unfolded(b[:n]); ok {
						t.Errorf("the first %d bytes of %d are taken for a frame", n, len(b))
					}
				}
			}
		}
	}
	// A frame that says that it has half a GiB.
	lie := []byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0xff, 0xff, 0xff, 0x1f, 0x01, 0, 0}
	if room, ok := unfolded(lie); ok {
		t.Errorf("room for %d bytes is made for a lie", room)
	}
	bombs := bytes.Repeat([]byte{0x02, 0, 0x10, 'x'}, 5000) // blocks of one byte 128 Ki times
	bomb := slices.Concat([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x58}, bombs, []byte{0x01, 0, 0})
	if _, err := Decode(bomb); dossier.KindOf(err) != dossier.KindLimit {
		t.Errorf("%d bytes that unfold into 600 MiB: %v", len(bomb), err)
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
