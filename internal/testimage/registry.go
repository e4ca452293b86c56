// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package testimage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

// Auth is how a registry asks who is there.
type Auth string

// The ways.
const (
	AuthNone   Auth = ""
	AuthBasic  Auth = "basic"
	AuthBearer Auth = "bearer" // with tokens from /token on the same host
)

// RegistryOptions says how a registry behaves. The zero value is a well-behaved
// one without TLS on a free port of 127.0.0.1.
type RegistryOptions struct {
	Addr     string        // host:port to listen on
	Latency  time.Duration // added before each answer
	Auth     Auth
	User     string // with Auth; when empty, a bearer token is given to anyone
	Password string
	TokenAge time.Duration // how long a token is good; 0 is 5 minutes
	TLS      bool          // with a certificate of a CA of its own: see Registry.CA
	// Intercept, when set, stands before the registry and may lie. It runs after
	// authentication.
	Intercept func(next http.Handler) http.Handler
}

// Registry is an OCI registry in this process; its content is in memory.
type Registry struct {
	Host string // "127.0.0.1:port"
	URL  string // with scheme
	CA   []byte // PEM; nil without TLS

	opts    RegistryOptions
	content http.Handler // without authentication, latency, faults, counting
	server  *http.Server
	served  chan struct{}

	mu       sync.Mutex
	requests []Request
	tokens   map[string]token
}

// Request is one request that a registry got.
type Request struct {
	Method        string
	Path          string // with the query
	Authorization string
	Host          string
}

// StartRegistry starts a registry, which serves until Close.
func StartRegistry(opts RegistryOptions) (*Registry, error) {
	if opts.Addr == "" {
		opts.Addr = "127.0.0.1:0"
	}
	r := &Registry{
		opts:    opts,
		content: registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)),
		served:  make(chan struct{}),
		tokens:  map[string]token{},
	}
	listener, err := net.Listen("tcp", opts.Addr)
	if err != nil {
		return nil, fmt.Errorf("starting registry: %w", err)
	}
	r.Host = listener.Addr().String()
	r.URL = "http://" + r.Host
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	if opts.TLS {
		r.URL = "https://" + r.Host
		ca, config, err := serverTLS(r.Host)
		if err != nil {
			return nil, errors.Join(err, listener.Close())
		}
		r.CA, r.server.TLSConfig = ca, config
	}
	go func() {
		defer close(r.served)
		if opts.TLS {
			_ = r.server.ServeTLS(listener, "", "") // it ends with ErrServerClosed
			return
		}
		_ = r.server.Serve(listener)
	}()
	return r, nil
}

// Close stops the registry and breaks its connections.
func (r *Registry) Close() error {
	err := r.server.Close()
	<-r.served
	return err
}

// Push puts c into the registry, past authentication, faults and counting. An
// empty tag names nothing.
func (r *Registry) Push(ctx context.Context, repository, tag string, c *Content) error {
	return Push(ctx, &http.Client{Transport: direct{r.content}}, r.URL, repository, tag, c)
}

// ServeHTTP implements http.Handler.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.requests = append(r.requests, Request{
		Method:        req.Method,
		Path:          req.URL.RequestURI(),
		Authorization: req.Header.Get("Authorization"),
		Host:          req.Host,
	})
	r.mu.Unlock()
	if r.opts.Latency > 0 {
		select {
		case <-time.After(r.opts.Latency):
		case <-req.Context().Done():
			return
		}
	}
	if req.URL.Path == "/token" && r.opts.Auth == AuthBearer {
		r.serveToken(w, req)
		return
	}
	if !r.admit(w, req) {
		return
	}
	handler := r.content
	if r.opts.Intercept != nil {
		handler = r.opts.Intercept(handler)
	}
	handler.ServeHTTP(w, req)
}

// Requests returns the requests since the start or the last ResetRequests.
func (r *Registry) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Request(nil), r.requests...)
}

// Count returns how many of the requests have a method and a path that
// contains part. An empty method or part is any.
func (r *Registry) Count(method, part string) int {
	n := 0
	for _, req := range r.Requests() {
		if (method == "" || req.Method == method) && strings.Contains(req.Path, part) {
			n++
		}
	}
	return n
}

// ResetRequests forgets the requests so far.
func (r *Registry) ResetRequests() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = nil
}

// direct calls a handler without a network.
type direct struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper.
func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	w := &recorder{header: http.Header{}, status: http.StatusOK}
	if req.Body == nil {
		req.Body = http.NoBody
	}
	d.handler.ServeHTTP(w, req)
	return &http.Response{
		Status:        http.StatusText(w.status),
		StatusCode:    w.status,
		Header:        w.header,
		Body:          io.NopCloser(&w.body),
		ContentLength: int64(w.body.Len()),
		Request:       req,
	}, nil
}

// recorder is an http.ResponseWriter that keeps the answer.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header         { return w.header }
func (w *recorder) WriteHeader(status int)      { w.status = status }
func (w *recorder) Write(b []byte) (int, error) { return w.body.Write(b) }

// RevokeTokens makes all bearer tokens invalid.
func (r *Registry) RevokeTokens() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.tokens)
}
