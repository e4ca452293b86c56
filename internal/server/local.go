// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/store"
)

// LocalRegistry is the registry in a store of which this process need not be the
// server: servers may run on it at the same time.
type LocalRegistry struct {
	registry.Local
	handler *registry.Handler
	blobs   blobStore
}

// LocalRegistry opens the registry in the engine's store, as a server with that
// configuration would. client is what this program calls itself.
// KindInvalid: it has no name yet, and none is configured. KindConflict: it has
// another one.
func (e *Engine) LocalRegistry(ctx context.Context, c config.File, client string) (*LocalRegistry, error) {
	const op = "opening the registry"
	name := c.Registry.Name
	err := e.store.View(ctx, func(r store.Reader) error {
		has, err := r.RegistryName(ctx)
		if name == "" {
			name = has
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if name == "" {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: errors.New("it has no name yet"),
			Hint: "give --registry-name HOST[:PORT]: what references will call it"}
	}
	if !isRegistryName(name) {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Subject: name, Err: errors.New("it is not HOST or HOST:PORT"),
			Hint: "give a name such as registry.example.com"}
	}
	if e.config.Data == "" && c.Blobs == "" {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: errors.New("it has no place for its blobs"), Hint: "give --data DIR or --blobs URL"}
	}
	blobs, err := openBlobs(ctx, ServeConfig{Config: Config{Data: e.config.Data}, Blobs: c.Blobs})
	if err != nil {
		return nil, err
	}
	handler, err := registry.New(ctx, registry.Config{
		Store: e.store, Blobs: blobs, Name: name, Fixed: fixedTag(c.Registry.Movable), Sparse: c.Registry.Sparse,
		Contents: true, MaxBlob: int64(c.Registry.Limits.Blob), Logger: e.config.Logger, Now: e.config.Now,
	})
	if err != nil {
		return nil, errors.Join(err, blobs.Close())
	}
	return &LocalRegistry{handler.Local(registry.Caller{Kind: registry.CallerLocal}, client), handler, blobs}, nil
}

// isRegistryName reports whether a text is what a registry may be called.
func isRegistryName(s string) bool {
	ref, err := dossier.ParseReference(s + "/a")
	return err == nil && ref.Registry == s
}

// Close releases the place of the blobs.
func (r *LocalRegistry) Close() error {
	r.handler.Close()
	return r.blobs.Close()
}
