// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package tessera

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// entries is more than fit into one tile and one bundle.
const entries = 600

// served is a server with a log.
type served struct {
	url string // with a slash at its end
	key note.Verifier
}

// serve starts a server, which ends with the test.
func serve(t *testing.T) served {
	t.Helper()
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir+"/", "./cmd/dossier")
	build.Dir = filepath.Join("..", "..")
	build.Env = append(build.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building dossier: %v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close() // the server takes it
	data := filepath.Join(dir, "data")
	said, err := os.Create(filepath.Join(dir, "said"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "dossier"), "serve", "--no-cluster", "--offline", "--data", data, "--listen", address)
	cmd.Env = []string{"HOME=" + dir}
	cmd.Stdout, cmd.Stderr = said, said
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = cmd.Wait()
		_ = said.Close()
		if words, err := os.ReadFile(said.Name()); t.Failed() && err == nil {
			t.Logf("the server said:\n%s", words)
		}
	})
	s := served{url: "http://" + address + "/"}
	s.until(t, "ready", func() bool {
		resp, err := http.Get(s.url + "readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	words, err := os.ReadFile(said.Name())
	if err != nil {
		t.Fatal(err)
	}
	key := regexp.MustCompile(`dossier\.dev/log/[^\s"]+`).Find(words)
	if s.key, err = note.NewVerifier(string(key)); err != nil {
		t.Fatalf("the server told the key %q: %v", key, err)
	}
	return s
}

func (s served) until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the server is not %s after a minute", what)
		}
	}
}

// push pushes blobs, about each of which a fact is recorded, and waits until they are in the log.
func (s served) push(t *testing.T, n int) {
	t.Helper()
	f, before := s.fetcher(t), uint64(0)
	if c, _, _, err := client.FetchCheckpoint(t.Context(), f.ReadCheckpoint, s.key, s.key.Name()); err == nil {
		before = c.Size
	}
	for i := range n {
		blob := fmt.Sprintf("blob %d after %d", i, before)
		u := fmt.Sprintf("%sv2/org/app/blobs/uploads/?digest=sha256:%x", s.url, sha256.Sum256([]byte(blob)))
		resp, err := http.Post(u, "application/octet-stream", strings.NewReader(blob))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			t.Fatalf("pushing a blob: %s", resp.Status)
		}
	}
	s.until(t, "done with its log", func() bool {
		c, _, _, err := client.FetchCheckpoint(t.Context(), f.ReadCheckpoint, s.key, s.key.Name())
		return err == nil && c.Size >= before+uint64(n)
	})
}

func (s served) fetcher(t *testing.T) *client.HTTPFetcher {
	t.Helper()
	u, err := url.Parse(s.url + "log/")
	if err != nil {
		t.Fatal(err)
	}
	f, err := client.NewHTTPFetcher(u, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// leaves returns the hashes of the entries of a bundle, as Tessera reads it.
func leaves(bundle []byte) ([][]byte, error) {
	var b api.EntryBundle
	if err := b.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	var list [][]byte
	for _, e := range b.Entries {
		list = append(list, rfc6962.DefaultHasher.HashLeaf(e))
	}
	return list, nil
}

func TestLog(t *testing.T) {
	s := serve(t)
	s.push(t, entries)
	t.Run("fsck", func(t *testing.T) { testFsck(t, s) })
	t.Run("proofs", func(t *testing.T) { testProofs(t, s) })
	t.Run("tlog", func(t *testing.T) { testTlog(t, s) })
	t.Run("growth", func(t *testing.T) { testGrowth(t, s) })
}

// testFsck computes the whole log again, and sees each of its resources when it is another one.
func testFsck(t *testing.T, s served) {
	check := func(url string) error {
		return fsck.New(s.key.Name(), s.key, served{url: url}.fetcher(t), leaves, fsck.Opts{N: 2}).Check(t.Context())
	}
	if err := check(s.url); err != nil {
		t.Errorf("the log: %v", err)
	}
	for _, resource := range []string{"/log/checkpoint", "/log/tile/0/000", "/log/tile/0/001", "/log/tile/1/000.p/2", "/log/tile/entries/000", "/log/tile/entries/001"} {
		forged := forging(t, s.url, resource)
		if err := check(forged.URL + "/"); err == nil {
			t.Errorf("%s was forged, and nothing was found", resource)
		}
		if forged.seen == 0 {
			t.Errorf("%s was never asked for", resource)
		}
	}
}

type forger struct {
	*httptest.Server
	seen int
}

// forging serves what a server does, but for one resource, of which a byte is another.
func forging(t *testing.T, to, resource string) *forger {
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	f := &forger{}
	f.Server = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) },
		ModifyResponse: func(r *http.Response) error {
			if r.Request.URL.Path != resource {
				return nil
			}
			f.seen++
			b, err := io.ReadAll(r.Body)
			if len(b) > 60 {
				b[60] ^= 1
			}
			r.Body = io.NopCloser(bytes.NewReader(b))
			return errors.Join(err, r.Body.Close())
		},
	})
	t.Cleanup(f.Close)
	return f
}

