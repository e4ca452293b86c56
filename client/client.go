// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package client asks a Dossier server over its HTTP API (docs/spec/api.md).
//
// It promises to give what the server's own engine would: equal values, and
// errors as *dossier.Error with the kind, the text and the hint that the server
// gave. A server that cannot be reached, or does not answer as one, is an error
// with a hint of its own. Every response is bounded by a named limit.
//
// It keeps nothing, repeats no request, and sends neither credentials of
// registries nor local files. A token is sent only under TLS or to loopback.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"dossier.dev/dossier"
)

// Limits of what is read from a server, in bytes.
const (
	MaxResponse = 1 << 30  // of one response
	MaxLine     = 16 << 20 // of one line of a watch
	maxProblem  = 64 << 10 // of an error
	maxTile     = 17 << 20 // of a resource of the log: 256 entries of 64 KiB each
)

// Times that the default HTTP client waits.
const (
	dialTimeout   = 10 * time.Second
	headerTimeout = 2 * time.Minute // for an answer to begin
)

const apiPath = "/api/v1"

// Options say how to reach a server. The zero value is the default.
type Options struct {
	Token      string       // sent as bearer token; empty: none
	HTTPClient *http.Client // nil: one that follows no redirects
}

// Client asks one server. It may be used by many goroutines.
type Client struct {
	base  url.URL
	token string
	http  *http.Client
	plain bool // ask for no compression: the server is on this machine
}

// New returns a client of the server at baseURL, "http://127.0.0.1:8480". It
// does not connect. KindInvalid: the URL is none, or would send the token in
// the clear.
func New(baseURL string, opt Options) (*Client, error) {
	fail := func(why, hint string) (*Client, error) {
		// The URL may hold a password: it is not repeated.
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: "reading the URL of the server", Hint: hint, Err: errors.New(why)}
	}
	u, err := url.Parse(baseURL)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return fail("it does not begin with http:// or https:// and a host", "write it like http://127.0.0.1:8480")
	case u.User != nil:
		return fail("it holds a user or a password", "set DOSSIER_TOKEN instead")
	case u.RawQuery != "" || u.Fragment != "":
		return fail("it has a query or a fragment", "give scheme, host and port only")
	}
	local := isLoopback(u.Hostname())
	if opt.Token != "" && u.Scheme == "http" && !local {
		return fail("a token is sent under TLS only", "write https://, or leave the token out")
	}
	c := &Client{base: *u, token: opt.Token, http: opt.HTTPClient, plain: local}
	c.base.Path = strings.TrimRight(u.Path, "/") + apiPath
	if c.http == nil {
		c.http = &http.Client{Transport: newTransport(), CheckRedirect: noRedirect}
	}
	return c, nil
}

func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: headerTimeout,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConnsPerHost:   16,
		ForceAttemptHTTP2:     true,
	}
}

// noRedirect keeps the token with the server it was given for.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// get asks for path and decodes the answer into v.
func (c *Client) get(ctx context.Context, path []string, query url.Values, v any) error {
	resp, err := c.do(ctx, path, query)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body := &limited{r: resp.Body, left: MaxResponse}
	if err := json.NewDecoder(body).Decode(v); err != nil {
		return c.readError(ctx, body, err)
	}
	return nil
}

// do sends a request and returns a response whose status is 200.
func (c *Client) do(ctx context.Context, path []string, query url.Values) (*http.Response, error) {
	return c.doAt(ctx, c.base.JoinPath(path...), query)
}

// doAt is do for a URL of the server.
func (c *Client) doAt(ctx context.Context, u *url.URL, query url.Values) (*http.Response, error) {
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: "asking", Subject: c.name(), Err: err}
	}
	req.Header.Set("Accept", "application/json, application/x-ndjson, application/problem+json")
	if c.plain {
		req.Header.Set("Accept-Encoding", "identity")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, c.refusal(resp)
	}
	return resp, nil
}

// name is the server in words.
func (c *Client) name() string { return c.base.Scheme + "://" + c.base.Host }

// unreachable says that no answer came.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // without the URL, which is long
	}
	if ctx.Err() != nil {
		return fmt.Errorf("asking %s: %w", c.name(), ctx.Err())
	}
	return &dossier.Error{Kind: dossier.KindUnavailable, Op: "asking", Subject: c.name(), Err: err,
		Hint: "check that the server runs and that its URL is right; dossier serve starts one"}
}

// readError says that an answer broke off, or is not what it should be.
func (c *Client) readError(ctx context.Context, body *limited, err error) error {
	e := &dossier.Error{Kind: dossier.KindUnavailable, Op: "reading the answer of", Subject: c.name(), Err: err}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("reading the answer of %s: %w", c.name(), ctx.Err())
	case errors.Is(err, errTooLong):
		e.Kind = dossier.KindLimit
	case body.broken || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		e.Hint = "try again"
	default:
		e.Kind, e.Hint = dossier.KindCorrupt, "check that a Dossier server of this version answers at this URL"
	}
	return e
}

// refusal restores the error of a response.
func (c *Client) refusal(resp *http.Response) error {
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	var p dossier.Problem
	if mediaType == "application/problem+json" {
		err := json.NewDecoder(io.LimitReader(resp.Body, maxProblem)).Decode(&p)
		if err == nil && p.Kind != "" {
			return p.Err()
		}
	}
	// Something else than a Dossier server speaks: a proxy, another service.
	return &dossier.Error{Kind: kindOf(resp.StatusCode), Op: "asking", Subject: c.name(), Err: fmt.Errorf("it answers %q", resp.Status),
		Hint: "check that the URL is that of a Dossier server"}
}

// kindOf guesses the kind of an error from a status alone.
func kindOf(status int) dossier.Kind {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return dossier.KindDenied
	case http.StatusNotFound:
		return dossier.KindNotFound
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return dossier.KindUnavailable
	}
	return dossier.KindUnsupported
}

// errTooLong is returned by limited.
var errTooLong = errors.New("it is longer than client.MaxResponse")

// limited reads up to a limit and fails beyond it.
type limited struct {
	r      io.Reader
	left   int64
	broken bool // r failed
}

// Read implements io.Reader.
func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p[:min(int64(len(p)), l.left+1)])
	if int64(n) > l.left {
		return 0, errTooLong
	}
	l.left -= int64(n)
	l.broken = err != nil && !errors.Is(err, io.EOF)
	return n, err
}
