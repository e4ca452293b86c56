// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package demo makes a small world to show Dossier on: a registry in this
// process with images built on the spot, and the manifests of a cluster that
// runs them.
//
// The images are real: layers with package databases, programs, labels and
// histories, each chosen because clusters hold its like. Nothing in the world
// is special to the product, which reads it as it reads any other. The package
// needs no network beyond loopback and writes nothing but what it is told to.
package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/testimage"
)

// Registry is the name of the registry in references. It resolves nowhere: use
// World.Dial.
const Registry = "registry.demo"

// World is a registry with images and a cluster that runs them. It begins a week
// ago; Advance brings it to today.
type World struct {
	registry *testimage.Registry
	images   map[string]dossier.Digest // "shop/web:1.4.2" -> digest
	began    time.Time
	now      time.Time
}

// New builds the images of last week and serves them. program is a Go program,
// for the images that hold one.
func New(ctx context.Context, program []byte, now time.Time) (*World, error) {
	registry, err := testimage.StartRegistry(testimage.RegistryOptions{})
	if err != nil {
		return nil, err
	}
	w := &World{registry: registry, images: map[string]dossier.Digest{}, now: now, began: now.AddDate(0, 0, -7)}
	for _, im := range lastWeek(program, w.began) {
		if err := w.push(ctx, im); err != nil {
			return nil, errors.Join(err, registry.Close())
		}
	}
	return w, nil
}

// Began is when the world begins.
func (w *World) Began() time.Time { return w.began }

// Advance pushes what was pushed since: one tag moves.
func (w *World) Advance(ctx context.Context) error {
	for _, im := range today(w.now) {
		if err := w.push(ctx, im); err != nil {
			return err
		}
	}
	return nil
}

// Close stops the registry.
func (w *World) Close() error { return w.registry.Close() }

// Dial reaches the registry under its name, and nothing else.
func (w *World) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil || host != Registry {
		return nil, fmt.Errorf("the demo reaches no host but %s", Registry)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", w.registry.Host)
}

// sample is an image to be pushed.
type sample struct {
	repository, tag string
	of              testimage.Builder
}

func (w *World) push(ctx context.Context, s sample) error {
	content, err := s.of.Build()
	if err != nil {
		return fmt.Errorf("building %s: %w", s.repository, err)
	}
	if err := w.registry.Push(ctx, s.repository, s.tag, content); err != nil {
		return err
	}
	name := s.repository + ":" + s.tag
	if old, ok := w.images[name]; ok {
		w.images[name+" before"] = old
	}
	w.images[name] = content.Digest()
	return nil
}
