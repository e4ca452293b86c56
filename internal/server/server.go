// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/answer"
	"dossier.dev/dossier/internal/api"
	"dossier.dev/dossier/internal/notify"
	"dossier.dev/dossier/internal/registry/access"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/translog"
)

// Limits of the listener. Those of a request are in package api.
const (
	maxHeader         = 64 << 10 // bytes
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	// drainTimeout is how long requests may go on once the server is told to end.
	drainTimeout = 10 * time.Second
	// maxParsed is of how many bytes of facts a server remembers what they say.
	// To parse again is cheap; what is remembered is many small things that every
	// collection of garbage goes through, and meanwhile the answers wait.
	maxParsed = 1 << 20
	// maxExposures is how many findings of sets of packages it remembers, those of
	// some thousand images.
	maxExposures = 300_000
)

// server is a Serve under way.
type server struct {
	config   ServeConfig
	entrance entrance
	engine   *Engine
	handler  *api.Handler
	workers  task
	matching task
	follower *follower // nil: no cluster
	own      *ownRegistry
	log      *ownLog      // nil: no key to sign with
	witness  http.Handler // nil: it is none
	tuf      *ownTUF      // nil: no prefix has metadata
	triage   *triage
	notifier *notify.Service
	telling  task // the work of notifier
	tracing  *tracing
}

// Serve answers over HTTP until ctx ends: it opens an engine, follows the
// cluster, reads images as they come, and checks their tags again from time to
// time; with Config.Offline it only answers. ready is called once, with the address that it listens on.
//
// A cluster that cannot be reached, and a store that refuses work, are tried again with growing
// pauses while what is known is served; /readyz says so. When ctx ends, requests
// are finished, at the latest after drainTimeout, and all work is joined. Any
// number of equal servers may share a PostgreSQL database.
//
// Errors: those of Open and ServeConfig.Validate; KindUnavailable: the address is taken.
func Serve(ctx context.Context, c ServeConfig, ready func(addr net.Addr)) (err error) {
	if err := c.Validate(); err != nil {
		return err
	}
	if c.Logger != nil && c.Traces.Endpoint != "" {
		c.Logger = slog.New(traceID{c.Logger.Handler()})
	}
	entrance, err := c.entrance()
	if err != nil {
		return err
	}
	c.Policy.MaxFeedAge = cmp.Or(c.Policy.MaxFeedAge, c.Advisories.MaxAge)
	c.Gather = c.Notifications.Gather
	engine, err := Open(ctx, c.Config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	if err := engine.openAdvisories(ctx); err != nil { // now, not when somebody asks
		return err
	}
	engine.Parser = answer.NewParser(maxParsed)
	engine.Exposures = answer.NewExposures(maxExposures)
	listener, err := entrance.open(ctx)
	if err != nil {
		return err
	}
	tracing, err := openTracing(ctx, c.Traces, c.Build, engine.config.Logger)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer func() { err = errors.Join(err, tracing.close()) }()
	s, err := newServer(ctx, c, entrance, engine, listener.Addr())
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	s.tracing = tracing
	return s.run(ctx, listener, ready)
}

// newServer wires a server that will listen on addr.
func newServer(ctx context.Context, c ServeConfig, a entrance, e *Engine, addr net.Addr) (*server, error) {
	s := &server{config: c, entrance: a, engine: e, workers: task{name: "reading images", log: e.config.Logger},
		matching: task{name: "comparing packages with advisories", log: e.config.Logger}, telling: task{name: "telling others", log: e.config.Logger}}
	checks := []api.Check{{Name: "store", Ready: e.ready}, {Name: "workers", Ready: s.workers.ready}, {Name: "findings", Ready: s.matching.ready}}
	if !c.NoCluster && !c.Offline {
		s.follower = newFollower(e, c.Cluster, !c.Registry.Off && !c.Registry.Care.Off)
		if err := e.ingest.Await(ctx); err != nil { // before anything is collected
			return nil, err
		}
		checks = append(checks, api.Check{Name: "cluster", Ready: s.follower.ready})
	} else if !c.Offline {
		if err := e.ingest.AwaitNone(ctx); err != nil {
			return nil, err
		}
	}
	var err error
	if e.seal, err = readSealKeys(c.SealKey); err != nil {
		return nil, err
	}
	log, err := openLog(c, e)
	if err != nil {
		return nil, err
	}
	if s.log = log; log != nil {
		e.log = log.Log
		checks = append(checks, api.Check{Name: "log", Ready: log.task.ready})
	}
	if s.witness, err = openWitness(c, e); err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	register(registry, s)
	if s.triage, err = openTriage(c, e); err != nil {
		return nil, err
	}
	if s.notifier, err = openNotifier(ctx, c, e); err != nil {
		return nil, err
	}
	if s.notifier != nil {
		registry.MustRegister(newNotifyCollector(s.notifier, e))
	}
	var upstreams func() []dossier.Upstream
	var carer api.Carer
	if !c.Registry.Off {
		if s.own, err = openRegistry(ctx, c, a, e, addr, newRegistryMetrics(registry), newCareMetrics(registry)); err != nil {
			return nil, err
		}
		e.own = s.own
		upstreams, carer = s.own.upstreams.Status, s.own.care
		registry.MustRegister(newUpstreamCollector(upstreams, e.config.Now))
		registerAudit(registry, s.own.recorder)
		registry.MustRegister(newQuotaCollector(s.own.care.Quotas))
		checks = append(checks, api.Check{Name: "blobs", Ready: s.own.blobs.Ready})
	}
	var metadata http.Handler
	if !c.Registry.Off && len(c.Registry.TUF.Prefixes) > 0 {
		if s.tuf, err = openTUF(ctx, c, e, s.own.name); err != nil {
			return nil, err
		}
		metadata = s.tuf.handler
		checks = append(checks, api.Check{Name: "tuf", Ready: s.tuf.task.ready})
	}
	s.handler = api.New(api.Config{
		Answers: e, Store: e.store, Tokens: a.tokens, Checks: checks, Registry: registry, Upstreams: upstreams, Care: carer,
		TUF:          metadata,
		Log:          &translog.Handler{Store: e.store, Logger: e.config.Logger},
		LoopbackOnly: a.loopback && !a.tokens.Required(),
		Logger:       e.config.Logger, AccessLog: c.AccessLog, Now: e.config.Now,
	})
	return s, nil
}

// ServeHTTP hands a request to the registry or to the API.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r, end := s.tracing.begin(r)
	defer end()
	if s.own != nil && (r.URL.Path == "/v2" || strings.HasPrefix(r.URL.Path, "/v2/")) {
		s.own.ServeHTTP(w, r)
		return
	}
	if s.own != nil && s.own.tokens != nil && r.URL.Path == access.TokenPath {
		s.own.tokens.ServeHTTP(w, r)
		return
	}
	if s.witness != nil && r.URL.Path == translog.WitnessPath {
		s.witness.ServeHTTP(w, r)
		return
	}
	s.handler.ServeHTTP(w, r)
}

