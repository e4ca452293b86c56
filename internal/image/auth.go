// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"dossier.dev/dossier"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// registry is one registry and how it wants to be asked. What is learnt is kept:
// the challenge for all repositories, a credential for each scope.
type registry struct {
	network    *network
	host       string // where requests go
	login      string // what a person logs in to
	named      name.Registry
	inner      http.RoundTripper // for pings and tokens
	signatures atomic.Bool       // it said that it keeps signatures

	lock      chan struct{} // holds one value while somebody asks for the challenge
	challenge *transport.Challenge
	failed    error // why the last ping failed; holds until retryAt
	retryAt   time.Time
	scopes    map[string]*scope    // guarded by network.mu
	unlisted  map[string]time.Time // by branch: until when it counts as one without lists of referrers; the same guard
}

// scope is what one repository needs. lock guards it, as a channel so that
// waiting for it ends with the context.
type scope struct {
	lock   chan struct{}
	header string // of Authorization; "" is anonymous
	until  time.Time
}

// Ages of credentials.
const (
	tokenAge    = time.Minute      // of a token that does not state its own (token specification)
	tokenMargin = 5 * time.Second  // before its end a token is not used any more
	basicAge    = 10 * time.Minute // after which the keychain is asked again
)

// pingPause is how long a registry that could not be reached counts as such, so
// that a thousand images of it do not wait a thousand times.
const pingPause = 10 * time.Second

// resource names a repository to a keychain.
type resource struct{ repository, registry string }

func (r resource) String() string      { return r.repository }
func (r resource) RegistryStr() string { return r.registry }

// registry returns the registry of a reference.
func (n *network) registry(host string) (*registry, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r, ok := n.doors[host]; ok {
		return r, nil
	}
	var opts []name.Option
	if n.mayBePlain(host) {
		opts = append(opts, name.Insecure)
	}
	named, err := name.NewRegistry(host, opts...)
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: "connecting to", Subject: host, Err: err}
	}
	r := &registry{
		network:  n,
		host:     named.RegistryStr(),
		login:    host,
		named:    named,
		lock:     make(chan struct{}, 1),
		scopes:   map[string]*scope{},
		unlisted: map[string]time.Time{},
	}
	r.inner = noticing{capped{outward{wire{n, n.base}, named.RegistryStr()}}, &r.signatures}
	n.doors[host] = r
	return r, nil
}

// ping returns how the registry wants to be asked. It is asked for that once.
func (r *registry) ping(ctx context.Context) (*transport.Challenge, error) {
	if err := acquire(ctx, r.lock); err != nil {
		return nil, err
	}
	defer func() { <-r.lock }()
	if r.challenge != nil {
		return r.challenge, nil
	}
	if r.network.now().Before(r.retryAt) {
		return nil, r.failed
	}
	challenge, err := transport.Ping(ctx, r.named, r.inner)
	if err != nil {
		err = r.network.failure("connecting to", r.login, r.login, err)
		if ctx.Err() == nil {
			r.failed, r.retryAt = err, r.network.now().Add(pingPause)
		}
		return nil, err
	}
	r.challenge = challenge
	return challenge, nil
}

// scope returns what is known of a credential, by the repository and what it is for.
func (r *registry) scope(repository string) *scope {
	r.network.mu.Lock()
	defer r.network.mu.Unlock()
	s, ok := r.scopes[repository]
	if !ok {
		s = &scope{lock: make(chan struct{}, 1)}
		r.scopes[repository] = s
	}
	return s
}

// authorize returns the Authorization header for a repository: for reading it, or with
// push for writing as well. When
// stale is the header that was refused, a new one is made. fresh says that it
// was made just now, so that asking again would not help.
func (r *registry) authorize(ctx context.Context, repository string, push bool, stale *string) (header string, fresh bool, err error) {
	challenge, err := r.ping(ctx)
	if err != nil {
		return "", false, err
	}
	actions := "pull"
	if push {
		actions = "pull,push"
	}
	s := r.scope(repository + ":" + actions)
	if err := acquire(ctx, s.lock); err != nil {
		return "", false, err
	}
	defer func() { <-s.lock }()
	if r.network.now().Before(s.until) && (stale == nil || *stale != s.header) {
		return s.header, false, nil
	}
	header, age, err := r.credential(ctx, repository, actions, challenge)
	if err != nil {
		return "", false, err
	}
	s.header, s.until = header, r.network.now().Add(age)
	return header, true, nil
}

// credential asks the keychain, and the registry's token service when it has one.
func (r *registry) credential(ctx context.Context, repository, actions string, challenge *transport.Challenge) (string, time.Duration, error) {
	auth, err := authn.Resolve(ctx, r.network.keychain, resource{r.host + "/" + repository, r.host})
	if err != nil {
		return "", 0, r.keychainError(err)
	}
	config, err := authn.Authorization(ctx, auth)
	if err != nil {
		return "", 0, r.keychainError(err)
	}
	switch strings.ToLower(challenge.Scheme) {
	case "bearer":
	case "", "basic":
		return basicHeader(config), basicAge, nil
	default:
		return "", 0, dossier.Errorf(dossier.KindUnsupported, "logging in to", r.login, "it asks for authentication by "+quote(challenge.Scheme))
	}
	if config.RegistryToken != "" {
		return "Bearer " + config.RegistryToken, basicAge, nil
	}
	inner, err := r.tokenService(challenge, *config != authn.AuthConfig{})
	if err != nil {
		return "", 0, err
	}
	token, err := transport.Exchange(ctx, r.named, auth, inner, []string{"repository:" + repository + ":" + actions}, challenge)
	if err != nil {
		return "", 0, r.network.failure("getting a token for", r.login+"/"+repository, r.login, err)
	}
	value := token.Token
	if token.AccessToken != "" {
		value = token.AccessToken
	}
	age := tokenAge
	if token.ExpiresIn > 0 {
		age = time.Duration(token.ExpiresIn) * time.Second
	}
	return "Bearer " + value, max(0, age-tokenMargin), nil
}

// basicHeader returns the header for a name and password, or "" without.
func basicHeader(config *authn.AuthConfig) string {
	switch {
	case config.RegistryToken != "":
		return "Bearer " + config.RegistryToken
	case config.Username != "" || config.Password != "":
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(config.Username+":"+config.Password))
	case config.Auth != "":
		return "Basic " + config.Auth
	}
	return ""
}

func (r *registry) keychainError(err error) error {
	return &dossier.Error{
		Kind: dossier.KindDenied, Op: "finding credentials for", Subject: r.login,
		Hint: "Check the Docker configuration and its credential helpers; `docker login " + r.login + "` writes it anew.",
		Err:  err,
	}
}

// acquire takes the one place of a lock.
func acquire(ctx context.Context, lock chan struct{}) error {
	select {
	case lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// capped limits the bodies of answers that are no content.
type capped struct{ next http.RoundTripper }

var errLongReply = errors.New("the answer is longer than any of its kind should be")

// RoundTrip implements http.RoundTripper.
func (c capped) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = &cut{ReadCloser: resp.Body, left: maxSideReply}
	return resp, nil
}

// cut is a body that fails when it is too long.
type cut struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (c *cut) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errLongReply
	}
	n, err := c.ReadCloser.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}
