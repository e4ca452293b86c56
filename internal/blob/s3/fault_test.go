// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package s3_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
	"dossier.dev/dossier/internal/blob/s3"
	"dossier.dev/dossier/internal/blob/s3/s3test"
)

// content returns n bytes that differ from seed to seed.
func content(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b) // never fails
	return b
}

func read(ctx context.Context, s *s3.Store, key string, offset, length int64) (b []byte, err error) {
	r, err := s.Open(ctx, key, offset, length)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return io.ReadAll(r)
}

// write writes a blob, cut into pieces between which it is suspended.
func write(ctx context.Context, s *s3.Store, key string, b []byte, piece int) error {
	w, err := s.Create(ctx, key)
	if err != nil {
		return err
	}
	for len(b) > piece {
		if _, err := w.Append(ctx, bytes.NewReader(b[:piece])); err != nil {
			return errors.Join(err, w.Abort(ctx))
		}
		b = b[piece:]
		token, err := w.Suspend(ctx)
		if err != nil {
			return err
		}
		if w, err = s.Resume(ctx, key, token); err != nil {
			return err
		}
	}
	if _, err := w.Append(ctx, bytes.NewReader(b)); err != nil {
		return errors.Join(err, w.Abort(ctx))
	}
	_, _, err = w.Commit(ctx)
	return err
}

// TestTroubleThatPasses gives every request that the package makes the same
// trouble, twice each, and wants to see nothing of it.
func TestTroubleThatPasses(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	for name, do := range map[string]s3test.Effect{
		"slow-down":         s3test.Say(http.StatusServiceUnavailable, "SlowDown"),
		"internal-error":    s3test.Say(http.StatusInternalServerError, "InternalError"),
		"error-after-doing": s3test.DoAndSay(http.StatusInternalServerError, "InternalError"),
		"reset":             s3test.Cut,
		"reset-after-doing": s3test.DoAndCut,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, relay := s3test.Through(t, server.Bucket(t, name))
			c.PartSize = s3.MinPartSize
			relay.Give(s3test.Trouble{Times: 2, Each: true, Do: do})
			s := open(t, c)
			large, small := content(1, 12<<20), content(2, 1000)
			for key, want := range map[string][]byte{"large-one": large, "small-one": small} {
				if err := write(t.Context(), s, key, want, 7<<20); err != nil {
					t.Fatal(err)
				}
				if got, err := read(t.Context(), s, key, 0, -1); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: read %d bytes (%v), want the %d that were written", key, len(got), err, len(want))
				}
			}
			w, err := s.Create(t.Context(), "given-up")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Append(t.Context(), bytes.NewReader(large)); err != nil {
				t.Fatal(err)
			}
			if err := w.Abort(t.Context()); err != nil {
				t.Fatal(err)
			}
			var keys []string
			for info, err := range s.List(t.Context(), "") {
				if err != nil {
					t.Fatal(err)
				}
				keys = append(keys, info.Key)
			}
			if want := []string{"large-one", "small-one"}; !slices.Equal(keys, want) {
				t.Errorf("keys are %v, want %v", keys, want)
			}
			if _, err := s.Prune(t.Context(), time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			if err := s.Delete(t.Context(), "large-one"); err != nil {
				t.Fatal(err)
			}
			if left := missing(relay.Calm()); len(left) > 0 {
				t.Errorf("the test made no request %v", left)
			}
			if n, err := s.Prune(t.Context(), time.Now().Add(time.Hour)); n != 0 || err != nil {
				t.Errorf("Prune removed %d more (%v)", n, err)
			}
		})
	}
}

