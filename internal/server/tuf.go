// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/tuf"
)

// ownTUF is the signed metadata that a server publishes.
type ownTUF struct {
	repository *tuf.Repository
	handler    *tuf.Handler
	task       task
}

// openTUF opens the metadata of the registry of that name in the engine's store.
func openTUF(ctx context.Context, c ServeConfig, e *Engine, registry string) (*ownTUF, error) {
	r, err := tuf.NewRepository(tuf.Config{
		Store: e.store, Registry: registry, Prefixes: c.Registry.TUF.Prefixes, Life: c.Registry.TUF.Life, Every: c.Registry.TUF.Every,
		Seal: e.seal, Now: e.config.Now, Logger: e.config.Logger,
	})
	if err == nil {
		err = r.CheckKeys(ctx)
	}
	if err != nil {
		return nil, err
	}
	return &ownTUF{r, &tuf.Handler{Repository: r, Logger: e.config.Logger}, task{name: "signing metadata of tags", log: e.config.Logger}}, nil
}

// follow signs what moves and renews what is due, until ctx ends.
func (o *ownTUF) follow(ctx context.Context) error {
	o.task.set(nil)
	return o.repository.Run(ctx)
}

// validateTUF tells fault what is wrong with the configuration of metadata.
func validateTUF(t config.TUF, fault func(subject, why, hint string)) {
	if _, err := tuf.NewRepository(tuf.Config{Prefixes: t.Prefixes}); err != nil {
		fault("registry.tuf.prefixes", err.Error(), dossier.HintOf(err))
	}
	if t.Life != 0 && (t.Life < time.Minute || t.Life > 7*24*time.Hour) {
		fault("registry.tuf.life", "it is out of range", "set 1m to 168h, or leave it out")
	}
	if t.Every < 0 || t.Life != 0 && t.Every >= t.Life || t.Life == 0 && t.Every >= tuf.TimestampLife {
		fault("registry.tuf.every", "a timestamp would expire before it is renewed", "set less than registry.tuf.life, or leave it out")
	}
}
