// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"dossier.dev/dossier"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// tokenService returns how to reach the token service that a registry names in
// its challenge. Whoever answers for a registry chooses that name, so it is not
// trusted with credentials as such: the service must be one of Client.Realms,
// where there are any, and does not pass the request on to another.
func (r *registry) tokenService(challenge *transport.Challenge, credentials bool) (http.RoundTripper, error) {
	fail := func(hint string, why error) (http.RoundTripper, error) {
		return nil, &dossier.Error{Kind: dossier.KindDenied, Op: "getting a token for", Subject: r.login, Hint: hint, Err: why}
	}
	named := challenge.Parameters["realm"]
	realm, err := url.Parse(named)
	if err != nil || realm.Host == "" {
		return fail("", fmt.Errorf("its token service is no address: %s", quote(named)))
	}
	host := canonicalHost(realm)
	own := host == canonicalHost(&url.URL{Scheme: schemeOf(challenge), Host: r.host})
	switch {
	case own:
	case realm.Scheme != "https" && !(realm.Scheme == "http" && challenge.Insecure):
		return fail("", fmt.Errorf("its token service is reached without TLS: %s", quote(realm.Host)))
	case isInward(realm.Host) && !isInward(r.host):
		return fail("", fmt.Errorf("its token service has a local address: %s", quote(realm.Host)))
	case credentials && r.network.realms != nil && !slices.ContainsFunc(r.network.realms, func(s string) bool {
		return strings.EqualFold(s, host)
	}):
		return fail("If it really is the token service of "+r.login+", configure it as the realm.",
			fmt.Errorf("it wants the credentials to be sent to %s, which it is not configured with", quote(realm.Host)))
	}
	if !credentials {
		return r.inner, nil
	}
	return pinned{r.inner, realm.Scheme, host}, nil
}

// schemeOf is what a registry speaks, as its challenge says.
func schemeOf(challenge *transport.Challenge) string {
	if challenge.Insecure {
		return "http"
	}
	return "https"
}

// canonicalHost returns the host of a URL in lower case, and its port where that
// is not the usual one.
func canonicalHost(u *url.URL) string {
	host := strings.ToLower(u.Host)
	usual := map[string]string{"https": ":443", "http": ":80"}[u.Scheme]
	if usual == "" {
		return host
	}
	return strings.TrimSuffix(host, usual)
}

// pinned sends requests to one host and to no other.
type pinned struct {
	next         http.RoundTripper
	scheme, host string
}

var errElsewhere = errors.New("the token service sends the request on to another host, which credentials must not follow")

// RoundTrip implements http.RoundTripper.
func (p pinned) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != p.scheme || canonicalHost(req.URL) != p.host {
		return nil, &dossier.Error{Kind: dossier.KindDenied, Op: "getting a token from", Subject: p.host, Err: errElsewhere}
	}
	return p.next.RoundTrip(req)
}

// outward keeps requests from being redirected to an address of this machine or
// its network segment.
type outward struct {
	next http.RoundTripper
	home string // where the first request goes
}

// RoundTrip implements http.RoundTripper.
func (o outward) RoundTrip(req *http.Request) (*http.Response, error) {
	if isInward(req.URL.Host) && !isInward(o.home) {
		return nil, dossier.Errorf(dossier.KindDenied, "following a redirect of", o.home, "it leads to a local address, "+quote(req.URL.Host))
	}
	return o.next.RoundTrip(req)
}
