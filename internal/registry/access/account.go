// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"dossier.dev/dossier"
)

// TokenReviewer asks a cluster whose token one is.
type TokenReviewer interface {
	// ReviewToken returns the user, the groups and the extra fields that the
	// cluster gives for a token which is good for one of the audiences. Errors:
	// KindDenied, it is not good, or not for them; KindUnavailable, the cluster
	// cannot be asked.
	ReviewToken(ctx context.Context, token string, audiences []string) (user string, groups []string, extra map[string][]string, err error)
}

// The extra fields in which the cluster names the pod of a token.
const (
	extraPodName = "authentication.kubernetes.io/pod-name"
	extraPodUID  = "authentication.kubernetes.io/pod-uid"
)

// How long the answers of a cluster are believed. The end of a token is checked
// each time.
const (
	reviewedFor = time.Minute
	refusedFor  = 10 * time.Second
)

// AccountConfig says how service accounts are known. Audience is required, and
// one of Reviewer and Issuer.
type AccountConfig struct {
	// Audience is what tokens must be made for. Tokens for the API server itself
	// are not taken: whoever sees one could act in the cluster with it.
	Audience string
	// Reviewer asks the cluster about each token, at most once a minute. It knows
	// when the pod of a token is gone.
	Reviewer TokenReviewer
	// Issuer verifies signatures without asking anybody. With a Reviewer it goes
	// first, so that only what the cluster has signed is asked about.
	Issuer *Issuer
	Now    func() time.Time
}

// ServiceAccounts knows the service accounts of a cluster by their tokens.
type ServiceAccounts struct {
	config AccountConfig
	known  *cache[review]
}

// review is what a cluster said of a token.
type review struct {
	identity Identity // zero: it was refused
	expires  time.Time
}

// NewServiceAccounts checks the configuration. Errors: KindInvalid.
func NewServiceAccounts(c AccountConfig) (*ServiceAccounts, error) {
	fail := func(why string) (*ServiceAccounts, error) {
		return nil, dossier.Errorf(dossier.KindInvalid, "configuring", "service accounts", why)
	}
	switch {
	case !isServiceName(c.Audience):
		return fail("they need an audience")
	case c.Reviewer == nil && c.Issuer == nil:
		return fail("there is neither a cluster to ask nor an issuer whose keys are known")
	}
	c.Now = orNow(c.Now)
	return &ServiceAccounts{config: c, known: newCache[review]()}, nil
}

// accountClaims is what a service account's token says (Kubernetes,
// "Configure Service Accounts for Pods", bound tokens).
type accountClaims struct {
	jwt.Claims
	Kubernetes struct {
		Namespace      string `json:"namespace"`
		ServiceAccount Pod    `json:"serviceaccount"`
		Pod            Pod    `json:"pod"`
	} `json:"kubernetes.io"`
}

// clusterAlgorithms are those with which clusters sign.
func clusterAlgorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.ES384, jose.ES512}
}

// verify returns who holds a token, and until when it is good. Errors:
// KindDenied, KindUnavailable.
func (a *ServiceAccounts) verify(ctx context.Context, text string) (Identity, time.Time, error) {
	token, header, err := parseToken(text, clusterAlgorithms()...)
	if err != nil {
		return Identity{}, time.Time{}, err
	}
	var c accountClaims
	if a.config.Issuer != nil {
		err = a.config.Issuer.verify(ctx, token, header, &c)
	} else if token.UnsafeClaimsWithoutVerification(&c) != nil {
		err = denied("the token is not a signed JWT")
	}
	if err != nil {
		return Identity{}, time.Time{}, err
	}
	// Without an issuer these are only a sieve: the cluster has the last word.
	id, err := a.check(c)
	if err != nil {
		return Identity{}, time.Time{}, err
	}
	expires := c.Expiry.Time()
	if a.config.Reviewer == nil {
		return id, expires, nil
	}
	r, err := a.review(ctx, text, expires)
	if err != nil {
		return Identity{}, time.Time{}, err
	}
	if r.identity.ServiceAccount != id.ServiceAccount {
		return Identity{}, time.Time{}, denied("the cluster does not know the token")
	}
	return r.identity, r.expires, nil
}

// check reads the claims of a token.
func (a *ServiceAccounts) check(c accountClaims) (Identity, error) {
	now := a.config.Now()
	account, err := ParseServiceAccount(c.Subject)
	k := c.Kubernetes
	switch {
	case !strings.HasPrefix(c.Subject, accountPrefix) || err != nil:
		return Identity{}, denied("the token is not a service account's")
	case k.Namespace != account.Namespace || k.ServiceAccount.Name != account.Name:
		return Identity{}, denied("the token is not bound to the service account that it names")
	case !slices.Contains(c.Audience, a.config.Audience):
		return Identity{}, denied("the token is for another audience")
	case c.Expiry == nil:
		return Identity{}, denied("the token never expires")
	case !now.Before(c.Expiry.Time()):
		return Identity{}, denied("the token has expired")
	case c.NotBefore != nil && now.Add(maxSkew).Before(c.NotBefore.Time()):
		return Identity{}, denied("the token is not good yet")
	}
	return account.identity(Signature, k.Pod), nil
}

// review asks the cluster, or remembers what it said.
func (a *ServiceAccounts) review(ctx context.Context, text string, expires time.Time) (review, error) {
	now := a.config.Now()
	key := a.known.key(text)
	if r, ok := a.known.get(key, now); ok {
		return r, nil
	}
	user, _, extra, err := a.config.Reviewer.ReviewToken(ctx, text, []string{a.config.Audience})
	if dossier.KindOf(err) == dossier.KindDenied {
		a.known.put(key, review{}, now, now.Add(refusedFor))
		return review{}, nil
	}
	if err != nil {
		return review{}, fmt.Errorf("asking the cluster about a token: %w", err)
	}
	r := review{expires: expires}
	if account, err := ParseServiceAccount(user); err == nil && strings.HasPrefix(user, accountPrefix) {
		r.identity = account.identity(TokenReview, Pod{Name: first(extra[extraPodName]), UID: first(extra[extraPodUID])})
	}
	a.known.put(key, r, now, now.Add(reviewedFor))
	return r, nil
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}
