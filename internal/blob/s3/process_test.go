// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package s3_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
	"dossier.dev/dossier/internal/blob/blobtest"
	"dossier.dev/dossier/internal/blob/s3"
	"dossier.dev/dossier/internal/blob/s3/s3test"
)

// crashEnv holds the configuration with which a child process writes until it is killed.
const crashEnv = "DOSSIER_TEST_CRASH_S3"

// TestSizes writes sizes around those of parts and of what fits into a token, and
// suspends at places around them.
func TestSizes(t *testing.T) {
	t.Parallel()
	c := s3test.Start(t).Bucket(t, "sizes")
	c.PartSize = s3.MinPartSize
	s := open(t, c)
	const part, inline = s3.MinPartSize, 32 << 10
	all := content(1, 3*part)
	for _, tt := range []struct{ size, piece int }{
		{0, 1}, {1, 1}, {inline - 1, 1 << 30}, {inline + 1, inline}, {2*inline + 2, inline + 1},
		{part - 1, 1 << 30}, {part, 1 << 30}, {part + 1, 1 << 30},
		{part, part / 2}, {part + 1, part}, {part, part - 1}, {2 * part, part}, {2*part - 1, part + 1},
		{3*part - 1, part - 1}, {3 * part, 2*part - 1}, {3 * part, 1 << 20},
	} {
		key, want := blob.NewKey(), all[:tt.size]
		if err := write(t.Context(), s, key, want, tt.piece); err != nil {
			t.Errorf("%d bytes in pieces of %d: %v", tt.size, tt.piece, err)
			continue
		}
		got, err := read(t.Context(), s, key, 0, -1)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes in pieces of %d: read %d bytes, %v", tt.size, tt.piece, len(got), err)
		}
		w, err := s.Create(t.Context(), blob.NewKey())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Append(t.Context(), slowly{bytes.NewReader(want)}); err != nil {
			t.Error(err)
		}
		if size, digest, err := w.Commit(t.Context()); err != nil || size != int64(tt.size) || digest != dossier.FromBytes(want) {
			t.Errorf("%d bytes: Commit returned %d, %s, %v", tt.size, size, digest, err)
		}
	}
}

// slowly reads an odd number of bytes at a time.
type slowly struct{ r *bytes.Reader }

func (s slowly) Read(p []byte) (int, error) { return s.r.Read(p[:min(len(p), 99_991)]) }

