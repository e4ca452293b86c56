// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package s3_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"dossier.dev/dossier/internal/blob/s3"
)

// relay passes requests on to an object store, and gives trouble as it is told.
type relay struct {
	target string // host:port
	onward http.RoundTripper

	mu       sync.Mutex
	troubles []*trouble
	seen     []string // names of the requests that came
}

// trouble is what happens to some requests.
type trouble struct {
	request string // its name; empty: any
	pass    int    // how many go through before
	times   int    // to how many it happens; negative: to all
	each    bool   // it happens to so many of each name
	do      effect

	count map[string]int
}

// effect answers a request, or does not. It may pass it on.
type effect func(w http.ResponseWriter, r *http.Request, pass func() *http.Response)

// through returns the configuration of a store that is reached through a relay.
func through(t testing.TB, c s3.Config) (s3.Config, *relay) {
	t.Helper()
	// A connection that is used twice may have been closed in between, which would be a trouble that nobody gave.
	r := &relay{target: strings.TrimPrefix(c.Endpoint, "http://"), onward: &http.Transport{DisableKeepAlives: true}}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	c.Endpoint = server.URL
	return c, r
}

// give adds a trouble.
func (r *relay) give(t trouble) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t.count = map[string]int{}
	r.troubles = append(r.troubles, &t)
}

// calm ends all troubles and returns the names of the requests since the last time.
func (r *relay) calm() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.troubles, r.seen = nil, nil
	return seen
}

// next returns what happens to a request.
func (r *relay) next(name string) effect {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, name)
	for _, t := range r.troubles {
		if t.request != "" && t.request != name {
			continue
		}
		bin := ""
		if t.each {
			bin = name
		}
		t.count[bin]++
		if n := t.count[bin] - t.pass; n > 0 && (t.times < 0 || n <= t.times) {
			return t.do
		}
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (r *relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
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

// say answers with an error and does nothing.
func say(status int, code string) effect {
	return func(w http.ResponseWriter, _ *http.Request, _ func() *http.Response) { answer(w, status, code) }
}

func answer(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>said by the test</Message></Error>", code)
}

// doAndSay does what was asked and answers with an error.
func doAndSay(status int, code string) effect {
	return func(w http.ResponseWriter, _ *http.Request, pass func() *http.Response) {
		pass().Body.Close()
		answer(w, status, code)
	}
}

// cut closes the connection and does nothing.
func cut(http.ResponseWriter, *http.Request, func() *http.Response) { panic(http.ErrAbortHandler) }

// doAndCut does what was asked and closes the connection.
func doAndCut(_ http.ResponseWriter, _ *http.Request, pass func() *http.Response) {
	pass().Body.Close()
	panic(http.ErrAbortHandler)
}

// hang does nothing until the client gives up.
func hang(_ http.ResponseWriter, r *http.Request, _ func() *http.Response) { <-r.Context().Done() }

// doAndHang does what was asked and does not answer.
func doAndHang(_ http.ResponseWriter, r *http.Request, pass func() *http.Response) {
	pass().Body.Close()
	<-r.Context().Done()
}

// pretend says that a part has arrived and forgets it.
func pretend(w http.ResponseWriter, _ *http.Request, _ func() *http.Response) {
	w.Header().Set("ETag", `"d41d8cd98f00b204e9800998ecf8427e"`)
}

// doAndStop answers with the first n bytes of what was asked for.
func doAndStop(n int64) effect {
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
