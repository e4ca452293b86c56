// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package server builds Dossier from a configuration: the store, the readers of
// images and clusters, the workers and the answers, wired together in an
// [Engine]; and around that [Serve], which follows a cluster and answers over HTTP.
//
// It is the only package that knows all others, and the only one below cmd that
// starts background work of its own accord: everything started is joined by
// Close or by the end of Run. It judges nothing and formats nothing.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/answer"
	"dossier.dev/dossier/internal/finding"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/ingest"
	"dossier.dev/dossier/internal/match"
	"dossier.dev/dossier/internal/proof"
	"dossier.dev/dossier/internal/seal"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/translog"
)

// Config is what an Engine is built from. Either Data or Database is required.
type Config struct {
	Data     string // directory of the embedded store
	Database string // postgres://..., instead of the embedded one
	// CheckpointPages and Readers are those of [sqlstore.Config], MaxReaders there.
	CheckpointPages int
	Readers         int
	Offline         bool // no network: what is stored is all there is
	PlainHTTP       []string
	RegistryCA      string
	// Dial opens connections to registries; nil: as the system does.
	Dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	Logger *slog.Logger
	Now    func() time.Time
	// Revive makes jobs that were parked run again when something asks anew.
	Revive bool
	Policy answer.Policy
	// TrustFile is the trust policy; empty: there is none. A server reads it again as it
	// changes.
	TrustFile string
	Gather    time.Duration // for which changes are gathered that others are told; 0: notify's default

	Workers int           // of ingest; 0: its default
	Lease   time.Duration // of ingest; 0: its default
}

// DatabaseFile is the name of the embedded database within Config.Data.
const DatabaseFile = "dossier.db"

// Engine collects and answers in this process. It implements the same questions
// as client.Client.
type Engine struct {
	config Config
	store  store.Store
	// advisories is the store of advisories: another file than store, or the same
	// database.
	advisories store.Store
	findings   finding.Keeper
	audit      store.AuditLog
	images     *image.Client
	ingest     *ingest.Ingest
	answer.Answerer

	mu    sync.Mutex
	local map[string]dossier.Digest // what local references were found to be

	changed     *signal
	facts       *factCounts
	feedDigests proof.FeedDigests
	log         *translog.Log // nil: this process appends to none; set before any work begins
	revocations *revocations
	own         *ownRegistry // nil: this process is none; set before any work begins
	seal        seal.Keys    // encrypt the private keys in the store; nil: they are not; set before any work begins
}

// Open opens the store, bringing its schema up to date. KindStorage: the
// directory or the database cannot be used, or is of a newer program.
func Open(ctx context.Context, c Config) (*Engine, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	policy, err := openTrust(c.TrustFile)
	if err != nil {
		return nil, err
	}
	config, auditConfig := sqlstore.Config{URL: c.Database, CheckpointPages: c.CheckpointPages, MaxReaders: c.Readers, Now: c.Now, Logger: c.Logger}, sqlstore.AuditConfig{URL: c.Database}
	if c.Database == "" {
		config.Path, auditConfig.Dir = filepath.Join(c.Data, DatabaseFile), c.Data
	}
	db, advisories, err := openStores(ctx, c, config)
	if err != nil {
		return nil, err
	}
	auditLog, err := sqlstore.OpenAudit(auditConfig)
	if err != nil {
		return nil, errors.Join(err, c.closeStores(db, advisories))
	}
	e := &Engine{
		config:  c,
		audit:   auditLog,
		changed: newSignal(),
		facts:   &factCounts{n: map[factKey]int64{}},
		local:   map[string]dossier.Digest{},
		images: &image.Client{
			PlainHTTP: c.PlainHTTP, CAFile: c.RegistryCA, Dial: c.Dial, Offline: c.Offline, Logger: c.Logger, Now: c.Now,
		},
	}
	e.images.Kept, e.revocations = e.kept, newRevocations(c.Now)
	outbox := c.outbox()
	e.store = traced{signalling{counting{outbox.Watch(db), e.facts}, e.changed}}
	e.advisories = e.store
	if c.Database == "" {
		e.advisories = signalling{advisories, e.changed}
	}
	e.findings = finding.Keeper{Store: e.store, Advisories: advisories, Changed: outbox.Findings}
	e.Answerer = answer.Answerer{Store: e.store, Policy: c.Policy, Now: c.Now, Order: match.Compare, Trusted: &answer.Trusted{}}
	if policy != nil {
		e.Trusted.Set(policy, c.Now())
	}
	if c.Database == "" {
		e.Advisories = advisories
	}
	e.ingest = ingest.New(ingest.Config{
		Store: e.store, Images: e.images, Layer: e.readLayer, Artifacts: e.artifacts, Signed: e.pinFirst, Logger: c.Logger, Now: c.Now,
		Revive: c.Revive, Workers: c.Workers, Lease: c.Lease,
	})
	return e, nil
}