// begun returns a writer to which bytes were appended.
func begun(t *testing.T, s *s3.Store, key string, b []byte) blob.Writer {
	t.Helper()
	w, err := s.Create(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	appended(t, w, b)
	return w
}

func appended(t *testing.T, w blob.Writer, b []byte) {
	t.Helper()
	if _, err := w.Append(t.Context(), bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
}

func suspended(t *testing.T, w blob.Writer) blob.Token {
	t.Helper()
	token, err := w.Suspend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func resumed(t *testing.T, s *s3.Store, key string, token blob.Token) blob.Writer {
	t.Helper()
	w, err := s.Resume(t.Context(), key, token)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestAnotherProcess goes on in a second store, whose parts would be larger.
func TestAnotherProcess(t *testing.T) {
	t.Parallel()
	c := s3test.Start(t).Bucket(t, "another")
	c.PartSize = s3.MinPartSize
	other := c
	other.PartSize = 3 * s3.MinPartSize
	first, second := open(t, c), open(t, other)
	want := content(1, 30<<20)
	for _, cut := range []int{0, 10, 1 << 20, 6 << 20, 16 << 20} {
		key := blob.NewKey()
		token := suspended(t, begun(t, first, key, want[:cut]))
		w := resumed(t, second, key, token)
		if got := w.Size(); got != int64(cut) {
			t.Errorf("resumed at %d, want %d", got, cut)
		}
		appended(t, w, want[cut:])
		if _, digest, err := w.Commit(t.Context()); err != nil || digest != dossier.FromBytes(want) {
			t.Errorf("cut at %d: Commit returned %s, %v", cut, digest, err)
		}
		if got, err := read(t.Context(), first, key, 0, -1); err != nil || !bytes.Equal(got, want) {
			t.Errorf("cut at %d: read %d bytes, %v", cut, len(got), err)
		}
		_, err := first.Resume(t.Context(), key, token)
		if got := dossier.KindOf(err); got != dossier.KindNotFound {
			t.Errorf("cut at %d: Resume after Commit: %v", cut, err)
		}
	}
}

// TestTwoGoOn lets two processes go on with one upload, with other bytes each. At
// most one commits, and what it commits is its own.
func TestTwoGoOn(t *testing.T) {
	t.Parallel()
	c := s3test.Start(t).Bucket(t, "two")
	c.PartSize = s3.MinPartSize
	stores := []*s3.Store{open(t, c), open(t, c)}
	for _, start := range []int{0, 1 << 20, 6 << 20} {
		for _, order := range [][]int{{0, 1, 0, 1}, {0, 1, 1, 0}, {0, 0, 1, 1}} { // who appends, appends, commits, commits
			key, begin := blob.NewKey(), content(1, start)
			token := suspended(t, begun(t, stores[0], key, begin))
			var ws [2]blob.Writer
			var own [2][]byte
			for i, s := range stores {
				ws[i], own[i] = resumed(t, s, key, token), append(slices.Clone(begin), content(byte(2+i), 6<<20)...)
			}
			committed := -1
			commit := func(i int) {
				_, digest, err := ws[i].Commit(t.Context())
				if err == nil && committed >= 0 {
					t.Errorf("from %d, in order %v: both have committed", start, order)
				}
				if err == nil {
					committed = i
					if want := dossier.FromBytes(own[i]); digest != want {
						t.Errorf("Commit returned %s, want %s", digest, want)
					}
				}
			}
			for step, i := range order {
				switch {
				case step >= 2:
					commit(i)
				case order[0] == order[1] && step == 1:
					commit(i)
				default:
					if _, err := ws[i].Append(t.Context(), bytes.NewReader(own[i][start:])); err != nil {
						t.Error(err)
					}
				}
			}
			got, err := read(t.Context(), stores[0], key, 0, -1)
			if committed >= 0 && !bytes.Equal(got, own[committed]) {
				t.Errorf("from %d, in order %v: read %d bytes (%v), which are not those of who committed", start, order, len(got), err)
			}
			if committed < 0 && dossier.KindOf(err) != dossier.KindNotFound {
				t.Errorf("from %d, in order %v: nobody has committed, and read %d bytes, %v", start, order, len(got), err)
			}
			for _, w := range ws {
				if err := w.Abort(t.Context()); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// TestTwoCreate lets two processes create one key.
func TestTwoCreate(t *testing.T) {
	t.Parallel()
	c := s3test.Start(t).Bucket(t, "create")
	c.PartSize = s3.MinPartSize
	one, two := open(t, c), open(t, c)
	for _, size := range []int{1000, 6 << 20} {
		key, want := blob.NewKey(), content(1, size)
		first, second := begun(t, one, key, want), begun(t, two, key, content(2, size))
		if _, _, err := first.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, _, err := second.Commit(t.Context()); dossier.KindOf(err) != dossier.KindConflict {
			t.Errorf("%d bytes: the second Commit returned %v, want KindConflict", size, err)
		}
		if got, err := read(t.Context(), one, key, 0, -1); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: read %d bytes, %v; want the first ones", size, len(got), err)
		}
	}
}

// names lists all objects of a bucket.
func names(t *testing.T, server *s3test.Server, bucket string) []string {
	t.Helper()
	client, err := server.Client()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for info := range client.ListObjectsIter(t.Context(), bucket, minio.ListObjectsOptions{Recursive: true}) {
		if info.Err != nil {
			t.Fatal(info.Err)
		}
		names = append(names, info.Key)
	}
	return names
}

// TestTails looks at what lies in the bucket while an upload is suspended again
// and again: not more than two tails, and nothing but the blob in the end.
func TestTails(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	c := server.Bucket(t, "tails")
	c.Prefix = "some/where"
	s := open(t, c)
	for _, end := range []string{"commit", "abort", "prune"} {
		key := blob.NewKey()
		w := begun(t, s, key, nil)
		var before, token blob.Token
		for range 6 {
			appended(t, w, content(1, 100_000))
			before, token = token, suspended(t, w)
			w = resumed(t, s, key, token)
			if got := names(t, server, "tails"); len(got) < 1 || len(got) > 2 || !strings.HasPrefix(got[0], "some/where/uploads/"+key+"/") {
				t.Errorf("%s: objects are %v, want one or two tails", end, got)
			}
		}
		s = open(t, c) // as after a crash
		w = resumed(t, s, key, before)
		var want []string
		var err error
		switch end {
		case "commit":
			want = []string{"some/where/blobs/" + key}
			_, _, err = w.Commit(t.Context())
		case "abort":
			err = w.Abort(t.Context())
		case "prune":
			suspended(t, w)
		}
		if err != nil {
			t.Fatal(err)
		}
		n, err := s.Prune(t.Context(), time.Now().Add(time.Hour)) // the crash has left a tail
		if want := map[bool]int{true: 1}[end == "prune"]; n != want || err != nil {
			t.Errorf("%s: Prune removed %d uploads (%v), want %d", end, n, err, want)
		}
		if got := names(t, server, "tails"); !slices.Equal(got, want) {
			t.Errorf("%s: objects are %v, want %v", end, got, want)
		}
		if err := s.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDamaged resumes uploads of which something is gone or has become something else.
func TestDamaged(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	c := server.Bucket(t, "damaged")
	c.PartSize = s3.MinPartSize
	s := open(t, c)
	client, err := server.Client()
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(upload, tail, key string) error{
		"part": func(upload, _, key string) error {
			_, err := client.PutObjectPart(t.Context(), "damaged", "blobs/"+key, upload, 1, strings.NewReader("x"), 1, minio.PutObjectPartOptions{})
			return err
		},
		"tail gone": func(_, tail, _ string) error {
			return client.RemoveObject(t.Context(), "damaged", tail, minio.RemoveObjectOptions{})
		},
		"tail changed": func(_, tail, _ string) error {
			_, err := client.Client.PutObject(t.Context(), "damaged", tail, strings.NewReader("x"), 1, minio.PutObjectOptions{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			key := blob.NewKey()
			token := suspended(t, begun(t, s, key, content(1, 6<<20)))
			var state struct {
				Upload string
				Stored struct{ Name string }
			}
			if err := json.Unmarshal(token, &state); err != nil {
				t.Fatal(err)
			}
			if err := damage(state.Upload, "uploads/"+key+"/"+state.Stored.Name, key); err != nil {
				t.Fatal(err)
			}
			_, err := s.Resume(t.Context(), key, token)
			checkError(t, err, dossier.KindCorrupt, "suspended")
			if _, err := s.Resume(t.Context(), key, token); dossier.KindOf(err) != dossier.KindCorrupt {
				t.Errorf("Resume once more: %v, want KindCorrupt: the key is free again", err)
			}
		})
	}
}

// TestPruneSpares: what another process has begun or appended since is left alone.
func TestPruneSpares(t *testing.T) {
	t.Parallel()
	c := s3test.Start(t).Bucket(t, "spared")
	c.PartSize = s3.MinPartSize
	mine, other := open(t, c), open(t, c)
	key, want := blob.NewKey(), content(1, 12<<20)
	w := begun(t, other, key, want)
	if n, err := mine.Prune(t.Context(), time.Now().Add(-time.Minute)); n != 0 || err != nil {
		t.Errorf("Prune removed %d (%v)", n, err)
	}
	if _, _, err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	token := suspended(t, begun(t, other, blob.NewKey(), want))
	if n, err := mine.Prune(t.Context(), time.Now().Add(time.Minute)); n != 1 || err != nil {
		t.Errorf("Prune removed %d (%v), want 1", n, err)
	}
	if len(token) > blob.MaxToken {
		t.Errorf("the token has %d bytes", len(token))
	}
}

// TestKilled kills a process that writes, again and again.
func TestKilled(t *testing.T) {
	t.Parallel()
	const rounds = 3
	c := s3test.Start(t).Bucket(t, "killed")
	config, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var told []byte
	for round := range rounds {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), crashEnv+"="+string(config))
		var stderr bytes.Buffer
		child.Stderr = &stderr
		stdout, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		out := bufio.NewReader(stdout)
		for range 4 + round { // some blobs, however fast the machine is
			line, err := out.ReadBytes('\n')
			told = append(told, line...)
			if err != nil {
				break
			}
		}
		time.Sleep(time.Duration(round*17) * time.Millisecond)
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(out)
		if err != nil {
			t.Fatal(err)
		}
		told = append(append(told, rest...), '\n')
		if err := child.Wait(); err == nil || stderr.Len() > 0 {
			t.Fatalf("the child ended by itself: %v\n%s", err, &stderr)
		}
		t.Logf("round %d: %d blobs so far", round, blobtest.CheckWritten(t, open(t, c), told))
	}
	if len(bytes.TrimSpace(told)) == 0 {
		t.Error("no child wrote anything")
	}
}

// writeUntilKilled is the child process. It returns its exit code.
func writeUntilKilled(config string) int {
	var c s3.Config
	err := json.Unmarshal([]byte(config), &c)
	if err == nil {
		var s *s3.Store
		if s, err = s3.Open(context.Background(), c); err == nil {
			err = blobtest.WriteUntilKilled(context.Background(), s, os.Stdout)
		}
	}
	fmt.Fprintln(os.Stderr, "not killed:", err)
	return 1
}