// TestCommitInDoubt gives lasting trouble to the last step of an upload. Whatever
// Commit returns must be what is there afterwards.
func TestCommitInDoubt(t *testing.T) {
	t.Parallel()
	c := s3test.Start(t).Bucket(t, "doubt")
	const complete, put = "CompleteMultipartUpload", "PutObject"
	for _, tt := range []struct {
		name    string
		size    int
		trouble s3test.Trouble
		want    dossier.Kind // of Commit's error; empty: it succeeds
		says    string
	}{
		{"large, refused", 6 << 20, s3test.Trouble{Request: complete, Times: -1, Do: s3test.Say(503, "SlowDown")}, dossier.KindUnavailable, "CompleteMultipartUpload"},
		{"large, cut", 6 << 20, s3test.Trouble{Request: complete, Times: -1, Do: s3test.Cut}, dossier.KindUnavailable, "tried 3 times"},
		{"large, no answer", 6 << 20, s3test.Trouble{Request: complete, Times: -1, Do: s3test.Hang}, dossier.KindUnavailable, "no good answer within 2s"},
		{"large, done and refused", 6 << 20, s3test.Trouble{Request: complete, Times: -1, Do: s3test.DoAndSay(500, "InternalError")}, "", ""},
		{"large, done and cut", 6 << 20, s3test.Trouble{Request: complete, Times: -1, Do: s3test.DoAndCut}, "", ""},
		{"large, done and no answer", 6 << 20, s3test.Trouble{Request: complete, Times: -1, Do: s3test.DoAndHang}, "", ""},
		{"large, error that is no error of HTTP", 6 << 20, s3test.Trouble{Request: complete, Times: -1, Do: s3test.Say(200, "InternalError")}, dossier.KindUnavailable, "InternalError"},
		{"large, a part is lost", 11 << 20, s3test.Trouble{Request: "UploadPart", Times: 1, Do: s3test.Pretend}, dossier.KindCorrupt, "InvalidPart"},
		{"large, the last part is lost", 6 << 20, s3test.Trouble{Request: "UploadPart", Pass: 1, Times: 1, Do: s3test.Pretend}, dossier.KindCorrupt, "InvalidPart"},
		{"small, refused", 1000, s3test.Trouble{Request: put, Times: -1, Do: s3test.Say(503, "SlowDown")}, dossier.KindUnavailable, "SlowDown (503)"},
		{"small, cut", 1000, s3test.Trouble{Request: put, Times: -1, Do: s3test.Cut}, dossier.KindUnavailable, "PutObject in s3://doubt/"},
		{"small, no answer", 1000, s3test.Trouble{Request: put, Times: -1, Do: s3test.Hang}, dossier.KindUnavailable, "no good answer"},
		{"small, done and refused", 1000, s3test.Trouble{Request: put, Times: -1, Do: s3test.DoAndSay(500, "InternalError")}, "", ""},
		{"small, done and cut", 1000, s3test.Trouble{Request: put, Times: -1, Do: s3test.DoAndCut}, "", ""},
		{"small, done and no answer", 1000, s3test.Trouble{Request: put, Times: -1, Do: s3test.DoAndHang}, "", ""},
		{"full", 1000, s3test.Trouble{Request: put, Times: -1, Do: s3test.Say(507, "InsufficientStorage")}, dossier.KindStorage, "InsufficientStorage"},
		{"not allowed", 1000, s3test.Trouble{Request: put, Times: -1, Do: s3test.Say(403, "AccessDenied")}, dossier.KindStorage, "AccessDenied"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, relay := s3test.Through(t, c)
			c.PartSize, c.Tries, c.Prefix = s3.MinPartSize, 3, blob.NewKey()
			if strings.Contains(tt.name, "no answer") {
				c.Transfer = 2 * time.Second
			}
			s := open(t, c)
			key, want := blob.NewKey(), content(1, tt.size)
			w, err := s.Create(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			relay.Give(tt.trouble)
			if _, err := w.Append(t.Context(), bytes.NewReader(want)); err != nil {
				t.Fatal(err)
			}
			size, digest, err := w.Commit(t.Context())
			relay.Calm()
			if tt.want == "" {
				if err != nil || size != int64(tt.size) || digest != dossier.FromBytes(want) {
					t.Errorf("Commit returned %d, %s, %v", size, digest, err)
				}
				if got, err := read(t.Context(), s, key, 0, -1); err != nil || !bytes.Equal(got, want) {
					t.Errorf("read %d bytes, %v; want what was written", len(got), err)
				}
				return
			}
			checkError(t, err, tt.want, tt.says)
			if _, err := s.Stat(t.Context(), key); dossier.KindOf(err) != dossier.KindNotFound {
				t.Errorf("Stat after a Commit that failed: %v, want KindNotFound", err)
			}
			if n, err := s.Prune(t.Context(), time.Now().Add(time.Hour)); n != 0 || err != nil {
				t.Errorf("Commit has left %d uploads (%v)", n, err)
			}
		})
	}
}

// checkError wants an error of a kind that says something, and what to do.
func checkError(t *testing.T, err error, want dossier.Kind, says string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if got := dossier.KindOf(err); got != want || !strings.Contains(err.Error(), says) || dossier.HintOf(err) == "" {
		t.Errorf("error is %q of kind %q with hint %q, want kind %q, a hint, and %q in it", err, got, dossier.HintOf(err), want, says)
	}
}

