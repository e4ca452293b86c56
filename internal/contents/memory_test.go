// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
)

// maxHeld is what reading a layer of any size may hold, in bytes.
const maxHeld = 150 << 20

// writeLarge writes a layer of about size bytes: large files that nobody wants,
// programs and jars that must be looked into, and many small files.
func writeLarge(w io.Writer, size int64, archive []byte) (packages int, err error) {
	t := tar.NewWriter(w)
	add := func(name string, mode int64, size int64, content io.Reader) {
		if err == nil {
			err = t.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: size, ModTime: time.Unix(0, 0)})
		}
		if err == nil {
			_, err = io.Copy(t, content)
		}
	}
	const large = 32 << 20
	written := int64(0)
	for i := 0; written < size && err == nil; i++ {
		add(fmt.Sprintf("data/%d.bin.gz", i), 0o644, large, io.LimitReader(zeros{}, large))
		add(fmt.Sprintf("bin/%d", i), 0o755, 4+large, io.MultiReader(strings.NewReader("\x7fELF"), io.LimitReader(zeros{}, large)))
		add(fmt.Sprintf("lib/%d.jar", i), 0o644, int64(len(archive)), bytes.NewReader(archive))
		for j := range 200 {
			body := []byte(npm(fmt.Sprintf("p%d-%d", i, j), "1.0.0"))
			add(fmt.Sprintf("node_modules/%d/%d/package.json", i, j), 0o644, int64(len(body)), bytes.NewReader(body))
		}
		packages += 201
		written += 64<<20 + int64(len(archive)) + 200*1024
	}
	if err == nil {
		err = t.Close()
	}
	return packages, err
}

// zeros reads as zeros, without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// fullSize is how many MiB DOSSIER_TEST_LAYER asks for, or less. 10240 shows the figures
// of the specification.
func fullSize(t *testing.T, less int64) int64 {
	t.Helper()
	s := os.Getenv("DOSSIER_TEST_LAYER")
	if s == "" {
		return less
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// made is a layer that write makes, twice: for its digest, and when it is read.
func made(t *testing.T, write func(io.Writer) error) Layer {
	t.Helper()
	hash := sha256.New()
	if err := write(hash); err != nil {
		t.Fatal(err)
	}
	d := dossier.FromHash(dossier.SHA256, hash)
	return Layer{Digest: d, DiffID: d, Open: func(context.Context) (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() { // ends when the layer was read, or closed
			buffered := bufio.NewWriterSize(w, 1<<20)
			err := write(buffered)
			if err == nil {
				err = buffered.Flush()
			}
			w.CloseWithError(err)
		}()
		return r, nil
	}}
}

// readBounded reads a layer and fails when that holds more than maxHeld.
func readBounded(t *testing.T, what string, l Layer) LayerResult {
	t.Helper()
	debug.FreeOSMemory() // what other tests left
	before, most := held(), int64(0)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				most = max(most, held())
			}
		}
	}()
	start := time.Now()
	r, err := ReadLayer(t.Context(), l, Options{TempDir: t.TempDir()})
	took := time.Since(start)
	close(stop)
	<-stopped
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("a layer of %d MiB, %s in %.1fs; held at most %d MiB, %d MiB of them before", r.Unpacked>>20, what, took.Seconds(), most>>20, before>>20)
	if most > maxHeld {
		t.Errorf("%s: held %d MiB, want at most %d", what, most>>20, maxHeld>>20)
	}
	return r
}

// TestMemory reads a layer much larger than the memory it may take.
func TestMemory(t *testing.T) {
	size := fullSize(t, 256) << 20
	// A jar that is larger than Limits.Memory, by what it stores.
	archive := []byte(jar(t, "org.example", "large", "1", "data", string(bytes.Repeat([]byte("0123456789abcdef"), 1<<20))))
	packages := 0
	r := readBounded(t, "of files of all sorts,", made(t, func(w io.Writer) (err error) {
		packages, err = writeLarge(w, size, archive)
		return err
	}))
	got := 0
	for _, f := range r.Files {
		got += len(f.Packages)
	}
	if got != packages || len(r.Missed) > 0 {
		t.Errorf("got %d packages, want %d; missed %v", got, packages, r.Missed)
	}
}

// TestHugeLayers reads what is made to do harm by its size: one file of 4 GiB, and ten
// million entries; without DOSSIER_TEST_LAYER less, the same way. What could be read is
// found, and what was not is told.
func TestHugeLayers(t *testing.T) {
	full := fullSize(t, 0) >= 10<<10
	size, entries := int64(1<<30+1), 300_000
	if full {
		size, entries = 4<<30, 10_000_000
	}
	a := npm("a", "1.0.0")
	t.Run("file", func(t *testing.T) {
		r := readBounded(t, "with one file that somebody wants,", made(t, func(w io.Writer) error {
			archive := tar.NewWriter(w)
			err := archive.WriteHeader(&tar.Header{Name: "shop.jar", Typeflag: tar.TypeReg, Mode: 0o644, Size: size, Format: tar.FormatGNU})
			if err == nil {
				_, err = io.CopyN(archive, zeros{}, size)
			}
			return errors.Join(err, writeEntry(archive, "package.json", a), archive.Close())
		}))
		if got := reasons(r.Missed); len(r.Files) != 1 || !slices.Equal(got, []string{"shop.jar size"}) {
			t.Errorf("found %v, missed %v", r.Files, got)
		}
	})
	t.Run("entries", func(t *testing.T) {
		r := readBounded(t, fmt.Sprintf("of %d entries,", entries), made(t, func(w io.Writer) error {
			archive := tar.NewWriter(w)
			err := writeEntry(archive, "package.json", a)
			for i := 0; i < entries && err == nil; i++ {
				err = archive.WriteHeader(&tar.Header{Name: "some/dir/" + strconv.Itoa(i), Typeflag: tar.TypeReg, Mode: 0o644})
			}
			return errors.Join(err, archive.Close())
		}))
		limit := Limits{}.orDefault().Entries
		if got := reasons(r.Missed); len(r.Files) != 1 || slices.Equal(got, []string{" layer"}) != (entries >= limit) || len(r.Names) < min(entries, limit-1) {
			t.Errorf("found %v of %d names, missed %v", r.Files, len(r.Names), got)
		}
	})
}

func writeEntry(w *tar.Writer, name, body string) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(body))}); err != nil {
		return err
	}
	_, err := io.WriteString(w, body)
	return err
}

// held is what the process has of the system's memory, in bytes.
func held() int64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
}