// run serves on listener, which it closes.
func (s *server) run(ctx context.Context, listener net.Listener, ready func(net.Addr)) (err error) {
	// Requests outlive ctx: they are finished.
	requests, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	log := s.engine.config.Logger
	web := &http.Server{
		Handler: s, TLSConfig: s.entrance.tls, MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout,
		BaseContext: func(net.Listener) context.Context { return requests },
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelInfo),
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		err := s.entrance.serve(web, listener)
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	})
	group.Go(func() error {
		<-ctx.Done()
		s.handler.Drain()
		limit, cancel := context.WithTimeout(requests, drainTimeout)
		defer cancel()
		if err := web.Shutdown(limit); err != nil {
			log.WarnContext(requests, "requests were broken off", "error", err)
			abort()
			return web.Close()
		}
		return nil
	})
	if !s.config.Offline {
		group.Go(func() error { return s.workers.keep(ctx, s.work) })
		group.Go(func() error {
			s.engine.refresh(ctx)
			return nil
		})
	}
	group.Go(func() error { return s.matching.keep(ctx, s.match) })
	group.Go(func() error {
		s.triage.run(ctx)
		return nil
	})
	if s.config.TrustFile != "" {
		group.Go(func() error {
			newTrustWatch(s.engine, s.config.TrustEvery).run(ctx)
			return nil
		})
	}
	if s.notifier != nil {
		group.Go(func() error { return s.telling.keep(ctx, s.notifier.Run) })
	}
	if s.config.Advisories.Base != "" {
		group.Go(func() error {
			(&feedSchedule{engine: s.engine, config: s.config.Advisories, failed: map[string]time.Time{}}).run(ctx)
			return nil
		})
	}
	if s.follower != nil {
		group.Go(func() error { return s.follower.task.keep(ctx, s.follower.follow) })
	}
	if s.log != nil {
		group.Go(func() error { return s.log.task.keep(ctx, s.log.follow) })
	}
	if s.tuf != nil {
		group.Go(func() error { return s.tuf.task.keep(ctx, s.tuf.follow) })
	}
	if s.own != nil {
		group.Go(func() error {
			s.own.sweep(ctx, s.engine)
			return nil
		})
		group.Go(func() error {
			s.own.prune(ctx, s.engine)
			return nil
		})
		group.Go(func() error {
			s.own.care.Run(ctx)
			return nil
		})
		group.Go(func() error {
			s.own.care.RunScrub(ctx)
			return nil
		})
		defer func() { err = errors.Join(err, s.own.close()) }()
	}
	ready(listener.Addr())
	return group.Wait()
}

// work does the jobs that are due, until ctx ends.
func (s *server) work(ctx context.Context) error {
	s.workers.set(nil)
	return s.engine.ingest.Run(ctx)
}

// ready returns nil when the store answers.
func (e *Engine) ready(ctx context.Context) error {
	return e.store.View(ctx, func(r store.Reader) error {
		_, err := r.Clusters(ctx)
		return err
	})
}
