// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package layer_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/layer"
)

// archive writes regular files, each "name=content".
func archive(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		name, content, _ := strings.Cut(f, "=")
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func pack(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func packZstd(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(b, nil)
}

func sourceOf(b, plain []byte) layer.Source {
	return layer.Source{
		Digest: dossier.FromBytes(b),
		DiffID: dossier.FromBytes(plain),
		Open:   func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil },
	}
}

func TestWalk(t *testing.T) {
	plain := archive(t, "a=one", "b/c=two")
	padded := append(bytes.Clone(plain), make([]byte, 10<<10)...)
	for _, tt := range []struct {
		name          string
		packed, plain []byte
	}{
		{"uncompressed", plain, plain},
		{"gzip", pack(t, plain), plain},
		{"gzip of two members", append(pack(t, plain[:700]), pack(t, plain[700:])...), plain},
		{"zstd", packZstd(t, plain), plain},
		{"zstd after a skippable frame", append([]byte{0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 'x'}, packZstd(t, plain)...), plain},
		{"padding after the end", pack(t, padded), padded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			s := sourceOf(tt.packed, tt.plain)
			sum, err := layer.Walk(t.Context(), s, layer.Limits{}, func(h *tar.Header, content io.Reader) error {
				b, err := io.ReadAll(content)
				got = append(got, h.Name+"="+string(b))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"a=one", "b/c=two"}, got); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
			want := layer.Summary{Digest: s.Digest, DiffID: s.DiffID, Size: int64(len(tt.packed)), Unpacked: int64(len(tt.plain)), Entries: 2}
			if diff := cmp.Diff(want, sum); diff != "" {
				t.Errorf("summary (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWalkFails(t *testing.T) {
	plain := archive(t, "a=one", "b=two", "c=three")
	packed := pack(t, plain)
	other := dossier.FromBytes([]byte("other"))
	flipped := bytes.Clone(packed)
	flipped[9] ^= 0xff // the operating system in the gzip header: the content stays the same
	stopped := errors.New("stopped")
	for _, tt := range []struct {
		name    string
		source  layer.Source
		limits  layer.Limits
		visit   error
		want    dossier.Kind
		checked bool // the digest was found right
	}{
		{"wrong digest", layer.Source{Digest: other, DiffID: dossier.FromBytes(plain), Open: sourceOf(packed, plain).Open}, layer.Limits{}, nil, dossier.KindCorrupt, false},
		{"header changed, content not", layer.Source{Digest: dossier.FromBytes(packed), DiffID: dossier.FromBytes(plain), Open: sourceOf(flipped, plain).Open}, layer.Limits{}, nil, dossier.KindCorrupt, false},
		{"wrong diffID", layer.Source{Digest: dossier.FromBytes(packed), DiffID: other, Open: sourceOf(packed, plain).Open}, layer.Limits{}, nil, dossier.KindCorrupt, true},
		{"malformed digest", layer.Source{Digest: "sha1:00"}, layer.Limits{}, nil, dossier.KindInvalid, false},
		{"malformed diffID", layer.Source{Digest: other, DiffID: "x"}, layer.Limits{}, nil, dossier.KindInvalid, false},
		{"truncated archive", sourceOf(plain[:len(plain)/3], plain[:len(plain)/3]), layer.Limits{}, nil, dossier.KindInvalid, true},
		{"truncated gzip", sourceOf(packed[:len(packed)/2], plain), layer.Limits{}, nil, dossier.KindInvalid, true},
		{"no archive", sourceOf(bytes.Repeat([]byte("nonsense"), 200), nil), layer.Limits{}, nil, dossier.KindInvalid, true},
		{"xz", sourceOf([]byte("\xfd7zXZ\x00..."), nil), layer.Limits{}, nil, dossier.KindUnsupported, true},
		{"compressed bytes", sourceOf(packed, plain), layer.Limits{Compressed: 20}, nil, dossier.KindLimit, false},
		{"unpacked bytes", sourceOf(packed, plain), layer.Limits{Unpacked: 1000}, nil, dossier.KindLimit, true},
		{"entries", sourceOf(packed, plain), layer.Limits{Entries: 2}, nil, dossier.KindLimit, true},
		{"visit", sourceOf(packed, plain), layer.Limits{}, stopped, dossier.KindInternal, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sum, err := layer.Walk(t.Context(), tt.source, tt.limits, func(*tar.Header, io.Reader) error { return tt.visit })
			if dossier.KindOf(err) != tt.want || tt.visit != nil && !errors.Is(err, tt.visit) {
				t.Errorf("got %v, want an error of kind %q", err, tt.want)
			}
			if got := sum.Digest != ""; got != tt.checked {
				t.Errorf("digest checked: got %v, want %v", got, tt.checked)
			}
		})
	}
	t.Run("canceled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := layer.Walk(ctx, sourceOf(packed, plain), layer.Limits{}, func(*tar.Header, io.Reader) error { cancel(); return nil })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	})
}

func FuzzWalk(f *testing.F) {
	plain := archive(f, "a=one", "b=two")
	f.Add(plain)
	f.Add(pack(f, plain))
	f.Add(packZstd(f, plain))
	f.Add([]byte{0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		limits := layer.Limits{Compressed: 1 << 20, Unpacked: 1 << 20, Entries: 1000}
		read := int64(0)
		sum, err := layer.Walk(t.Context(), layer.Source{Digest: dossier.FromBytes(b), Open: sourceOf(b, nil).Open}, limits,
			func(_ *tar.Header, content io.Reader) error {
				n, err := io.Copy(io.Discard, io.LimitReader(content, 1<<20))
				read += n
				return err
			})
		if err != nil && dossier.KindOf(err) == dossier.KindInternal {
			t.Errorf("an error of no kind: %v", err)
		}
		if err == nil && (sum.Digest == "" || sum.Size != int64(len(b))) {
			t.Errorf("no error, and the layer was not read to its end: %s", fmt.Sprint(sum))
		}
	})
}
