// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"path/filepath"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob/disk"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/store"
)

// LocalRegistry is the registry in a store of which this process need not be the
// server: servers may run on it at the same time.
type LocalRegistry struct {
	registry.Local
	blobs *disk.Store
}

// LocalRegistry opens the registry in the engine's store. client is what this program
// calls itself. KindInvalid: it has no name yet, and none is configured.
// KindConflict: it has another one.
func (e *Engine) LocalRegistry(ctx context.Context, c config.Registry, client string) (*LocalRegistry, error) {
	const op = "opening the registry"
	name := c.Name
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
	if e.config.Data == "" {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: errors.New("it has no directory for its blobs"), Hint: "give --data DIR"}
	}
	blobs, err := disk.Open(disk.Config{Dir: filepath.Join(e.config.Data, BlobsDir)})
	if err != nil {
		return nil, err
	}
	handler, err := registry.New(ctx, registry.Config{
		Store: e.store, Blobs: blobs, Name: name, Fixed: fixedTag(c.Movable), Sparse: c.Sparse,
		Programs: true, Logger: e.config.Logger, Now: e.config.Now,
	})
	if err != nil {
		return nil, errors.Join(err, blobs.Close())
	}
	return &LocalRegistry{handler.Local(registry.Caller{Kind: registry.CallerLocal}, client), blobs}, nil
}

// isRegistryName reports whether a text is what a registry may be called.
func isRegistryName(s string) bool {
	ref, err := dossier.ParseReference(s + "/a")
	return err == nil && ref.Registry == s
}

// Close releases the directory of blobs.
func (r *LocalRegistry) Close() error { return r.blobs.Close() }
