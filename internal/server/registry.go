// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/audit"
	"dossier.dev/dossier/internal/blob"
	"dossier.dev/dossier/internal/blob/disk"
	"dossier.dev/dossier/internal/blob/s3"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/registry/care"
	"dossier.dev/dossier/internal/registry/upstream"
	"dossier.dev/dossier/internal/store"
)

// BlobsDir is the name of the directory of blobs within Config.Data.
const BlobsDir = "blobs"

// sweepEvery is how often uploads that nobody goes on with are ended.
const sweepEvery = time.Hour

// ownRegistry is the registry that a server is.
type ownRegistry struct {
	*registry.Handler
	name      string
	blobs     blobStore
	upstreams *upstream.Set
	tokens    http.Handler // nil: it makes none
	recorder  *audit.Recorder
	auditKeep time.Duration // 0: for ever
	care      *care.Collector
}

// blobStore is where the bytes of the registry lie.
type blobStore interface {
	blob.Store
	// Ready returns nil while the place is there, or why not.
	Ready(ctx context.Context) error
	Close() error
}

// openBlobs opens where the bytes of the registry lie: a bucket, or a directory.
func openBlobs(ctx context.Context, c ServeConfig) (blobStore, error) {
	if c.Blobs == "" {
		return disk.Open(disk.Config{Dir: filepath.Join(c.Data, BlobsDir)})
	}
	place, err := s3.ParseURL(c.Blobs)
	if err != nil {
		return nil, err
	}
	return s3.Open(ctx, place)
}

// close ends what requests have begun. None may be under way.
func (o *ownRegistry) close() error {
	if o.Handler != nil {
		o.Handler.Close()
	}
	o.recorder.Close()
	o.upstreams.CloseIdle()
	return o.blobs.Close()
}