// TestAppendGoesOn lets a part fail for good, and goes on after that.
func TestAppendGoesOn(t *testing.T) {
	t.Parallel()
	c := s3test.Start(t).Bucket(t, "append")
	c.PartSize, c.Tries = s3.MinPartSize, 2
	for name, then := range map[string]func(*testing.T, *s3.Store, string, blob.Writer) blob.Writer{
		"append": func(_ *testing.T, _ *s3.Store, _ string, w blob.Writer) blob.Writer { return w },
		"suspend": func(t *testing.T, s *s3.Store, key string, w blob.Writer) blob.Writer {
			token, err := w.Suspend(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if w, err = s.Resume(t.Context(), key, token); err != nil {
				t.Fatal(err)
			}
			return w
		},
	} {
		for _, request := range []string{"CreateMultipartUpload", "UploadPart"} {
			t.Run(request+", then "+name, func(t *testing.T) {
				t.Parallel()
				c, relay := s3test.Through(t, c)
				s := open(t, c)
				key, want := blob.NewKey(), content(1, 17<<20)
				w, err := s.Create(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				relay.Give(s3test.Trouble{Request: request, Times: 6, Do: s3test.Say(503, "SlowDown")})
				for w.Size() < int64(len(want)) {
					before := w.Size()
					n, err := w.Append(t.Context(), bytes.NewReader(want[before:]))
					if w.Size() != before+n {
						t.Fatalf("Append took %d, the size went from %d to %d", n, before, w.Size())
					}
					if err != nil {
						checkError(t, err, dossier.KindUnavailable, request)
						continue
					}
				}
				relay.Calm()
				w = then(t, s, key, w)
				if _, digest, err := w.Commit(t.Context()); err != nil || digest != dossier.FromBytes(want) {
					t.Fatalf("Commit returned %s, %v", digest, err)
				}
				if got, err := read(t.Context(), s, key, 0, -1); err != nil || !bytes.Equal(got, want) {
					t.Errorf("read %d bytes, %v; want what was written", len(got), err)
				}
			})
		}
	}
}

// TestCancel ends the context while the last step is under way.
func TestCancel(t *testing.T) {
	t.Parallel()
	c, relay := s3test.Through(t, s3test.Start(t).Bucket(t, "cancel"))
	c.PartSize = s3.MinPartSize
	s := open(t, c)
	for _, tt := range []struct {
		size    int
		request string
		do      s3test.Effect
		visible bool
	}{
		{6 << 20, "CompleteMultipartUpload", s3test.Hang, false},
		{6 << 20, "CompleteMultipartUpload", s3test.DoAndHang, true},
		{1000, "PutObject", s3test.Hang, false},
		{1000, "PutObject", s3test.DoAndHang, true},
	} {
		key, want := blob.NewKey(), content(1, tt.size)
		w, err := s.Create(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Append(t.Context(), bytes.NewReader(want)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		relay.Give(s3test.Trouble{Request: tt.request, Times: -1, Do: func(w http.ResponseWriter, r *http.Request, pass func() *http.Response) {
			done := func() *http.Response {
				resp := pass()
				cancel()
				return resp
			}
			if !tt.visible {
				time.AfterFunc(20*time.Millisecond, cancel)
			}
			tt.do(w, r, done)
		}})
		_, _, err = w.Commit(ctx)
		cancel()
		relay.Calm()
		if tt.visible != (err == nil) || (err != nil && !errors.Is(err, context.Canceled)) {
			t.Errorf("%s of %d bytes: %v", tt.request, tt.size, err)
		}
		got, err := read(t.Context(), s, key, 0, -1)
		if tt.visible && !bytes.Equal(got, want) || !tt.visible && dossier.KindOf(err) != dossier.KindNotFound {
			t.Errorf("%s of %d bytes: read %d bytes, %v", tt.request, tt.size, len(got), err)
		}
	}
}

// TestGone loses the place altogether in the last step: then Commit cannot know.
func TestGone(t *testing.T) {
	t.Parallel()
	c, relay := s3test.Through(t, s3test.Start(t).Bucket(t, "gone"))
	c.PartSize, c.Tries = s3.MinPartSize, 2
	s := open(t, c)
	for _, do := range []s3test.Effect{s3test.Cut, s3test.DoAndCut} {
		key, want := blob.NewKey(), content(1, 6<<20)
		w, err := s.Create(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Append(t.Context(), bytes.NewReader(want)); err != nil {
			t.Fatal(err)
		}
		relay.Give(s3test.Trouble{Request: "CompleteMultipartUpload", Times: -1, Do: do})
		for _, request := range []string{"AbortMultipartUpload", "HeadObject"} {
			relay.Give(s3test.Trouble{Request: request, Times: -1, Do: s3test.Cut})
		}
		_, _, err = w.Commit(t.Context())
		relay.Calm()
		checkError(t, err, dossier.KindUnavailable, "whether the object was made is not known")
		got, err := read(t.Context(), s, key, 0, -1)
		if dossier.KindOf(err) != dossier.KindNotFound && !bytes.Equal(got, want) {
			t.Errorf("read %d bytes, %v: want all or none", len(got), err)
		}
	}
}

func TestReadThatBreaks(t *testing.T) {
	t.Parallel()
	c, relay := s3test.Through(t, s3test.Start(t).Bucket(t, "broken-reads"))
	c.Tries = 3
	s := open(t, c)
	key, all := blob.NewKey(), content(1, 3<<20)
	if err := write(t.Context(), s, key, all, len(all)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ offset, length int64 }{{0, -1}, {0, 2 << 20}, {100, 1 << 20}, {1 << 20, -1}} {
		want := all[tt.offset:]
		if tt.length >= 0 {
			want = want[:tt.length]
		}
		relay.Give(s3test.Trouble{Request: "GetObject", Times: 4, Do: s3test.DoAndStop(200_000)})
		got, err := read(t.Context(), s, key, tt.offset, tt.length)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes from %d: read %d (%v), want %d", tt.length, tt.offset, len(got), err, len(want))
		}
		if n := len(relay.Calm()); n < 5 {
			t.Errorf("%d requests: nothing broke", n)
		}
	}
	relay.Give(s3test.Trouble{Request: "GetObject", Pass: 1, Times: -1, Do: s3test.DoAndStop(0)})
	relay.Give(s3test.Trouble{Request: "GetObject", Times: 1, Do: s3test.DoAndStop(1000)})
	got, err := read(t.Context(), s, key, 0, -1)
	if relay.Calm(); err == nil && !bytes.Equal(got, all) {
		t.Errorf("read %d bytes of %d without an error", len(got), len(all))
	}
	relay.Give(s3test.Trouble{Request: "GetObject", Times: -1, Do: s3test.DoAndStop(0)})
	_, err = read(t.Context(), s, key, 0, -1)
	relay.Calm()
	checkError(t, err, dossier.KindUnavailable, "it broke off 3 times")
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	good := server.Bucket(t, "there")
	for name, tt := range map[string]struct {
		change func(*s3.Config)
		want   dossier.Kind
		says   string
	}{
		"no bucket":   {func(c *s3.Config) { c.Bucket = "elsewhere" }, dossier.KindStorage, "elsewhere at 127.0.0.1"},
		"secret":      {func(c *s3.Config) { c.Credentials.SecretKey = "wrong" }, dossier.KindStorage, "(403)"},
		"access key":  {func(c *s3.Config) { c.Credentials.AccessKey = "wrong" }, dossier.KindStorage, "access key"},
		"no server":   {func(c *s3.Config) { c.Endpoint = "http://127.0.0.1:1" }, dossier.KindUnavailable, "connection refused"},
		"no such TLS": {func(c *s3.Config) { c.Endpoint = server.Address }, dossier.KindUnavailable, "HTTP response to HTTPS client"},
	} {
		t.Run(name, func(t *testing.T) {
			c := good
			c.Tries = 2
			tt.change(&c)
			_, err := s3.Open(t.Context(), c)
			checkError(t, err, tt.want, tt.says)
			if strings.Contains(err.Error(), good.Credentials.SecretKey) {
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
}

// all are the requests that the package makes.
func all() []string {
	return []string{
		"AbortMultipartUpload", "CompleteMultipartUpload", "CreateMultipartUpload", "DeleteObject", "GetObject",
		"HeadObject", "ListMultipartUploads", "ListObjectsV2", "ListParts", "PutObject", "UploadPart",
	}
}

// missing returns which of all the requests were not made.
func missing(seen []string) []string {
	return slices.DeleteFunc(all(), func(name string) bool { return slices.Contains(seen, name) })
}
