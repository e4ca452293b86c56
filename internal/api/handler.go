// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// Answerer gives the answers that are served. server.Engine is one.
type Answerer interface {
	Images(ctx context.Context, q dossier.ImagesQuery) (dossier.ImageList, error)
	Prover
	Where(ctx context.Context, term string, limit int) (dossier.FoundList, error)
	SBOM(ctx context.Context, q dossier.SBOMQuery) (dossier.SBOM, error)
	Watch(ctx context.Context, q dossier.ImagesQuery) iter.Seq2[dossier.Change, error]
	Historian
	Assessor
}

// Prover answers about one image, and proves it.
type Prover interface {
	Dossier(ctx context.Context, ref string, at dossier.Times) (dossier.Dossier, error)
	// Proof returns the dossier with what proves it (docs/spec/proof.md).
	Proof(ctx context.Context, ref string, at dossier.Times) ([]byte, error)
}

// Assessor says what advisories mean for an image.
type Assessor interface {
	Findings(ctx context.Context, q dossier.FindingQuery) (dossier.FindingList, error)
	Explain(ctx context.Context, q dossier.FindingQuery, id string) (dossier.Explanation, error)
}

// Historian tells what happened over time.
type Historian interface {
	History(ctx context.Context, ref string, at time.Time) (dossier.History, error)
	Changes(ctx context.Context, q dossier.TagDiffQuery) (dossier.TagDiff, error)
	Audit(ctx context.Context, q dossier.AuditQuery) (dossier.AuditList, error)
}

// Carer says how the registry is cared for. care.Collector is one.
type Carer interface {
	Why(ctx context.Context, repository string, d dossier.Digest) (dossier.Keeping, error)
	Plan(ctx context.Context) (dossier.Collection, error)
	Damage(ctx context.Context, after dossier.Digest) (dossier.DamageList, error)
	Quotas(ctx context.Context) (dossier.QuotaList, error)
}

// Limits of a request. See also those of the listener in package server.
const (
	MaxQuery   = 16 << 10 // bytes after the "?"
	MaxValues  = 256      // parameters in it
	MaxFound   = 10_000   // images that one search returns
	MaxFacts   = 1000     // facts that one page holds
	MaxTags    = 1000     // tags that one page holds
	MaxWatches = 64       // at the same time, unless Config says otherwise
)

// Times. All are of the clock of the machine.
const (
	WriteTimeout = time.Minute      // for a client to take each part of a response
	KeepAlive    = 15 * time.Second // between two lines of a watch
)

// Config is what a Handler serves. Answers and Store are required.
type Config struct {
	Answers Answerer
	Store   store.Store
	Care    Carer   // of the registry; nil: there is none
	Tokens  Tokens  // one of which is required of everybody; none: no login
	Checks  []Check // of /readyz
	// Upstreams says how it stands with the registries that are pulled through; nil: none are.
	Upstreams func() []dossier.Upstream
	// LoopbackOnly refuses requests that are addressed to any host but loopback.
	LoopbackOnly bool
	Log          http.Handler         // of what is below /log/ (translog.Handler); nil: nothing
	TUF          http.Handler         // of what is below /tuf/ (tuf.Handler); nil: nothing
	Registry     *prometheus.Registry // of /metrics; the handler adds its own; nil: a new one
	Logger       *slog.Logger         // nil: silent
	AccessLog    bool                 // log every request, not only those that failed
	Now          func() time.Time     // nil: time.Now

	MaxWatches int           // 0: the constant of that name
	KeepAlive  time.Duration // 0: the constant of that name
}

// Handler serves the API.
type Handler struct {
	config  Config
	mux     *http.ServeMux
	metrics *requestMetrics
	writers sync.Pool // of *gzip.Writer
	buffers sync.Pool // of *bytes.Buffer

	watches  chan struct{} // one for each watch under way
	drain    sync.Once
	draining chan struct{} // closed by Drain
	etag     string        // of the OpenAPI document
}

// New returns a Handler.
func New(c Config) *Handler {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Registry == nil {
		c.Registry = prometheus.NewRegistry()
	}
	c.MaxWatches = cmp.Or(c.MaxWatches, MaxWatches)
	c.KeepAlive = cmp.Or(c.KeepAlive, KeepAlive)
	h := &Handler{
		config:   c,
		mux:      http.NewServeMux(),
		metrics:  newRequestMetrics(c.Registry),
		watches:  make(chan struct{}, c.MaxWatches),
		draining: make(chan struct{}),
		etag:     documentTag(),
	}
	for _, rt := range routes() {
		h.mux.Handle(rt.path, h.serve(rt))
	}
	h.mux.Handle("/", h.serve(route{handle: (*Handler).nothingHere}))
	return h
}

// Drain ends the watches, and those that are begun from now on, so that the
// server can stop. Other requests are served as before.
func (h *Handler) Drain() { h.drain.Do(func() { close(h.draining) }) }

// route is one resource. Its handler returns an error before it has written
// anything, or none.
type route struct {
	path   string   // as http.ServeMux takes it; without method: GET and HEAD
	params []string // names in the query
	open   bool     // needs no token
	writes bool     // takes POST, with a body, as well
	handle func(h *Handler, w http.ResponseWriter, r *http.Request, q query) error
}

