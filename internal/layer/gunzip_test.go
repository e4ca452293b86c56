// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	klauspost "github.com/klauspost/compress/gzip"
)

// pack compresses as one member.
func pack(t testing.TB, level int, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// member wraps deflated bytes, whatever they are, with the sum of plain.
func member(deflated, plain []byte) []byte {
	b := append([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}, deflated...)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(plain))
	return binary.LittleEndian.AppendUint32(b, uint32(len(plain)))
}

// samples are inputs that compress in different ways.
func samples() map[string][]byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 300_000)
	for i := range random {
		random[i] = byte(rnd.Uint32())
	}
	skewed := make([]byte, 600_000) // long codes: each value half as frequent as the one before it
	for i := range skewed {
		for rnd.Uint32()&1 == 0 && skewed[i] < 40 {
			skewed[i]++
		}
	}
	var far bytes.Buffer // the longest distances, and short repeats of each period
	far.Write(random[:32<<10])
	far.Write(random[:1000])
	for period := 1; period < 20; period++ {
		far.Write(bytes.Repeat(random[:period], 600/period))
	}
	far.Write(bytes.Repeat(random[:31<<10], 12))
	return map[string][]byte{
		"nothing": nil, "one": []byte("a"), "zeros": make([]byte, 1_000_000), "random": random, "skewed": skewed, "far": far.Bytes(),
		"text": []byte(strings.Repeat("The quick brown fox jumps over the lazy dog. Pack my box with five dozen liquor jugs!\n", 3000)),
	}
}

// both decompresses with this package and with the standard library, and compares.
func both(t testing.TB, packed []byte, wrap func(io.Reader) io.Reader) (ours []byte, err error) {
	t.Helper()
	z, err := newGunzip(wrap(bytes.NewReader(packed)))
	if err == nil {
		ours, err = io.ReadAll(z)
	}
	var theirs []byte
	other, otherErr := gzip.NewReader(bytes.NewReader(packed))
	if otherErr == nil {
		theirs, otherErr = io.ReadAll(other)
	}
	if (err == nil) != (otherErr == nil) {
		t.Fatalf("of %d bytes: got %v, the standard library %v", len(packed), err, otherErr)
	}
	n := min(len(ours), len(theirs))
	if err == nil && len(ours) != len(theirs) || !bytes.Equal(ours[:n], theirs[:n]) {
		t.Fatalf("of %d bytes: got %d others than the standard library's %d", len(packed), len(ours), len(theirs))
	}
	return ours, err
}

func plainReader(r io.Reader) io.Reader { return r }

func TestGunzip(t *testing.T) {
	var all, packedAll []byte
	for name, sample := range samples() {
		for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, flate.BestSpeed, flate.DefaultCompression, flate.BestCompression} {
			packed := pack(t, level, sample)
			for _, wrap := range []func(io.Reader) io.Reader{plainReader, iotest.HalfReader, iotest.DataErrReader} {
				if got, err := both(t, packed, wrap); err != nil || !bytes.Equal(got, sample) {
					t.Errorf("%s, level %d: %d bytes of %d, %v", name, level, len(got), len(sample), err)
				}
			}
			all, packedAll = append(all, sample...), append(packedAll, packed...)
		}
	}
	if got, err := both(t, packedAll, plainReader); err != nil || !bytes.Equal(got, all) {
		t.Errorf("all as members of one: %d bytes of %d, %v", len(got), len(all), err)
	}
	var one bytes.Buffer
	w := klauspost.NewWriter(&one)
	w.Header = klauspost.Header{Name: "name", Comment: "comment", Extra: []byte("extra")}
	_, _ = io.WriteString(w, "hello") // a bytes.Buffer takes everything
	w.Close()
	small := one.Bytes()
	if got, err := both(t, small, iotest.OneByteReader); err != nil || string(got) != "hello" {
		t.Errorf("a header with all fields: %q, %v", got, err)
	}
}

// TestGunzipFails: what is cut off, changed or made wrong is refused where the standard
// library refuses it, and what came before is given out.
func TestGunzipFails(t *testing.T) {
	text := samples()["text"][:5000]
	fixed := []byte{0x4b, 0x4c, 0x04, 0x00} // "aa" in a block of fixed codes
	for name, packed := range map[string][]byte{"text": pack(t, 6, text), "stored": pack(t, 0, text[:600]), "fixed": member(fixed, []byte("aa")), "two": append(pack(t, 6, text[:50]), pack(t, 9, text)...)} {
		if _, err := both(t, packed, plainReader); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for n := range packed {
			if _, err := both(t, packed[:n], plainReader); n > 0 && err == nil && name != "two" {
				t.Errorf("%s: cut after %d bytes, no error", name, n)
			}
		}
		rnd := rand.New(rand.NewPCG(3, 4))
		for range 1000 {
			changed := bytes.Clone(packed)
			changed[rnd.IntN(len(changed))] ^= 1 << rnd.IntN(8)
			both(t, changed, plainReader)
		}
		if _, err := both(t, append(bytes.Clone(packed), "garbage of more than a header"...), plainReader); err == nil {
			t.Errorf("%s: garbage behind it was passed over", name)
		}
	}
	// A distance that reaches before the member, into the one before it.
	reaching := []byte{0x03, 0x02, 0x00} // fixed codes: a length of 3, a distance of 1
	if _, err := both(t, append(pack(t, 6, text), member(reaching, nil)...), plainReader); !errors.Is(err, errDeflate) {
		t.Errorf("a distance beyond the beginning: %v", err)
	}
	lost := errors.New("connection lost")
	packed := pack(t, 6, text)
	z, err := newGunzip(io.MultiReader(bytes.NewReader(packed[:len(packed)/2]), iotest.ErrReader(lost)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); !errors.Is(err, lost) || !bytes.HasPrefix(text, got) || len(got) == 0 {
		t.Errorf("a source that fails: %d bytes, %v", len(got), err)
	}
	z, err = newGunzip(io.MultiReader(bytes.NewReader(packed[:len(packed)/2]), readerFunc(func([]byte) (int, error) { return 0, nil })))
	if err == nil {
		_, err = io.ReadAll(z)
	}
	if !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a source that gives nothing: %v", err)
	}
}

// FuzzGunzip wants of any bytes what the standard library makes of them.
func FuzzGunzip(f *testing.F) {
	for _, sample := range samples() {
		for _, level := range []int{flate.HuffmanOnly, 0, 1, 9} {
			f.Add(pack(f, level, sample[:min(len(sample), 3000)]), false)
		}
	}
	f.Add([]byte{0x4b, 0x4c, 0x04, 0x00}, true)
	f.Add([]byte{0x05, 0xe0, 0x81, 0x08, 0, 0, 0, 0, 0x20, 0x7f, 0xeb, 0x0b}, true)
	f.Fuzz(func(t *testing.T, b []byte, deflated bool) {
		if deflated {
			// The sum is right, so that what counts is the block.
			plain, _ := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(b)), 1<<20))
			b = member(b, plain)
		}
		both(t, b, plainReader)
		both(t, b, iotest.OneByteReader)
	})
}