// openRegistry opens the registry in the engine's store. It keeps the name that it has
// there unless it is told one.
func openRegistry(ctx context.Context, c ServeConfig, a entrance, e *Engine, addr net.Addr, metrics *registryMetrics, cared *careMetrics) (*ownRegistry, error) {
	own := &ownRegistry{name: c.Registry.Name}
	if own.name == "" {
		err := e.store.Update(ctx, func(tx store.Tx) (err error) {
			own.name, err = tx.NameRegistry(ctx, addr.String())
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	var err error
	if own.auditKeep, err = c.auditKeep(); err != nil {
		return nil, err
	}
	own.upstreams, err = upstream.Open(c.upstreams(), upstream.Options{
		Offline: c.Offline, CAFile: c.RegistryCA, Dial: c.Dial, Logger: e.config.Logger, Now: e.config.Now,
	})
	if err != nil {
		return nil, err
	}
	if err := setQuotas(ctx, e.store, c.Registry.Quotas); err != nil {
		return nil, err
	}
	if own.blobs, err = openBlobs(ctx, c); err != nil {
		return nil, err
	}
	own.recorder = audit.Start(ctx, audit.RecorderConfig{Log: e.audit, Registry: own.name, Logger: e.config.Logger, Now: e.config.Now})
	options := registry.Config{
		Store: e.store, Blobs: own.blobs, Name: own.name, Fixed: fixedTag(c.Registry.Movable),
		Sparse: c.Registry.Sparse, Lease: c.Registry.Care.Lease, Contents: true, Upstreams: own.upstreams, Spool: c.Data,
		Observe: metrics.observe, Audit: own.recorder.Add, AccessLog: c.AccessLog, Logger: e.config.Logger, Now: e.config.Now,
		MaxBlob: int64(c.Registry.Limits.Blob), MaxRequests: c.Registry.Limits.Requests, UploadLife: c.Registry.Limits.UploadLife,
		ReadTimeout: c.Registry.Limits.ReadTime, WriteTimeout: c.Registry.Limits.WriteTime,
	}
	options.Guard, err = openGuard(ctx, c, a.tokens, e, own.name)
	if options.Guard == nil && a.loopback {
		options.Refuse = onlyLoopback
	}
	if err == nil {
		own.Handler, err = registry.New(ctx, options)
	}
	if err == nil {
		own.care, err = care.New(care.Config{
			Store: e.store, Blobs: own.blobs, Policy: c.Registry.Care, Registry: own.name, Restore: own.Restore,
			Pulled: e.lastPull(own.auditKeep), Observe: cared.observe, Scrubbed: cared.scrubbed, Logger: e.config.Logger, Now: e.config.Now,
		})
	}
	if options.Guard != nil && options.Guard.Authenticator.Tokens != nil {
		own.tokens = newTokenHandler(options.Guard, e, metrics, own.recorder.Add)
	}
	if err != nil {
		return nil, errors.Join(err, own.close())
	}
	return own, nil
}

// upstreams are the registries that are pulled through.
func (c ServeConfig) upstreams() []upstream.Config {
	var list []upstream.Config
	for _, u := range c.Registry.Upstreams {
		list = append(list, upstream.Config{
			Name: u.Name, URL: u.URL, Realm: u.Realm, Credentials: cmp.Or(u.Credentials, c.Registry.UpstreamCredentials), Fresh: u.Fresh,
		})
	}
	return list
}

// validateRegistry tells fault all that is wrong with the configuration of the
// registry.
func (c ServeConfig) validateRegistry(fault func(subject, why, hint string)) {
	r := c.Registry
	if r.Name != "" {
		if !isRegistryName(r.Name) {
			fault("--registry-name="+r.Name, "it is not HOST or HOST:PORT", "give a name such as registry.example.com")
		}
	}
	for _, pattern := range r.Movable {
		if _, err := path.Match(pattern, ""); err != nil || !strings.Contains(pattern, ":") {
			fault("--movable="+pattern, "it is no pattern REPOSITORY:TAG", "write it as org/app:* or org/*:1.2.?")
		}
	}
	c.validateLogin(fault)
	validateLimits(r.Limits, fault)
	validateTUF(r.TUF, fault)
	c.validateQuotas(fault)
	if _, err := c.auditKeep(); err != nil {
		fault("--audit-keep="+r.AuditKeep, "it is no length of time", "give a number with s, m, h, d or w, such as 90d; 0 is for ever")
	}
	for _, err := range each(care.Validate(r.Care)) {
		if e, ok := errors.AsType[*dossier.Error](err); ok {
			fault(e.Subject, e.Err.Error(), e.Hint)
		}
	}
	switch {
	case c.Blobs != "":
		if _, err := s3.ParseURL(c.Blobs); err != nil {
			fault("--blobs", err.Error(), dossier.HintOf(err))
		}
	case c.Data == "":
		fault("--data", "the registry has no directory for its blobs", "give --data DIR, --blobs URL, or --no-registry")
	}
}

// validateLimits tells fault which limits are beyond what makes sense.
func validateLimits(l config.Limits, fault func(subject, why, hint string)) {
	check := func(name string, ok bool, want string) {
		if !ok {
			fault("registry.limits."+name, "it is out of range", "set "+want+", or leave it out")
		}
	}
	check("blob", l.Blob >= 0 && l.Blob <= 1<<50, "at most 1024TiB")
	check("requests", l.Requests >= 0 && l.Requests <= 1_000_000, "1 to 1000000")
	check("uploadLife", l.UploadLife == 0 || l.UploadLife >= time.Minute && l.UploadLife <= 30*24*time.Hour, "1m to 720h")
	check("readTime", l.ReadTime == 0 || l.ReadTime >= time.Second && l.ReadTime <= registry.MaxReadTimeout, "1s to 45s")
	check("writeTime", l.WriteTime == 0 || l.WriteTime >= time.Second && l.WriteTime <= time.Hour, "1s to 1h")
}

// versionTag matches tags that look like a whole version (with an optional
// variant) or a commit, whole or, where the tag says that it is one, the
// beginning of it. Whoever pulls one expects the same image tomorrow.
var versionTag = regexp.MustCompile(`^v?[0-9]+\.[0-9]+\.[0-9]+([-._+][0-9A-Za-z._-]*)?$` +
	`|^([0-9a-f]{40}|[0-9a-f]{64})$|^(sha|git|commit)-[0-9a-f]{7,64}$`)

// fixedTag returns a function that reports whether a tag never moves: those of
// versions, but for what the patterns REPOSITORY:TAG say.
func fixedTag(movable []string) func(repository, tag string) bool {
	return func(repository, tag string) bool {
		return versionTag.MatchString(tag) && !slices.ContainsFunc(movable, func(pattern string) bool {
			ok, err := path.Match(pattern, repository+":"+tag)
			return ok && err == nil
		})
	}
}

// layer opens a layer of an image that lies in the registry itself. One that
// lies elsewhere and is pulled through is opened when it is kept.
func (o *ownRegistry) layer(ctx context.Context, ref string, d dossier.Digest) (io.ReadCloser, bool, error) {
	if o == nil {
		return nil, false, nil
	}
	if strings.HasPrefix(ref, o.name+"/") {
		parsed, err := dossier.ParseReference(ref)
		if err != nil {
			return nil, true, err
		}
		from, err := o.Blob(ctx, parsed.Repository, d)
		return from, true, err
	}
	parsed, err := dossier.ParseReference(ref)
	if err != nil {
		return nil, false, nil // whoever reads it says so
	}
	u, ok := o.upstreams.Named(parsed.Registry)
	if !ok {
		return nil, false, nil
	}
	from, err := o.Blob(ctx, u.Prefix()+"/"+parsed.Repository, d)
	if dossier.KindOf(err) == dossier.KindNotFound {
		return nil, false, nil
	}
	return from, true, err
}

// sweep ends old uploads, until ctx ends.
func (o *ownRegistry) sweep(ctx context.Context, e *Engine) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		if n, err := o.Sweep(ctx); err != nil && ctx.Err() == nil {
			e.config.Logger.ErrorContext(ctx, "old uploads could not be ended", "error", err)
		} else if n > 0 {
			e.config.Logger.InfoContext(ctx, "old uploads ended", "uploads", n)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// registryMetrics counts what the registry answers.
type registryMetrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	received prometheus.Counter
	sent     prometheus.Counter
}

func newRegistryMetrics(r *prometheus.Registry) *registryMetrics {
	m := &registryMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dossier_oci_requests_total", Help: "Requests that the registry answered, by kind and status.",
		}, []string{"kind", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "dossier_oci_request_duration_seconds", Help: "Time until the registry had answered, by kind.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
		}, []string{"kind"}),
		received: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dossier_oci_received_bytes_total", Help: "Bytes that were pushed to the registry.",
		}),
		sent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dossier_oci_sent_bytes_total", Help: "Bytes that were pulled from the registry.",
		}),
	}
	r.MustRegister(m.requests, m.seconds, m.received, m.sent)
	return m
}

// observe tells metrics and traces of a request.
func (m *registryMetrics) observe(ctx context.Context, c registry.Call) {
	if c.Kind == "" {
		c.Kind = other
	}
	describe(ctx, c)
	m.requests.WithLabelValues(c.Kind, strconv.Itoa(c.Status)).Inc()
	m.seconds.WithLabelValues(c.Kind).Observe(c.Took.Seconds())
	m.received.Add(float64(c.Received))
	m.sent.Add(float64(c.Sent))
}

// each returns the errors that were joined to one.
func each(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return nil
}