// testProofs proves entries with Tessera's client and checks that with the library that it stands on.
func testProofs(t *testing.T, s served) {
	f := s.fetcher(t)
	c, _, _, err := client.FetchCheckpoint(t.Context(), f.ReadCheckpoint, s.key, s.key.Name())
	if err != nil {
		t.Fatal(err)
	}
	builder, err := client.NewProofBuilder(t.Context(), c.Size, f.ReadTile)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []uint64{0, 1, 255, 256, 511, 512, c.Size - 1} {
		bundle, err := client.GetEntryBundle(t.Context(), f.ReadEntryBundle, i/256, c.Size)
		if err != nil {
			t.Fatal(err)
		}
		hashes, err := builder.InclusionProof(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		leaf := rfc6962.DefaultHasher.HashLeaf(bundle.Entries[i%256])
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, i, c.Size, leaf, hashes, c.Hash); err != nil {
			t.Errorf("entry %d: %v", i, err)
		}
	}
}

// tiles reads tiles for the checksum database's reader, under the names that C2SP gives them.
type tiles struct {
	ctx context.Context
	*client.HTTPFetcher
}

func (tiles) Height() int                     { return 8 }
func (tiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (r tiles) ReadTiles(list []tlog.Tile) (data [][]byte, err error) {
	for _, at := range list {
		b, err := r.ReadTile(r.ctx, uint64(at.L), uint64(at.N), uint8(at.W)) // 256 is 0: a full one
		if err != nil {
			return nil, err
		}
		data = append(data, b)
	}
	return data, nil
}

// testTlog proves entries and growth with the checksum database's tlog.
func testTlog(t *testing.T, s served) {
	f := s.fetcher(t)
	c, _, _, err := client.FetchCheckpoint(t.Context(), f.ReadCheckpoint, s.key, s.key.Name())
	if err != nil {
		t.Fatal(err)
	}
	tree := tlog.Tree{N: int64(c.Size), Hash: tlog.Hash(c.Hash)}
	reader := tlog.TileHashReader(tree, tiles{t.Context(), f})
	for _, i := range []int64{0, 255, 256, tree.N - 1} {
		hashes, err := tlog.ProveRecord(tree.N, i, reader)
		if err != nil {
			t.Fatal(err)
		}
		bundle, err := client.GetEntryBundle(t.Context(), f.ReadEntryBundle, uint64(i)/256, c.Size)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckRecord(hashes, tree.N, tree.Hash, i, tlog.RecordHash(bundle.Entries[i%256])); err != nil {
			t.Errorf("entry %d: %v", i, err)
		}
	}
	for _, earlier := range []int64{1, 256, 300, tree.N} {
		hash, err := tlog.TreeHash(earlier, reader)
		if err != nil {
			t.Fatal(err)
		}
		hashes, err := tlog.ProveTree(tree.N, earlier, reader)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckTree(hashes, tree.N, tree.Hash, earlier, hash); err != nil {
			t.Errorf("from %d entries: %v", earlier, err)
		}
	}
}

// testGrowth follows the log, as Tessera's clients do.
func testGrowth(t *testing.T, s served) {
	f := s.fetcher(t)
	follower, err := client.NewLogStateTracker(t.Context(), f.ReadTile, nil, s.key, s.key.Name(), client.UnilateralConsensus(f.ReadCheckpoint))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		before := follower.Latest()
		s.push(t, 100)
		if _, _, _, err := follower.Update(t.Context()); err != nil {
			t.Fatal(err)
		}
		if after := follower.Latest(); after.Size < before.Size+100 {
			t.Errorf("it had %d entries and has %d", before.Size, after.Size)
		}
	}
}
