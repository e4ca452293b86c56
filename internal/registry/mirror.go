// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/registry/upstream"
	"dossier.dev/dossier/internal/store"
)

// mirror is a repository that is pulled through.
type mirror struct {
	*upstream.Upstream
	path   string // here
	remote string // there
	name   string // in references
}

// repository is the record of it.
func (m *mirror) repository(at time.Time) store.Repository {
	return store.Repository{Path: m.path, Name: m.name, Upstream: m.Name(), CreatedAt: at}
}

// route finds out which repository a request is about. A path below the prefix
// of an upstream is a mirror; so is any path when the client says that its
// reference names that upstream ("Registry Proxying"). Who names a registry that
// is not known here must not get what has the same path here.
func (h *Handler) route(q *Request, r *http.Request) (*mirror, error) {
	if q.Repository == "" {
		return nil, nil
	}
	u, rest, ok := h.config.Upstreams.Of(q.Repository)
	if named, found := h.config.Upstreams.Named(strings.ToLower(q.Namespace)); found {
		u, rest, ok = named, q.Repository, true
	} else if q.Namespace != "" && q.Namespace != h.config.Name && !strings.EqualFold(q.Namespace, r.Host) {
		return nil, fault(CodeNameUnknown, "images of %s are not pulled through this registry", q.Namespace)
	}
	if !ok {
		return nil, nil
	}
	rest = u.Normal(rest)
	m := &mirror{Upstream: u, path: u.Prefix() + "/" + rest, remote: rest, name: u.Name() + "/" + rest}
	q.Repository = m.path
	return m, CheckRepository(m.path)
}

// pulls is what is on its way from upstreams. Many who want the same wait for
// one who gets it.
type pulls struct {
	manifests upstream.Group[store.Manifest]
	lists     upstream.Group[[]image.Referrer]
	blobs     upstream.Downloads
	waiting   chan struct{} // one for each request that waits for an upstream
	missing   absent
}

func newPulls(c Config) *pulls {
	return &pulls{
		blobs: upstream.Downloads{Blobs: c.Blobs, Spool: c.Spool, Logger: c.Logger},
		// However slow upstreams are, there is room for those who need none.
		waiting: make(chan struct{}, max(1, c.MaxRequests/2)),
		missing: absent{now: c.Now, until: map[string]time.Time{}},
	}
}

func (p *pulls) close() {
	p.manifests.Close()
	p.lists.Close()
	p.blobs.Close()
}

// wait returns when there is room to wait for an upstream, which is at once or
// not at all.
func (p *pulls) wait() (done func(), err error) {
	select {
	case p.waiting <- struct{}{}:
		return func() { <-p.waiting }, nil
	default:
		return nil, fault(CodeTooManyRequests, "%d requests wait for other registries", cap(p.waiting))
	}
}

// absent remembers what upstreams do not have.
type absent struct {
	now   func() time.Time
	mu    sync.Mutex
	until map[string]time.Time
}

// How much of what is missing is remembered, and for how long.
const (
	absentFor = 10 * time.Second
	maxAbsent = 10_000
)

func (a *absent) has(key string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.now().Before(a.until[key])
}

func (a *absent) add(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if len(a.until) >= maxAbsent {
		for k, until := range a.until {
			if !now.Before(until) {
				delete(a.until, k)
			}
		}
	}
	if len(a.until) < maxAbsent {
		a.until[key] = now.Add(absentFor)
	}
}

// pull serves a request about a mirror.
func (c *call) pull(ctx context.Context) error {
	if c.Namespace != "" {
		c.w.Header().Set("OCI-Namespace", c.Namespace)
	}
	own, err := c.isOwn(ctx)
	if err != nil {
		return err
	}
	c.w.rest() // an upstream may take its time
	switch {
	case c.Kind == KindManifestGet && !own:
		return c.pullManifest(ctx)
	case c.Kind == KindBlobGet && !own:
		return c.pullBlob(ctx)
	case c.Kind == KindTagList && !own:
		return c.pullTags(ctx)
	case c.Kind == KindReferrers && !own:
		return c.pullReferrers(ctx)
	case c.Kind == KindManifestGet, c.Kind == KindBlobGet, c.Kind == KindTagList, c.Kind == KindReferrers,
		c.Kind == KindManifestDelete, c.Kind == KindBlobDelete:
		return methods[c.Kind](c, ctx)
	}
	return fault(CodeUnsupported, "%s is pulled through from %s: push there", c.Repository, c.mirror.Name())
}

// isOwn reports whether somebody pushed to the repository, before its path
// became that of an upstream. It is left as it is then.
func (c *call) isOwn(ctx context.Context) (bool, error) {
	own := false
	err := c.config.Store.View(ctx, func(r store.Reader) error {
		repo, err := r.Repository(ctx, c.Repository)
		own = err == nil && repo.Upstream == ""
		if dossier.KindOf(err) == dossier.KindNotFound {
			return nil
		}
		return err
	})
	return own, err
}

// upstreamFault makes the error that a client gets of one that an upstream came
// to. missing is the code of what it does not have.
func (c *call) upstreamFault(err error, missing Code) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	e := &Error{Code: CodeUpstream, Detail: map[string]string{"upstream": c.mirror.Name()}, Err: err}
	switch dossier.KindOf(err) {
	case dossier.KindNotFound:
		e.Code = missing
	case dossier.KindDenied:
		e.Code = CodeDenied
	case dossier.KindUnavailable:
		e.Code = CodeUnavailable
		if t, ok := errors.AsType[*image.Throttled](err); ok {
			e.Code, e.RetryAfter = CodeTooManyRequests, t.Until.Sub(c.config.Now())
		}
	case dossier.KindStorage:
		e.Code = CodeNoSpace
	case dossier.KindInternal, "":
		return err // one of ours
	}
	return e
}

// served counts a pull by what it came to.
func (c *call) served(err error, counter func(*dossier.UpstreamServed) *int64) {
	c.mirror.Count(func(s *dossier.UpstreamServed) {
		switch {
		case err == nil:
			*counter(s)++
		case dossier.KindOf(err) == dossier.KindNotFound:
			s.Missing++
		default:
			s.Failed++
		}
	})
}

// Counters of served.
func fromKept(s *dossier.UpstreamServed) *int64    { return &s.Kept }
func fromFetched(s *dossier.UpstreamServed) *int64 { return &s.Fetched }
func fromStale(s *dossier.UpstreamServed) *int64   { return &s.Stale }

// offline says that an upstream must not be asked for what is not kept.
func (c *call) offline(missing Code) error {
	c.served(errNotKept, nil)
	return &Error{Code: missing, Detail: map[string]string{"upstream": c.mirror.Name()},
		Err: errors.New("it is not kept, and this server is offline")}
}

var errNotKept = dossier.Errorf(dossier.KindNotFound, "pulling", "", "it is not kept")