// Close waits for what is under way and closes the store.
func (e *Engine) Close() error {
	if e.config.Logger.Enabled(context.Background(), slog.LevelInfo) {
		for host, n := range e.images.Usage().Hosts {
			e.config.Logger.Info("registry used", "host", host, "requests", n.Requests, "bytes", n.Bytes)
		}
	}
	e.images.CloseIdle()
	return errors.Join(e.audit.Close(), e.config.closeStores(e.store, e.advisories))
}

// openStores opens the store. That of advisories is another one when both are files, and
// opened when it is needed; else the same.
func openStores(ctx context.Context, c Config, config sqlstore.Config) (db, advisories store.Store, err error) {
	db, err = sqlstore.Open(ctx, config)
	if err != nil || c.Database != "" {
		return db, db, err
	}
	return db, newLate(func(ctx context.Context) (store.Store, error) { return openAdvisories(ctx, c) }), nil
}

// openAdvisories opens the store of advisories, which else is opened by who first needs it.
func (e *Engine) openAdvisories(ctx context.Context) error {
	return e.advisories.View(ctx, func(store.Reader) error { return nil })
}

// closeStores closes what openStores opened, side by side.
func (c Config) closeStores(db, advisories store.Store) error {
	if c.Database != "" {
		return db.Close()
	}
	var failed error
	var closing sync.WaitGroup
	closing.Go(func() { failed = advisories.Close() })
	err := db.Close()
	closing.Wait()
	return errors.Join(err, failed)
}

// Refresh reads an image because somebody asks for it, and compares its packages with
// advisories. When reading fails but something is known of the image, the failure is
// returned as stale, and the answer is what is known.
func (e *Engine) Refresh(ctx context.Context, ref string) (stale, err error) {
	return e.read(ctx, ref, true)
}

// RefreshContents is Refresh for who does not ask what advisories say: without anything new
// they are not looked at.
func (e *Engine) RefreshContents(ctx context.Context, ref string) (stale, err error) {
	return e.read(ctx, ref, false)
}

func (e *Engine) read(ctx context.Context, ref string, match bool) (stale, err error) {
	if e.config.Offline && !dossier.IsLocal(ref) {
		if match { // what was found stands; that it can no longer be compared must be told
			err = e.openAdvisories(ctx)
		}
		return nil, err
	}
	at := dossier.Times{}
	name := ref
	if !dossier.IsLocal(ref) {
		if _, err := dossier.ParseDigest(ref); err == nil || dossier.IsDigestPrefix(ref) {
			known, err := e.Lookup(ctx, ref, at)
			if dossier.KindOf(err) == dossier.KindNotFound && !strings.Contains(ref, ":") {
				// Eight hexadecimal digits may be a name as well.
			} else if err != nil {
				return nil, err
			} else if name, err = e.nameOf(ctx, known); err != nil || name == "" {
				return nil, err
			}
		}
	}
	changed := e.changed.next()
	d, err := e.ingest.Inspect(ctx, name, true)
	if err == nil {
		select {
		case <-changed:
			match = true
		default:
		}
		if match {
			if err := e.Match(ctx); err != nil {
				return nil, err
			}
		}
		if dossier.IsLocal(ref) {
			e.remember(ref, d)
		} else {
			e.checkTag(ctx, name, d)
		}
		return nil, nil
	}
	if _, lookupErr := e.Lookup(ctx, ref, at); lookupErr == nil && ctx.Err() == nil {
		return err, nil
	}
	return nil, err
}

