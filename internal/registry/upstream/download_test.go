// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
	"dossier.dev/dossier/internal/blob/disk"
	"dossier.dev/dossier/internal/registry/upstream"
)

// depot is a blob store that counts what was kept.
type depot struct {
	*upstream.Downloads
	blobs  *disk.Store
	opened atomic.Int32
	kept   atomic.Int32
}

// newDepot returns downloads into a directory. blind hides that its writers can
// be read, as those of an object store cannot.
func newDepot(t *testing.T, blind bool) *depot {
	t.Helper()
	blobs, err := disk.Open(disk.Config{Dir: filepath.Join(t.TempDir(), "blobs")})
	if err != nil {
		t.Fatal(err)
	}
	d := &depot{blobs: blobs, Downloads: &upstream.Downloads{Blobs: blobs, Spool: filepath.Join(t.TempDir(), "made"), Logger: slog.New(slog.DiscardHandler)}}
	if blind {
		d.Blobs = blindStore{blobs}
	}
	t.Cleanup(func() {
		d.Close()
		if err := blobs.Close(); err != nil {
			t.Error(err)
		}
		if files, _ := os.ReadDir(d.Spool); len(files) > 0 {
			t.Errorf("%d files are left", len(files))
		}
	})
	return d
}

type blindStore struct{ blob.Store }

func (s blindStore) Create(ctx context.Context, key string) (blob.Writer, error) {
	w, err := s.Store.Create(ctx, key)
	return struct{ blob.Writer }{w}, err
}

// keys returns what the blob store holds.
func (d *depot) keys(t *testing.T) []string {
	t.Helper()
	var keys []string
	for info, err := range d.blobs.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

// from returns a function to give to Join.
func (d *depot) from(r io.Reader, size int64) func(context.Context) (*upstream.Source, error) {
	return func(ctx context.Context) (*upstream.Source, error) {
		d.opened.Add(1)
		if g, ok := r.(*gate); ok {
			g.ctx = ctx
		}
		return &upstream.Source{
			Bytes: &bound{ctx, r}, Size: size,
			Keep: func(context.Context, string, int64) (bool, error) { d.kept.Add(1); return true, nil },
		}, nil
	}
}

// bound is a reader that ends with a context, as a connection does.
type bound struct {
	ctx context.Context
	io.Reader
}

func (b *bound) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.Reader.Read(p)
}

func (b *bound) Close() error { return nil }

// gate is a reader that gives a part for each value of a channel.
type gate struct {
	ctx   context.Context // of the download
	parts chan string     // closed: EOF
	err   error           // instead of EOF
	rest  string
}

func (g *gate) Read(p []byte) (int, error) {
	if g.rest == "" {
		var part string
		var ok bool
		select {
		case part, ok = <-g.parts:
		case <-g.ctx.Done():
			return 0, g.ctx.Err()
		}
		if !ok && g.err != nil {
			return 0, g.err
		}
		if !ok {
			return 0, io.EOF
		}
		g.rest = part
	}
	n := copy(p, g.rest)
	g.rest = g.rest[n:]
	return n, nil
}

func join(t *testing.T, d *depot, key string, open func(context.Context) (*upstream.Source, error)) *upstream.Reader {
	t.Helper()
	r, err := d.Join(t.Context(), key, open)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func expect(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Errorf("read %q, %v, want %q", got[:n], err, want)
	}
}

// TestManyReadOne: fifty readers, one download; each gets bytes before the end.
func TestManyReadOne(t *testing.T) {
	for _, blind := range []bool{false, true} {
		t.Run(fmt.Sprint("blind ", blind), func(t *testing.T) {
			d := newDepot(t, blind)
			g := &gate{parts: make(chan string)}
			const readers = 50
			var early, done sync.WaitGroup
			early.Add(readers)
			for range readers {
				done.Go(func() {
					r, err := d.Join(t.Context(), "key", d.from(g, 9))
					if err != nil {
						t.Error(err)
						early.Done()
						return
					}
					defer r.Close()
					expect(t, r, "012") // while nothing more has come
					early.Done()
					if rest, err := io.ReadAll(r); err != nil || string(rest) != "345678" || r.Size() != 9 || r.Err() != nil {
						t.Errorf("read %q, %v", rest, err)
					}
				})
			}
			g.parts <- "0123"
			if !blind {
				g.parts <- "45" // what is asked for has been written
			}
			early.Wait()
			rest := "45678"
			if !blind {
				rest = "678"
			}
			g.parts <- rest
			close(g.parts)
			done.Wait()
			d.Close()
			if d.opened.Load() != 1 || d.kept.Load() != 1 || len(d.keys(t)) != 1 {
				t.Errorf("opened %d times, kept %d, there are %q", d.opened.Load(), d.kept.Load(), d.keys(t))
			}
		})
	}
}

// TestLastByteIsHeldBack: nobody gets all of what turns out to be wrong.
func TestLastByteIsHeldBack(t *testing.T) {
	wrong := dossier.Errorf(dossier.KindCorrupt, "reading", "it", "the digest is wrong")
	for _, size := range []int64{6, -1} {
		d := newDepot(t, false)
		g := &gate{parts: make(chan string, 1), err: wrong}
		r := join(t, d, "key", d.from(g, size))
		g.parts <- "012345"
		close(g.parts)
		got, err := io.ReadAll(r)
		if dossier.KindOf(err) != dossier.KindCorrupt || len(got) >= 6 || r.Err() == nil {
			t.Errorf("size %d: read %q, %v", size, got, err)
		}
		_ = r.Close()
		d.Close()
		if keys := d.keys(t); d.kept.Load() != 0 || len(keys) != 0 {
			t.Errorf("kept %q", keys)
		}
	}
	// The next one begins anew.
	d := newDepot(t, false)
	for range 2 {
		_, err := d.Join(t.Context(), "key", func(context.Context) (*upstream.Source, error) { d.opened.Add(1); return nil, wrong })
		if !errors.Is(err, wrong) {
			t.Error(err)
		}
	}
	if d.opened.Load() != 2 {
		t.Errorf("opened %d times", d.opened.Load())
	}
}

