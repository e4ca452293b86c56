// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package s3test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"dossier.dev/dossier/internal/blob/s3"
)

// Relay passes requests on to an object store, and gives trouble as it is told.
type Relay struct {
	target string // host:port
	onward http.RoundTripper

	mu       sync.Mutex
	troubles []*Trouble
	seen     []string // names of the requests that came
}

// Trouble is what happens to some requests.
type Trouble struct {
	Request string // its name; empty: any
	Pass    int    // how many go through before
	Times   int    // to how many it happens; negative: to all
	Each    bool   // it happens to so many of each name
	Do      Effect

	count map[string]int
}

// Effect answers a request, or does not. It may pass it on.
type Effect func(w http.ResponseWriter, r *http.Request, pass func() *http.Response)

// Through returns the configuration of a store that is reached through a relay.
func Through(t testing.TB, c s3.Config) (s3.Config, *Relay) {
	t.Helper()
	// A connection that is used twice may have been closed in between, which would be a trouble that nobody gave.
	r := &Relay{target: strings.TrimPrefix(c.Endpoint, "http://"), onward: &http.Transport{DisableKeepAlives: true}}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	c.Endpoint = server.URL
	return c, r
}

// Give adds a trouble.
func (r *Relay) Give(t Trouble) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t.count = map[string]int{}
	r.troubles = append(r.troubles, &t)
}

// Calm ends all troubles and returns the names of the requests since the last time.
func (r *Relay) Calm() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.troubles, r.seen = nil, nil
	return seen
}

// next returns what happens to a request.
func (r *Relay) next(name string) Effect {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, name)
	for _, t := range r.troubles {
		if t.Request != "" && t.Request != name {
			continue
		}
		bin := ""
		if t.Each {
			bin = name
		}
		t.count[bin]++
		if n := t.count[bin] - t.Pass; n > 0 && (t.Times < 0 || n <= t.Times) {
			return t.Do
		}
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (r *Relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the client has gone
	}
	pass := func() *http.Response {
		out := req.Clone(req.Context())
		out.URL.Scheme, out.URL.Host, out.RequestURI = "http", r.target, ""
		out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		resp, err := r.onward.RoundTrip(out)
		if err != nil {
			panic(http.ErrAbortHandler) // the client has gone, or the server
		}
		return resp
	}
	if do := r.next(name(req)); do != nil {
		do(w, req, pass)
		return
	}
	forward(w, pass())
}

func forward(w http.ResponseWriter, resp *http.Response) {
	defer resp.Body.Close()
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(resp.StatusCode)
	io.Copy(w, resp.Body) // the client may have gone
}

// name returns what S3 calls a request.
func name(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case r.Method == http.MethodPut && q.Has("partNumber"):
		return "UploadPart"
	case r.Method == http.MethodPut:
		return "PutObject"
	case r.Method == http.MethodPost && q.Has("uploads"):
		return "CreateMultipartUpload"
	case r.Method == http.MethodPost:
		return "CompleteMultipartUpload"
	case r.Method == http.MethodDelete && q.Has("uploadId"):
		return "AbortMultipartUpload"
	case r.Method == http.MethodDelete:
		return "DeleteObject"
	case q.Has("uploadId"):
		return "ListParts"
	case q.Has("uploads"):
		return "ListMultipartUploads"
	case q.Has("list-type"):
		return "ListObjectsV2"
	case r.Method == http.MethodHead:
		return "HeadObject"
	}
	return "GetObject"
}

// Say answers with an error and does nothing.
func Say(status int, code string) Effect {
	return func(w http.ResponseWriter, _ *http.Request, _ func() *http.Response) { answer(w, status, code) }
}

func answer(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>said by the test</Message></Error>", code)
}

// DoAndSay does what was asked and answers with an error.
func DoAndSay(status int, code string) Effect {
	return func(w http.ResponseWriter, _ *http.Request, pass func() *http.Response) {
		pass().Body.Close()
		answer(w, status, code)
	}
}

// Cut closes the connection and does nothing.
func Cut(http.ResponseWriter, *http.Request, func() *http.Response) { panic(http.ErrAbortHandler) }

// DoAndCut does what was asked and closes the connection.
func DoAndCut(_ http.ResponseWriter, _ *http.Request, pass func() *http.Response) {
	pass().Body.Close()
	panic(http.ErrAbortHandler)
}

// Hang does nothing until the client gives up.
func Hang(_ http.ResponseWriter, r *http.Request, _ func() *http.Response) { <-r.Context().Done() }

// DoAndHang does what was asked and does not answer.
func DoAndHang(_ http.ResponseWriter, r *http.Request, pass func() *http.Response) {
	pass().Body.Close()
	<-r.Context().Done()
}

// Pretend says that a part has arrived and forgets it.
func Pretend(w http.ResponseWriter, _ *http.Request, _ func() *http.Response) {
	w.Header().Set("ETag", `"d41d8cd98f00b204e9800998ecf8427e"`)
}

// DoAndStop answers with the first n bytes of what was asked for.
func DoAndStop(n int64) Effect {
	return func(w http.ResponseWriter, _ *http.Request, pass func() *http.Response) {
		resp := pass()
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, n), resp.Body}
		forward(w, resp)
		http.NewResponseController(w).Flush() // what is there must come
		panic(http.ErrAbortHandler)
	}
}
