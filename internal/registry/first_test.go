// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/registry"
)

// slowRequest sends a request whose body of a known length comes in two parts: the second
// when the function that it returns is called, which returns the answer.
func (l *lab) slowRequest(t *testing.T, method, path, first, second string) func() answer {
	t.Helper()
	r, w := io.Pipe()
	ctx := context.WithoutCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, method, l.url+path, r)
	if err != nil {
		t.Fatal(err)
	}
	request.ContentLength = int64(len(first) + len(second))
	type result struct {
		answer
		err error
	}
	done := make(chan result, 1)
	go func() {
		resp, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			done <- result{err: err}
			return
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		done <- result{answer{resp.StatusCode, resp.Header, b}, err}
	}()
	if _, err := io.WriteString(w, first); err != nil {
		t.Fatal(err)
	}
	return func() answer {
		t.Helper()
		_, _ = io.WriteString(w, second) // the server may have closed it
		_ = w.Close()
		got := <-done
		if got.err != nil {
			t.Fatal(got.err)
		}
		return got.answer
	}
}

// files returns how many files lie in the directory of the blobs, with those of uploads.
func (l *lab) files(t *testing.T) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(filepath.Join(l.dir, "blobs"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		if os.IsNotExist(err) {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// awaitFiles waits until so many files are there, as when a body has begun to come.
func (l *lab) awaitFiles(t *testing.T, n int) {
	t.Helper()
	await(t, func() bool { return l.files(t) == n })
}

// TestFirstBytes has two requests bring the first bytes of an upload at once, which neither
// holds: who is done first has it, the other is told, and nothing of what it sent stays.
func TestFirstBytes(t *testing.T) {
	digest := func(s string) string { return "?digest=" + string(dossier.FromBytes([]byte(s))) }
	begin := func(l *lab) string {
		return l.want(t, http.StatusAccepted, "", http.MethodPost, "/v2/app/blobs/uploads/", nil).header.Get("Location")
	}
	for _, test := range []struct {
		name         string
		method, tail string // of the slow one
		other        func(l *lab, location string)
		code         string
		content      string // what the upload is in the end; empty: it has ended
	}{
		{"chunk beside chunk", http.MethodPatch, "", func(l *lab, location string) {
			l.want(t, http.StatusAccepted, "", http.MethodPatch, location, []byte("quick"))
		}, "BLOB_UPLOAD_INVALID", "quick"},
		{"end beside chunk", http.MethodPut, digest("slow one"), func(l *lab, location string) {
			l.want(t, http.StatusAccepted, "", http.MethodPatch, location, []byte("quick"))
		}, "BLOB_UPLOAD_INVALID", "quick"},
		{"wrong end beside chunk", http.MethodPut, digest("another"), func(l *lab, location string) {
			l.want(t, http.StatusAccepted, "", http.MethodPatch, location, []byte("quick"))
		}, "DIGEST_INVALID", "quick"},
		{"chunk beside end", http.MethodPatch, "", func(l *lab, location string) {
			l.want(t, http.StatusCreated, "", http.MethodPut, location+digest("quick"), []byte("quick"))
		}, "BLOB_UPLOAD_UNKNOWN", ""},
		{"end beside end", http.MethodPut, digest("slow one"), func(l *lab, location string) {
			l.want(t, http.StatusCreated, "", http.MethodPut, location+digest("quick"), []byte("quick"))
		}, "BLOB_UPLOAD_UNKNOWN", ""},
		{"chunk beside cancel", http.MethodPatch, "", func(l *lab, location string) {
			l.want(t, http.StatusNoContent, "", http.MethodDelete, location, nil)
		}, "BLOB_UPLOAD_UNKNOWN", ""},
	} {
		check := func(t *testing.T, l *lab, location string) {
			t.Helper()
			if test.content == "" {
				l.want(t, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", http.MethodGet, location, nil)
				return
			}
			l.want(t, http.StatusCreated, "", http.MethodPut, location+digest(test.content), nil)
			got := l.want(t, http.StatusOK, "", http.MethodGet, "/v2/app/blobs/"+strings.TrimPrefix(digest(test.content), "?digest="), nil)
			if !bytes.Equal(got.body, []byte(test.content)) {
				t.Errorf("the blob is %q, want %q", got.body, test.content)
			}
		}
		t.Run(test.name+" in files", func(t *testing.T) {
			l := newLab(t, noRows)
			location := begin(l)
			before := l.files(t)
			finish := l.slowRequest(t, test.method, location+test.tail, "slow", " one")
			l.awaitFiles(t, before+1)
			test.other(l, location)
			kept := l.files(t) - 1 // of the other
			if a := finish(); a.code() != test.code {
				t.Errorf("the slow one: %d %s, want %s", a.status, a.body, test.code)
			}
			l.awaitFiles(t, kept)
			check(t, l, location)
		})
		t.Run(test.name+" in rows", func(t *testing.T) {
			var views *viewedStore
			l := newLab(t, func(c *registry.Config) {
				views = &viewedStore{Store: c.Store}
				c.Store = views
			})
			location := begin(l)
			before := views.n.Load()
			finish := l.slowRequest(t, test.method, location+test.tail, "slow", " one")
			await(t, func() bool { return views.n.Load() > before }) // it has read where the upload stands
			test.other(l, location)
			if a := finish(); a.code() != test.code {
				t.Errorf("the slow one: %d %s, want %s", a.status, a.body, test.code)
			}
			if n := l.files(t); n > 0 {
				t.Errorf("there are %d files", n)
			}
			check(t, l, location)
		})
	}
}

// TestOtherAlgorithm begins an upload for one algorithm and ends it with another, which
// fails the first time: the upload is as it was.
func TestOtherAlgorithm(t *testing.T) {
	for _, body := range []string{"abc", strings.Repeat("abc", 10_000), strings.Repeat("abc", 1<<20)} { // in a row, short, and held
		for begun, ended := range map[string]string{dossier.SHA512: dossier.SHA256, dossier.SHA256: dossier.SHA512} {
			l := newLab(t, nil)
			begin := func() string {
				return l.want(t, http.StatusAccepted, "", http.MethodPost, "/v2/app/blobs/uploads/?digest-algorithm="+begun, nil).header.Get("Location")
			}
			h := dossier.Digest(ended + ":").NewHash()
			h.Write([]byte(body))
			tail := "?digest=" + string(dossier.FromHash(ended, h))
			for _, end := range []func(location string){
				func(location string) {
					l.want(t, http.StatusCreated, "", http.MethodPut, location+tail, []byte(body))
				},
				func(location string) { l.want(t, http.StatusNoContent, "", http.MethodDelete, location, nil) },
			} {
				location := begin()
				l.want(t, http.StatusRequestedRangeNotSatisfiable, "RANGE_INVALID", http.MethodPut, location+tail, []byte(body), "Content-Range: 5-7")
				end(location)
			}
		}
	}
}