// TestReadersLeave: one who leaves takes nothing from the others; when the last
// has left the download ends, unless it is nearly done.
func TestReadersLeave(t *testing.T) {
	d := newDepot(t, false)
	const huge = 4 * upstream.FinishWithin
	g := &gate{parts: make(chan string)}
	first, second := join(t, d, "huge", d.from(g, huge)), join(t, d, "huge", nil)
	g.parts <- "01"
	_ = first.Close()
	_ = first.Close() // does no harm
	g.parts <- "2"
	expect(t, second, "0")
	// One who has no more time.
	ctx, cancel := context.WithCancel(t.Context())
	third, err := d.Join(ctx, "huge", nil)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.ReadAll(third); !errors.Is(err, context.Canceled) {
		t.Errorf("without time: %v", err)
	}
	_ = third.Close()
	expect(t, second, "1")
	_ = second.Close()
	other := &gate{parts: make(chan string, 1)}
	again := join(t, d, "huge", d.from(other, 1))
	if d.opened.Load() != 2 {
		t.Error("what was given up was joined")
	}
	other.parts <- "x"
	close(other.parts)
	expect(t, again, "x")
	_ = again.Close()
	d.Close()
	if d.kept.Load() != 1 || len(d.keys(t)) != 1 {
		t.Errorf("kept %d: %q", d.kept.Load(), d.keys(t))
	}

	for _, size := range []int64{100, huge} { // small, and half done
		d := newDepot(t, false)
		parts := make(chan string, 1)
		var from io.Reader = &gate{ctx: t.Context(), parts: parts}
		if size == huge {
			from = io.MultiReader(io.LimitReader(zeros{}, huge/2+1), from) // half of it comes at once
		}
		r := join(t, d, "key", d.from(from, size))
		if size == huge {
			if _, err := r.Seek(huge/2-1, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			expect(t, r, "\x00")
		}
		_ = r.Close()
		parts <- "rest"
		close(parts)
		waitFor(t, func() bool { return d.kept.Load() == 1 })
	}
}

// zeros is endless.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func waitFor(t *testing.T, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}

// TestClose ends what is on its way.
func TestClose(t *testing.T) {
	d := newDepot(t, false)
	r := join(t, d, "key", d.from(zeros{}, -1))
	defer r.Close()
	d.Close()
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, context.Canceled) {
		t.Errorf("reading on: %v", err)
	}
	if _, err := d.Join(t.Context(), "key", nil); dossier.KindOf(err) != dossier.KindUnavailable {
		t.Errorf("joining: %v", err)
	}
	if keys := d.keys(t); len(keys) > 0 {
		t.Errorf("kept %q", keys)
	}
}

// TestPanic: what goes wrong in one download is an error of that one.
func TestPanic(t *testing.T) {
	d := newDepot(t, false)
	_, err := d.Join(t.Context(), "key", func(context.Context) (*upstream.Source, error) { panic("oh") })
	if dossier.KindOf(err) != dossier.KindInternal || !strings.Contains(err.Error(), "oh") {
		t.Errorf("%v", err)
	}
}

// TestSeek reads a part from the end of what is not there yet.
func TestSeek(t *testing.T) {
	d := newDepot(t, false)
	g := &gate{parts: make(chan string, 3)}
	r := join(t, d, "key", d.from(g, 6))
	defer r.Close()
	waited := 0
	r.Wait = func() {
		if waited++; waited == 1 {
			g.parts <- "012"
			g.parts <- "345"
			close(g.parts)
		}
	}
	if at, err := r.Seek(-2, io.SeekEnd); at != 4 || err != nil {
		t.Errorf("at %d, %v", at, err)
	}
	if got, err := io.ReadAll(r); string(got) != "45" || err != nil || waited == 0 {
		t.Errorf("read %q, %v, waited %d", got, err, waited)
	}
	if _, err := r.Seek(-1, io.SeekStart); err == nil {
		t.Error("seek before the beginning")
	}
	unknown := join(t, d, "unknown", d.from(&gate{parts: make(chan string)}, -1))
	if _, err := unknown.Seek(0, io.SeekEnd); err == nil {
		t.Error("seek to an unknown end")
	}
	_ = unknown.Close()
}

// TestMemory: a large blob and a reader that is slower than the source.
func TestMemory(t *testing.T) {
	d := newDepot(t, true)
	const size = 200 << 20
	r := join(t, d, "key", d.from(io.LimitReader(zeros{}, size), size))
	defer r.Close()
	var most, now runtime.MemStats
	runtime.ReadMemStats(&most)
	before := most.HeapAlloc
	buf, n := make([]byte, 1<<20), int64(0)
	for {
		k, err := r.Read(buf)
		if n += int64(k); err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if bytes.ContainsFunc(buf[:k], func(c rune) bool { return c != 0 }) {
			t.Fatal("other bytes")
		}
		if n%(16<<20) < 1<<20 {
			runtime.ReadMemStats(&now)
			if now.HeapAlloc > most.HeapAlloc {
				most = now
			}
		}
	}
	if grown := int64(most.HeapAlloc) - int64(before); n != size || grown > 32<<20 {
		t.Errorf("%d bytes read, the heap grew by %d", n, grown)
	}
}
