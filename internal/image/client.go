// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"dossier.dev/dossier"
	"github.com/google/go-containerregistry/pkg/authn"
)

// Client reads images. The zero value is ready: it speaks HTTPS, with the
// credentials of the Docker configuration where there are some. A Client may
// be used by many goroutines; its fields must not change once it is in use.
type Client struct {
	// Keychain gives credentials; nil is authn.DefaultKeychain, which reads the
	// Docker (or Podman) configuration and asks its credential helpers.
	Keychain authn.Keychain
	// Realms lists the token services ("host" or "host:port") that credentials may
	// be sent to, besides the registry itself. nil: whichever the registry names.
	Realms []string
	// PlainHTTP lists registries ("host" or "host:port") that may be spoken to
	// without TLS when they have none. localhost and loopback addresses always may.
	PlainHTTP []string
	// CAFile holds certificates in PEM that are trusted besides the system's.
	CAFile string
	// Offline forbids the network: registries give KindUnavailable.
	Offline bool
	Limits  Limits
	// Kept returns what is kept in this process of the repository of a reference, or nil;
	// whole says that there is no more of it than that. nil: nothing is kept.
	Kept func(ref dossier.Reference) (kept Kept, whole bool)
	// Dial opens connections to registries; nil: as the system does.
	Dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	Logger *slog.Logger     // nil: silent
	Now    func() time.Time // nil: time.Now

	once    sync.Once
	initErr error
	network *network
	shelf   shelf
}

// Resolve finds out which digest a location names now. A registry is asked by
// HEAD, and by GET only when its answer to HEAD names no digest. A location
// that states a digest needs no request; then only Digest is set.
//
// KindInvalid: no such form of location, or several images where one must be
// named. KindNotFound, KindDenied, KindUnavailable, KindLimit: as the place says.
func (c *Client) Resolve(ctx context.Context, location string) (Descriptor, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Limits.withDefaults().Time)
	defer cancel()
	s, err := c.open(ctx, location)
	if err != nil {
		return Descriptor{}, err
	}
	d, err := s.resolve(ctx)
	if err = errors.Join(err, s.close()); err != nil {
		return Descriptor{}, c.explain(ctx, location, err)
	}
	return d, nil
}

// Read reads the indexes, manifests and configurations of an image. Every
// digest, size and media type that a parent states is checked.
//
// KindCorrupt: something is not what its digest or parent says, or is not the
// JSON it should be. KindUnsupported: the root is nothing that is known.
// Others as for Resolve.
func (c *Client) Read(ctx context.Context, location string, opt ReadOptions) (*Tree, error) {
	limits := c.Limits.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, limits.Time)
	defer cancel()
	s, err := c.open(ctx, location)
	if err != nil {
		return nil, err
	}
	tree, err := readTree(ctx, s, limits, opt)
	if err = errors.Join(err, s.close()); err != nil {
		return nil, c.explain(ctx, location, err)
	}
	return tree, nil
}

// Layer returns the bytes of a layer, compressed as they are stored. The
// stream ends in io.EOF only when digest and size are right; else in
// KindCorrupt. The caller closes it. KindUnavailable: the source failed, or
// Limits.Stall or Limits.LayerTime passed. Others as for Resolve.
func (c *Client) Layer(ctx context.Context, location string, d Descriptor) (io.ReadCloser, error) {
	const op = "reading layer"
	limits := c.Limits.withDefaults()
	if d.Size > limits.Layer {
		return nil, limitError(op, string(d.Digest), "Layer", limits.Layer, fmt.Sprintf("it has %d bytes", d.Size))
	}
	ctx, cancel := context.WithTimeout(ctx, limits.LayerTime)
	s, err := c.open(ctx, location)
	if err != nil {
		cancel()
		return nil, err
	}
	b, err := s.open(ctx, blobs, d.Digest)
	if err = errors.Join(err, s.close()); err != nil {
		err = c.explain(ctx, location, err)
		cancel()
		return nil, err
	}
	b.ReadCloser = watch(b.ReadCloser, cancel, limits.Stall)
	r, err := verify(op, b, d, ceiling{"Layer", limits.Layer})
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return r, nil
}

// open finds the place that a location names.
func (c *Client) open(ctx context.Context, location string) (source, error) {
	loc, err := ParseLocation(location)
	if err != nil {
		return nil, err
	}
	limits := c.Limits.withDefaults()
	switch loc.Scheme {
	case Layout:
		return openLayout(loc, limits)
	case Archive:
		return c.shelf.open(ctx, loc, limits)
	}
	if c.Kept != nil {
		if kept, whole := c.Kept(loc.Reference); whole {
			return &keptSource{ref: loc.Reference.WithDefaultTag(), kept: kept}, nil
		} else if kept != nil {
			return &keptSource{loc.Reference.WithDefaultTag(), kept, func() (source, error) { return c.remote(loc) }}, nil
		}
	}
	return c.remote(loc)
}

// remote returns the repository of a registry.
func (c *Client) remote(loc Location) (source, error) {
	if c.Offline {
		return nil, &dossier.Error{
			Kind: dossier.KindUnavailable, Op: opRead, Subject: loc.String(),
			Hint: "Leave out --offline to read it from its registry.",
			Err:  errors.New("the network must not be used"),
		}
	}
	n, err := c.net()
	if err != nil {
		return nil, err
	}
	return n.repository(loc.Reference.WithDefaultTag()), nil
}

// net returns the network side of the client, which is made on first use.
func (c *Client) net() (*network, error) {
	c.once.Do(func() { c.network, c.initErr = newNetwork(c) })
	return c.network, c.initErr
}

// explain says of an error which location it is about, and what to do where
// nothing further down knew better. An error that came of our own time limit
// says so.
func (c *Client) explain(ctx context.Context, location string, err error) error {
	e := &dossier.Error{Kind: dossier.KindOf(err), Op: opRead, Subject: location, Hint: dossier.HintOf(err), Err: err}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && errors.Is(err, context.DeadlineExceeded):
		e.Kind, e.Hint = dossier.KindUnavailable, "Try again later: it takes longer than any registry should."
		e.Err = fmt.Errorf("the time allowed for one image is over: %w", err)
		return e
	case e.Hint == "":
		e.Hint = adviceFor(e.Kind)
	}
	if loc, parseErr := ParseLocation(location); parseErr == nil {
		for _, name := range []string{location, loc.String()} {
			if strings.Contains(err.Error(), name) {
				e.Op, e.Subject = "", "" // it is said already
			}
		}
	}
	return e
}

// adviceFor says what to do about a kind of error.
func adviceFor(kind dossier.Kind) string {
	switch kind {
	case dossier.KindCorrupt:
		return "What is stored there is damaged, or somebody changed it on the way; push or save the image again."
	case dossier.KindLimit:
		return "Find out who made it: the limits are far above what images need."
	case dossier.KindUnsupported:
		return "Check the name: this is no container image in OCI or Docker form."
	case dossier.KindInvalid:
		return "Check the name, and that it is a registry that answers there."
	case dossier.KindUnavailable:
		return "Try again later."
	}
	return ""
}

// Usage returns what was used of each host so far.
func (c *Client) Usage() Usage {
	n, err := c.net()
	if err != nil {
		return Usage{}
	}
	return n.usage()
}

// CloseIdle closes connections that nobody uses.
func (c *Client) CloseIdle() {
	if n, err := c.net(); err == nil {
		n.base.CloseIdleConnections()
	}
}
