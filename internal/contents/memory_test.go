// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"runtime/metrics"
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

// TestMemory reads a layer much larger than the memory it may take. It has 256
// MiB, or as many MiB as DOSSIER_TEST_LAYER says: 10240 shows the figure of the
// specification.
func TestMemory(t *testing.T) {
	size := int64(256 << 20)
	if s := os.Getenv("DOSSIER_TEST_LAYER"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		size = n << 20
	}
	// A jar that is larger than Limits.Memory, by what it stores.
	archive := []byte(jar(t, "org.example", "large", "1", "data", string(bytes.Repeat([]byte("0123456789abcdef"), 1<<20))))
	hash := sha256.New()
	packages, err := writeLarge(hash, size, archive)
	if err != nil {
		t.Fatal(err)
	}
	d := dossier.FromHash(dossier.SHA256, hash)
	failed := make(chan error, 1)
	l := Layer{Digest: d, DiffID: d, Open: func(context.Context) (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() {
			buffered := bufio.NewWriterSize(w, 1<<20)
			_, err := writeLarge(buffered, size, archive)
			if err == nil {
				err = buffered.Flush()
			}
			w.CloseWithError(err)
			failed <- err
		}()
		return r, nil
	}}
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
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	got := 0
	for _, f := range r.Files {
		got += len(f.Packages)
	}
	if got != packages || len(r.Missed) > 0 {
		t.Errorf("got %d packages, want %d; missed %v", got, packages, r.Missed)
	}
	t.Logf("a layer of %d MiB in %.1fs; held at most %d MiB, %d MiB of them before", r.Unpacked>>20, took.Seconds(), most>>20, before>>20)
	if most > maxHeld {
		t.Errorf("held %d MiB, want at most %d", most>>20, maxHeld>>20)
	}
}

// held is what the process has of the system's memory, in bytes.
func held() int64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
}
