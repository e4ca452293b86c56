// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
	"dossier.dev/dossier/internal/registry/access"
	"dossier.dev/dossier/internal/registry/small"
	"dossier.dev/dossier/internal/registry/upstream"
	"dossier.dev/dossier/internal/store"
)

// Limits of a Handler.
const (
	MaxManifest = 4 << 20   // bytes
	MaxBlob     = 256 << 30 // bytes, unless Config says otherwise
	MaxSmall    = small.Max // bytes
	MaxPage     = 1000      // entries of one page of a list
	MaxRequests = 1024      // at the same time, unless Config says otherwise

	maxReferrers      = 100     // descriptors of one page
	maxReferrersBytes = 1 << 20 // of annotations in one page, after which it ends
)

// Times, unless Config says otherwise. All but UploadLife are of the clock of the machine.
const (
	ReadTimeout    = 30 * time.Second // for a client to send each part of a request
	MaxReadTimeout = 45 * time.Second
	WriteTimeout   = time.Minute    // for a client to take each part of a response
	UploadLife     = 24 * time.Hour // of an upload to which nothing is added
	// Lease is how long what a client was told of stays, whether or not a
	// manifest comes to need it; half of it at least.
	Lease = 24 * time.Hour
)

// MinRate is how many bytes a second a client sends at least, on average, once it
// was waited for longer than ReadTimeout.
const MinRate = 1 << 10

// Config is what a Handler serves. Store, Blobs and Name are required.
type Config struct {
	Store store.Store
	Blobs blob.Store
	Name  string // what the registry is called in references: HOST or HOST:PORT

	// Guard says who asks and what they may do. nil: everybody may do everything,
	// and is nobody in particular.
	Guard *access.Guard
	// Refuse says why a request is not answered, before anybody asks who sends it.
	// An *Error passes on its code. nil: none is refused.
	Refuse func(r *http.Request) error
	// Fixed reports whether a tag never moves once it points somewhere. nil: none is.
	Fixed func(path, tag string) bool
	// Sparse accepts indexes of which not all manifests are there.
	Sparse bool
	// Contents asks for what pushed images hold to be read.
	Contents bool
	// Upstreams are registries that are pulled through. nil: none.
	Upstreams *upstream.Set
	// Spool is a directory for what is downloaded, where the blob store cannot be
	// read while it is written to. Empty: that of the system.
	Spool string
	// Audit is given each pull and each refusal when it was answered: raw, as
	// audit.Recorder.Add takes it. It must not wait. nil: they leave no record.
	Audit func(dossier.AuditEntry)
	// Observe is told of every request that was answered. nil: nobody is.
	Observe func(context.Context, Call)
	// AccessLog logs every request, not only those that failed.
	AccessLog bool

	Logger *slog.Logger     // nil: silent
	Now    func() time.Time // nil: time.Now

	MaxBlob     int64 // 0: the constant of that name, as with all below
	MaxSmall    int64 // how large a blob is at most that lies in a row of the database; negative: none does
	MaxRequests int
	UploadLife  time.Duration
	// ReadTimeout is MaxReadTimeout at most: an upload is held for a minute after
	// its writer was last heard of.
	ReadTimeout  time.Duration
	WriteTimeout time.Duration
	Lease        time.Duration
}

// Call is a request that was answered.
type Call struct {
	Kind     string // Kind.String, or "" for what could not be parsed
	Status   int
	Took     time.Duration
	Received int64 // bytes of the body
	Sent     int64 // bytes of the body
	Caller   Caller
	// Repository and Reference, a tag or a digest, are what it was about; empty: nothing.
	Repository, Reference string
}

// Handler serves a registry. It implements http.Handler.
type Handler struct {
	config Config
	slots  chan struct{} // one for each request under way
	pulls  *pulls
}

// New returns a Handler. It gives the registry its name if it has none.
// KindConflict: it has another one.
func New(ctx context.Context, c Config) (*Handler, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.MaxBlob = cmp.Or(c.MaxBlob, MaxBlob)
	c.MaxSmall = min(cmp.Or(c.MaxSmall, MaxSmall), MaxSmall)
	c.MaxRequests = cmp.Or(c.MaxRequests, MaxRequests)
	c.Lease = cmp.Or(c.Lease, Lease)
	c.UploadLife = cmp.Or(c.UploadLife, UploadLife)
	c.ReadTimeout = min(cmp.Or(c.ReadTimeout, ReadTimeout), MaxReadTimeout)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, WriteTimeout)
	c.Blobs = small.Over(c.Blobs, c.Store)
	h := &Handler{config: c, slots: make(chan struct{}, c.MaxRequests)}
	var name string
	err := c.Store.Update(ctx, func(tx store.Tx) (err error) {
		name, err = tx.NameRegistry(ctx, c.Name)
		return err
	})
	if err == nil && name != c.Name {
		err = &dossier.Error{Kind: dossier.KindConflict, Op: "naming the registry", Subject: c.Name,
			Hint: "Keep the name " + name + ", or use another database.",
			Err:  errName(name)}
	}
	if err != nil {
		return nil, err
	}
	if _, self := c.Upstreams.Named(c.Name); self {
		return nil, dossier.Errorf(dossier.KindInvalid, "configuring upstream", c.Name, "it is the name of the registry itself")
	}
	h.pulls = newPulls(c)
	return h, nil
}

