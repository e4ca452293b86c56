// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"dossier.dev/dossier"
	"github.com/google/go-containerregistry/pkg/authn"
)

// network is the part of a client that speaks to registries: connections,
// patience, counters, credentials.
type network struct {
	base     *http.Transport
	keychain authn.Keychain
	realms   []string // nil: any
	plain    []string
	limits   Limits
	log      *slog.Logger
	now      func() time.Time

	mu    sync.Mutex
	lanes map[string]*lane     // by host
	doors map[string]*registry // by registry
}

const (
	maxCAFile    = 4 << 20  // bytes
	maxSideReply = 64 << 10 // bytes of an answer that is no content: errors, tokens, pings
)

func newNetwork(c *Client) (*network, error) {
	n := &network{
		base:     http.DefaultTransport.(*http.Transport).Clone(),
		keychain: c.Keychain,
		realms:   c.Realms,
		plain:    c.PlainHTTP,
		limits:   c.Limits.withDefaults(),
		log:      cmp.Or(c.Logger, slog.New(slog.DiscardHandler)),
		now:      c.Now,
		lanes:    map[string]*lane{},
		doors:    map[string]*registry{},
	}
	if n.keychain == nil {
		n.keychain = authn.DefaultKeychain
	}
	if n.now == nil {
		n.now = time.Now
	}
	if c.Dial != nil {
		n.base.Proxy, n.base.DialContext = nil, c.Dial
	}
	n.base.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	n.base.ForceAttemptHTTP2 = true
	n.base.DisableCompression = true // bytes must come as they were hashed
	n.base.MaxIdleConnsPerHost = n.limits.PerHost
	n.base.ResponseHeaderTimeout = n.limits.Stall
	n.base.MaxResponseHeaderBytes = maxSideReply
	if c.CAFile == "" {
		return n, nil
	}
	roots, err := readRoots(c.CAFile)
	if err != nil {
		return nil, err
	}
	n.base.TLSClientConfig.RootCAs = roots
	return n, nil
}

// readRoots returns the system's roots and those in a file.
func readRoots(file string) (*x509.CertPool, error) {
	const op = "reading CA certificates"
	f, err := os.Open(file)
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Subject: file, Err: err}
	}
	pem, err := io.ReadAll(io.LimitReader(f, maxCAFile))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Subject: file, Err: err}
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool() // a system without roots still has those of the file
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, dossier.Errorf(dossier.KindInvalid, op, file, "it holds no certificate in PEM form")
	}
	return roots, nil
}

// mayBePlain reports whether a host may be spoken to without TLS.
func (n *network) mayBePlain(host string) bool {
	return slices.Contains(n.plain, host) || slices.Contains(n.plain, hostname(host)) || isLoopback(host)
}

// hostname cuts the port and the brackets of an IPv6 address.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}

func isLoopback(host string) bool {
	name := hostname(host)
	if strings.EqualFold(name, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Unmap().IsLoopback()
}

// isInward reports whether a host is an address that only this machine, or its
// network segment, can reach: where a foreign registry has no business to send us.
func isInward(host string) bool {
	if isLoopback(host) {
		return true
	}
	addr, err := netip.ParseAddr(hostname(host))
	return err == nil && (addr.Unmap().IsLinkLocalUnicast() || addr.IsUnspecified())
}

// usage sums up the lanes.
func (n *network) usage() Usage {
	n.mu.Lock()
	defer n.mu.Unlock()
	u := Usage{Hosts: make(map[string]HostUsage, len(n.lanes))}
	for host, l := range n.lanes {
		u.Hosts[host] = l.usage()
	}
	return u
}

// lane returns the lane of a host.
func (n *network) lane(host string) *lane {
	n.mu.Lock()
	defer n.mu.Unlock()
	l, ok := n.lanes[host]
	if !ok {
		l = &lane{slots: make(chan struct{}, n.limits.PerHost)}
		n.lanes[host] = l
	}
	return l
}