// routes is the table that everything served comes from.
func routes() []route {
	return []route{
		{path: "/api/v1/images", params: []string{"namespace", "selector", "cluster", "at", "knownAt", "watch"}, handle: (*Handler).images},
		{path: "/api/v1/dossiers", params: []string{"ref", "at", "knownAt"}, handle: (*Handler).dossier},
		{path: "/api/v1/proofs", params: []string{"ref", "at", "knownAt"}, handle: (*Handler).proof},
		{path: "/api/v1/digests/{digest}", params: []string{"at", "knownAt"}, handle: (*Handler).digest},
		{path: "/api/v1/digests/{digest}/tags", params: []string{"at", "after", "limit"}, handle: (*Handler).tags},
		{path: "/api/v1/where", params: []string{"term", "limit"}, handle: (*Handler).where},
		{path: "/api/v1/history", params: []string{"ref", "at"}, handle: (*Handler).history},
		{path: "/api/v1/changes", params: []string{"repository", "from", "to", "after", "limit"}, handle: (*Handler).changes},
		{path: "/api/v1/sbom", params: []string{"ref", "platform", "format", "at", "knownAt"}, handle: (*Handler).sbom},
		{path: "/api/v1/vulnerabilities", params: []string{"ref", "platform", "at", "knownAt", "vex"}, handle: (*Handler).vulnerabilities},
		{path: "/api/v1/explanation", params: []string{"ref", "id", "platform", "at", "knownAt"}, handle: (*Handler).explanation},
		{path: "/api/v1/audit", params: auditParams(), handle: (*Handler).audit},
		{path: "/api/v1/clusters", handle: (*Handler).clusters},
		{path: "/api/v1/jobs", handle: (*Handler).jobs},
		{path: "/api/v1/upstreams", handle: (*Handler).upstreams},
		{path: "/api/v1/facts/{id}", handle: (*Handler).fact},
		{path: "/api/v1/subjects/{digest}/facts", params: []string{"after", "limit"}, handle: (*Handler).facts},
		{path: "/api/v1/registry/why", params: []string{"digest", "repository"}, handle: (*Handler).why},
		{path: "/api/v1/registry/garbage", handle: (*Handler).garbage},
		{path: "/api/v1/registry/damage", params: []string{"after"}, handle: (*Handler).damage},
		{path: "/api/v1/registry/quotas", handle: (*Handler).quotas},
		{path: "/api/v1/openapi.json", handle: (*Handler).openapi},
		{path: "/log/{path...}", handle: (*Handler).log},
		{path: "/tuf/{path...}", writes: true, handle: (*Handler).tuf},
		{path: "/healthz", open: true, handle: (*Handler).healthz},
		{path: "/readyz", open: true, handle: (*Handler).readyz},
		{path: "/metrics", handle: (*Handler).showMetrics},
	}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	rec := &recorder{ResponseWriter: w, control: http.NewResponseController(w)}
	rec.extend()
	defer func() { h.observe(rec, r, time.Since(begin)) }()
	header := rec.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	if h.config.LoopbackOnly && !isLoopback(r.Host) {
		h.refuse(rec, r, &dossier.Error{Kind: dossier.KindDenied, Op: "checking the host that was asked for",
			Err: errors.New("this server answers to loopback names only"), Hint: "ask for 127.0.0.1 or localhost"})
		return
	}
	h.mux.ServeHTTP(rec, r)
}

// serve wraps a route with what all have in common.
func (h *Handler) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q, err := h.admit(rt, w, r)
		if err == nil {
			err = rt.handle(h, w, r, q)
		}
		if err != nil {
			h.refuse(w, r, err)
		}
	})
}

// admit checks who asks, and how.
func (h *Handler) admit(rt route, w http.ResponseWriter, r *http.Request) (query, error) {
	if !rt.open && !h.knows(r) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="dossier"`)
		return query{}, errToken
	}
	if rt.writes && r.Method == http.MethodPost {
		if err := sameSite(r); err != nil {
			return query{}, err
		}
		return parseQuery(r.URL.RawQuery, rt.params)
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return query{}, errMethod
	}
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close") // the body is not read
		return query{}, dossier.Errorf(dossier.KindInvalid, "reading the request", "", "it has a body; nothing here takes one")
	}
	if rt.path == "" {
		return query{}, nil
	}
	return parseQuery(r.URL.RawQuery, rt.params)
}

// nothingHere answers for all paths that no route has.
func (h *Handler) nothingHere(http.ResponseWriter, *http.Request, query) error {
	return &dossier.Error{Kind: dossier.KindNotFound, Op: "finding the resource", Err: errors.New("there is no such path"),
		Hint: "/api/v1/openapi.json lists the paths"}
}

// observe tells metrics and log of a request that was answered.
func (h *Handler) observe(rec *recorder, r *http.Request, took time.Duration) {
	status := cmp.Or(rec.status, http.StatusOK)
	h.metrics.observe(r.Pattern, status, took)
	level := slog.LevelDebug
	if status >= http.StatusBadRequest || h.config.AccessLog {
		level = slog.LevelInfo
	}
	h.config.Logger.Log(r.Context(), level, "request", "method", r.Method, "path", r.URL.Path, "status", status,
		"bytes", rec.bytes, "duration", took, "remote", r.RemoteAddr, "agent", r.UserAgent())
}

// recorder remembers what was answered, and gives the client time for each part.
type recorder struct {
	http.ResponseWriter
	control *http.ResponseController
	status  int
	bytes   int64
}

// WriteHeader implements http.ResponseWriter.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.extend()
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the writer.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// extend moves the deadline of the connection. A writer that has none, in a
// test, does without.
func (w *recorder) extend() { _ = w.control.SetWriteDeadline(time.Now().Add(WriteTimeout)) }
