// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
)

// Times.
const (
	// Patience is how long an upstream may take to say whether what is kept is
	// still right; after that it is served as it is.
	Patience = 5 * time.Second
	// Rest is how long an upstream that failed is not asked about what is kept.
	Rest = 10 * time.Second
)

// Limits of one request to an upstream, beside those that are defaults of
// image.Limits.
const (
	maxWait     = 2 * time.Second // longest pause that it may ask for within a request
	maxTime     = 30 * time.Second
	maxBlob     = 256 << 30 // bytes
	maxBlobTime = 12 * time.Hour
	maxRetries  = 2
	perHost     = 16
)

// Options are what all upstreams of a server have in common.
type Options struct {
	Offline bool   // ask none
	CAFile  string // certificates in PEM that are trusted besides the system's
	// Dial opens connections; nil: as the system does.
	Dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	Logger *slog.Logger     // nil: silent
	Now    func() time.Time // nil: time.Now
}

// Set is the upstreams of a server. The nil Set has none.
type Set struct{ list []*Upstream }

// Open returns the upstreams of some configurations. It asks none of them.
// KindInvalid, with all faults: a Config is not valid, a name is there twice, or
// a file of credentials cannot be read.
func Open(configs []Config, opt Options) (*Set, error) {
	opt.Logger = cmp.Or(opt.Logger, slog.New(slog.DiscardHandler))
	if opt.Now == nil {
		opt.Now = time.Now
	}
	s := &Set{}
	var faults []error
	for _, c := range configs {
		u, err := open(c, opt)
		if err == nil && slices.ContainsFunc(s.list, func(o *Upstream) bool { return o.Prefix() == u.Prefix() }) {
			err = invalid(c.Name, "it is there twice")
		}
		if err != nil {
			faults = append(faults, err)
			continue
		}
		s.list = append(s.list, u)
	}
	slices.SortFunc(s.list, func(a, b *Upstream) int { return strings.Compare(a.config.Name, b.config.Name) })
	return s, errors.Join(faults...)
}

func open(c Config, opt Options) (*Upstream, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	at, err := c.place()
	if err != nil {
		return nil, err
	}
	u := &Upstream{config: c, place: at, log: opt.Logger, now: opt.Now, offline: opt.Offline}
	// The credentials of whoever runs the server are not for those who pull
	// through it.
	u.client = &image.Client{
		Keychain: image.NoCredentials{}, Realms: c.realms(at.host), CAFile: opt.CAFile, Offline: opt.Offline, Dial: opt.Dial, Logger: opt.Logger, Now: opt.Now,
		Limits: image.Limits{Layer: maxBlob, Retries: maxRetries, PerHost: perHost, Wait: maxWait, Time: maxTime, LayerTime: maxBlobTime},
	}
	if at.plain {
		u.client.PlainHTTP = []string{at.host}
	}
	if c.Credentials == "" {
		return u, nil
	}
	file := image.CredentialFile{Path: c.Credentials, Host: at.host, Names: c.logins(at.host)}
	has, err := file.Check()
	if err == nil && !has {
		opt.Logger.Warn("the file of credentials has none for an upstream", "upstream", c.Name, "file", c.Credentials)
	}
	u.client.Keychain = file
	return u, err
}

// Named returns the upstream that references call so.
func (s *Set) Named(name string) (*Upstream, bool) {
	for _, u := range s.all() {
		if u.config.Name == name {
			return u, true
		}
	}
	return nil, false
}

// Of returns the upstream in which a repository of ours lies, and its path there.
func (s *Set) Of(path string) (u *Upstream, rest string, ok bool) {
	for _, u := range s.all() {
		if rest, ok := strings.CutPrefix(path, u.Prefix()+"/"); ok {
			return u, rest, true
		}
	}
	return nil, "", false
}

func (s *Set) all() []*Upstream {
	if s == nil {
		return nil
	}
	return s.list
}

// CloseIdle closes connections that nobody uses.
func (s *Set) CloseIdle() {
	for _, u := range s.all() {
		u.client.CloseIdle()
	}
}

// Upstream is a registry that is pulled through.
type Upstream struct {
	config  Config
	place   place
	client  *image.Client
	log     *slog.Logger
	now     func() time.Time
	offline bool

	mu         sync.Mutex
	answeredAt time.Time
	failedAt   time.Time
	failure    string
	failing    bool
	restUntil  time.Time
	served     dossier.UpstreamServed
}

// Name is what references call it.
func (u *Upstream) Name() string { return u.config.Name }

// Prefix is what the paths of its repositories begin with here.
func (u *Upstream) Prefix() string { return u.config.Prefix() }

// Fresh is how long it counts where a tag was seen to point.
func (u *Upstream) Fresh() time.Duration { return u.config.fresh() }

// Offline reports whether it must not be asked.
func (u *Upstream) Offline() bool { return u.offline }

// Normal returns a path as the upstream knows it: Docker's has one for the
// images that go without.
func (u *Upstream) Normal(path string) string {
	if u.config.Name == dossier.DefaultRegistry && !strings.Contains(path, "/") {
		return "library/" + path
	}
	return path
}

// Repository returns one of its repositories. KindUnavailable: it must not be asked.
func (u *Upstream) Repository(path string) (*image.Repository, error) {
	return u.client.Repository(u.place.host, u.place.path+path)
}

// Note remembers how it answered: err is nil, or what asking it came to. Only
// one that cannot be asked is left alone for a while; what it refuses, it has answered.
func (u *Upstream) Note(ctx context.Context, err error) {
	if errors.Is(err, context.Canceled) {
		return // it was not given the time
	}
	now := u.now()
	u.mu.Lock()
	defer u.mu.Unlock()
	kind := dossier.KindOf(err)
	if err != nil && kind != dossier.KindNotFound {
		u.failedAt, u.failure = now, short(err)
	}
	if err == nil || kind != dossier.KindUnavailable && kind != dossier.KindInternal {
		if u.failing {
			u.log.InfoContext(ctx, "upstream answers again", "upstream", u.config.Name)
		}
		u.answeredAt, u.failing, u.restUntil = now, false, time.Time{}
		return
	}
	if !u.failing {
		u.log.WarnContext(ctx, "upstream fails", "upstream", u.config.Name, "error", err)
	}
	u.failing, u.restUntil = true, now.Add(Rest)
	if t, ok := errors.AsType[*image.Throttled](err); ok && t.Until.After(u.restUntil) {
		u.restUntil = t.Until
	}
}

const maxMessage = 500 // bytes of an error that are remembered

func short(err error) string {
	s := err.Error()
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "") + "..."
	}
	return s
}

// Resting returns an error that says why it should not be asked about what is
// kept, or nil.
func (u *Upstream) Resting() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.now().Before(u.restUntil) {
		return nil
	}
	return dossier.Errorf(dossier.KindUnavailable, "asking", u.config.Name, fmt.Sprintf("it failed at %s: %s", u.failedAt.UTC().Format(time.RFC3339), u.failure))
}

// Count counts pulls: add changes one of the counters.
func (u *Upstream) Count(add func(*dossier.UpstreamServed)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	add(&u.served)
}
