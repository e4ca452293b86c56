// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"bytes"
	"net/http"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"dossier.dev/dossier/internal/testimage"
)

// faults are what a registry can do wrong in its answers, by name.
func faults() map[string]func(next http.Handler) http.HandlerFunc {
	status := func(code int, header ...string) func(http.Handler) http.HandlerFunc {
		return func(http.Handler) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				for i := 0; i+1 < len(header); i += 2 {
					w.Header().Set(header[i], header[i+1])
				}
				w.WriteHeader(code)
			}
		}
	}
	return map[string]func(http.Handler) http.HandlerFunc{
		"truncated": changed(func(b []byte) []byte { return b[:len(b)/2] }),
		"altered": changed(func(b []byte) []byte {
			return bytes.Replace(b, []byte("schemaVersion\":2"), []byte("schemaVersion\":3"), 1)
		}),
		"larger": changed(func(b []byte) []byte { return append(b, " \n"...) }),
		"login": changed(func([]byte) []byte {
			return []byte("<!DOCTYPE html><title>Sign in</title>")
		}),
		"endless":  func(http.Handler) http.HandlerFunc { return endless },
		"silent":   func(http.Handler) http.HandlerFunc { return silent },
		"brokenup": func(http.Handler) http.HandlerFunc { return broken },
		"loop":     func(http.Handler) http.HandlerFunc { return loop },
		"inward":   status(http.StatusFound, "Location", "http://169.254.169.254/latest/meta-data"),
		"busy":     status(http.StatusTooManyRequests, "Retry-After", "3600"),
		"failing":  status(http.StatusInternalServerError),
		"private":  status(http.StatusUnauthorized),
		"teapot":   status(http.StatusTeapot),
	}
}

// changed gives the right answer, altered, with the right digest in its head.
func changed(alter func([]byte) []byte) func(http.Handler) http.HandlerFunc {
	return func(next http.Handler) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			a := &answer{header: w.Header()}
			next.ServeHTTP(a, r)
			w.Header().Del("Content-Length")
			w.WriteHeader(max(a.status, http.StatusOK))
			if r.Method != http.MethodHead {
				_, _ = w.Write(alter(a.body.Bytes()))
			}
		}
	}
}

// answer keeps what a handler writes.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

// endless sends for as long as somebody listens.
func endless(w http.ResponseWriter, r *http.Request) {
	block := bytes.Repeat([]byte(" "), 64<<10)
	for {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

// silent takes the request and says nothing.
func silent(_ http.ResponseWriter, r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-time.After(10 * time.Minute):
	}
}

// broken breaks the connection off within the body.
func broken(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = w.Write([]byte("{"))
	panic(http.ErrAbortHandler)
}

// loop redirects to where the request came to.
func loop(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, r.URL.String(), http.StatusTemporaryRedirect)
}

// scriptFault: fault NAME FAULT PART starts a registry that goes wrong in its
// answers to GET and HEAD of paths that contain PART.
func scriptFault(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: fault NAME FAULT PART")
	}
	fault, ok := faults()[args[1]]
	if !ok {
		ts.Fatalf("no fault %s", args[1])
	}
	startRegistry(ts, args[0], testimage.RegistryOptions{Intercept: func(next http.Handler) http.Handler {
		wrong := fault(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, args[2]) {
				wrong(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}})
}