// Close ends what was begun for requests and may outlive them, and waits for it.
func (h *Handler) Close() { h.pulls.close() }

// errName says what a registry is called already.
type errName string

func (e errName) Error() string { return "this database holds the registry " + string(e) }

func (h *Handler) now() time.Time { return dossier.Instant(h.config.Now()) }

// call is one request on its way.
type call struct {
	*Handler
	Request
	mirror *mirror // that the request is about; nil: none
	who    Caller
	shown  access.Caller // who, for the guard
	w      *recorder
	r      *http.Request
}

// methods is the table of what does each kind of request. A method returns an
// error before it has written anything, or none.
var methods = map[Kind]func(*call, context.Context) error{
	KindPing:           (*call).ping,
	KindBlobGet:        (*call).getBlob,
	KindManifestGet:    (*call).getManifest,
	KindUploadBegin:    (*call).beginUpload,
	KindUploadChunk:    (*call).addChunk,
	KindUploadEnd:      (*call).endUpload,
	KindUploadStatus:   (*call).uploadStatus,
	KindUploadCancel:   (*call).cancelUpload,
	KindManifestPut:    (*call).putManifest,
	KindManifestDelete: (*call).deleteManifest,
	KindBlobDelete:     (*call).deleteBlob,
	KindTagList:        (*call).listTags,
	KindCatalog:        (*call).listRepositories,
	KindReferrers:      (*call).listReferrers,
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	rec := newRecorder(w, h.config.WriteTimeout)
	body := newBody(r, rec.control, h.config.MaxBlob, h.config.ReadTimeout)
	r.Body = body
	q, err := Parse(r.Method, r.URL)
	kind, parsed := q.Kind.String(), &q
	if err != nil {
		kind, parsed = "", nil
	}
	var who Caller
	defer func() { h.audit(rec, r, parsed, who, err) }()
	defer func() {
		h.observe(rec, r, Call{
			Kind: kind, Took: time.Since(begin), Received: body.n, Caller: who,
			Repository: q.Repository, Reference: cmp.Or(q.Tag, string(q.Digest), string(q.Mount)),
		})
	}()
	header := rec.Header()
	header.Set("Docker-Distribution-Api-Version", "registry/2.0")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "default-src 'none'; sandbox") // what was pushed is no page of ours
	header.Set("Cache-Control", "no-store")
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		err = fault(CodeTooManyRequests, "%d requests are under way", h.config.MaxRequests)
		h.refuse(rec, r, err)
		return
	}
	var m *mirror
	if err == nil {
		m, err = h.route(&q, r)
	}
	shown, denied := h.identify(r, q)
	if denied != nil {
		err = denied // who may not ask learns nothing
	}
	who = newCaller(shown.Identity)
	if err == nil {
		err = (&call{Handler: h, Request: q, mirror: m, who: who, shown: shown, w: rec, r: r}).answer()
	}
	if err != nil {
		h.refuse(rec, r, err)
	}
}

// answer serves a request of somebody who is known.
func (c *call) answer() error {
	if err := c.check(c.r.Context()); err != nil {
		return err
	}
	if c.mirror != nil {
		return c.pull(c.r.Context())
	}
	return methods[c.Kind](c, c.r.Context())
}

func (c *call) ping(context.Context) error {
	c.w.Header().Set("Dossier-Registry", c.config.Name)
	respond(c.w, c.r, http.StatusOK, struct{}{})
	return nil
}

// observe tells metrics and log of a request that was answered.
func (h *Handler) observe(w *recorder, r *http.Request, c Call) {
	c.Status, c.Sent = cmp.Or(w.status, http.StatusOK), w.bytes
	if h.config.Observe != nil {
		h.config.Observe(r.Context(), c)
	}
	level := slog.LevelDebug
	if c.Status >= http.StatusBadRequest || h.config.AccessLog {
		level = slog.LevelInfo
	}
	h.config.Logger.Log(r.Context(), level, "registry request", "kind", c.Kind, "method", r.Method, "path", r.URL.Path,
		"status", c.Status, "caller", c.Caller.String(), "pod", c.Caller.Pod, "repository", c.Repository, "reference", c.Reference, "received", c.Received, "sent", c.Sent, "duration", c.Took, "remote", r.RemoteAddr, "agent", r.UserAgent())
}

// Sweep ends uploads to which nothing was added for UploadLife, and returns how many.
func (h *Handler) Sweep(ctx context.Context) (int, error) {
	const atOnce = 500
	now, total := h.now(), 0
	for {
		var n int
		err := h.config.Store.Update(ctx, func(tx store.Tx) (err error) {
			n, err = tx.ExpireUploads(ctx, now, atOnce)
			return err
		})
		if total += n; err != nil {
			return total, err
		}
		if n < atOnce {
			break
		}
	}
	// Only what no upload names any more.
	_, err := h.config.Blobs.Prune(ctx, now.Add(-h.config.UploadLife-time.Hour))
	return total, err
}