// nameOf returns a reference under which a known digest can be read again, or "".
func (e *Engine) nameOf(ctx context.Context, d dossier.Digest) (string, error) {
	name := ""
	err := e.store.View(ctx, func(r store.Reader) error {
		names, err := r.Names(ctx, []dossier.Digest{d})
		if len(names[d]) > 0 {
			name = names[d][0].Name + "@" + string(d)
		}
		return err
	})
	return name, err
}

func (e *Engine) remember(ref string, d dossier.Digest) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.local[ref] = d
}

// digestOf finds the digest that ref means: local references are those that
// were read before.
func (e *Engine) digestOf(ctx context.Context, ref string, at dossier.Times) (dossier.Digest, error) {
	if !dossier.IsLocal(ref) {
		return e.Lookup(ctx, ref, at)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if d, ok := e.local[ref]; ok {
		return d, nil
	}
	return "", &dossier.Error{Kind: dossier.KindUnsupported, Op: "looking up", Subject: ref,
		Err: errors.New("a server reads no local files"), Hint: "run the command without --server"}
}

// Dossier answers the five questions about what ref means.
func (e *Engine) Dossier(ctx context.Context, ref string, at dossier.Times) (dossier.Dossier, error) {
	d, err := e.digestOf(ctx, ref, at)
	if err != nil {
		return dossier.Dossier{}, err
	}
	list, err := e.Digests(ctx, []dossier.Digest{d}, at)
	if err != nil {
		return dossier.Dossier{}, err
	}
	found := list[0]
	if found.MediaType == "" && len(found.Running) == 0 && len(found.References) == 0 {
		return dossier.Dossier{}, &dossier.Error{Kind: dossier.KindNotFound, Op: "looking up", Subject: string(d),
			Err: fmt.Errorf("nothing is known of this digest"), Hint: "name the repository it lies in: NAME@" + string(d)}
	}
	if dossier.IsLocal(ref) {
		found.Requested = append(found.Requested, ref)
	}
	return found, nil
}

// ClustersNamed returns the IDs of the clusters in the store that have a name.
// KindNotFound: none has; the hint says which names there are.
func (e *Engine) ClustersNamed(ctx context.Context, name string) ([]string, error) {
	var ids, others []string
	err := e.store.View(ctx, func(r store.Reader) error {
		ids, others = nil, nil
		clusters, err := r.Clusters(ctx)
		for _, c := range clusters {
			if c.Name == name {
				ids = append(ids, c.ID)
			} else {
				others = append(others, c.Name)
			}
		}
		return err
	})
	if err != nil || len(ids) > 0 {
		return ids, err
	}
	missing := &dossier.Error{Kind: dossier.KindNotFound, Op: "looking up cluster", Subject: name, Err: errors.New("nothing of it is stored"),
		Hint: "list it once without --at, --known-at and --offline"}
	if len(others) > 0 {
		missing.Hint += "; stored are " + strings.Join(others, ", ")
	}
	return nil, missing
}

// History returns the tags over time and the layers of what ref means.
func (e *Engine) History(ctx context.Context, ref string, at time.Time) (dossier.History, error) {
	if !dossier.IsLocal(ref) {
		return e.Answerer.History(ctx, ref, at)
	}
	d, err := e.digestOf(ctx, ref, dossier.Times{Valid: at})
	if err != nil {
		return dossier.History{}, err
	}
	return e.HistoryOf(ctx, ref, d, at)
}

// SBOM lists what an image holds.
func (e *Engine) SBOM(ctx context.Context, q dossier.SBOMQuery) (dossier.SBOM, error) {
	if !dossier.IsLocal(q.Ref) {
		return e.Answerer.SBOM(ctx, q)
	}
	d, err := e.digestOf(ctx, q.Ref, dossier.Times{})
	if err != nil {
		return dossier.SBOM{}, err
	}
	return e.SBOMOf(ctx, q, d)
}
