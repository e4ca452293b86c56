// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"path/filepath"

	"dossier.dev/dossier/internal/translog"
)

// LogKeyFile is the name of the file within Config.Data that holds the key of the log.
const LogKeyFile = "log.key"

// ownLog is the transparency log that a server appends to.
type ownLog struct {
	*translog.Log
	task task
}

// openLog opens the log of the engine's store, or none when there is no key.
func openLog(c ServeConfig, e *Engine) (*ownLog, error) {
	path := c.LogKey
	if path == "" {
		if c.Data == "" {
			return nil, nil
		}
		path = filepath.Join(c.Data, LogKeyFile)
	}
	signer, key, err := translog.OpenKey(path)
	if err != nil {
		return nil, err
	}
	e.config.Logger.Info("the log is signed", "key", key)
	log, err := translog.New(translog.Config{Store: e.store, Signer: signer, Key: key, Logger: e.config.Logger})
	if err != nil {
		return nil, err
	}
	return &ownLog{log, task{name: "appending to the log", log: e.config.Logger}}, nil
}

// follow appends what is recorded, until ctx ends.
func (l *ownLog) follow(ctx context.Context) error {
	l.task.set(nil)
	return l.Run(ctx)
}

// VerifyLog compares the log with all facts. key is the verifier key that it must
// have, or empty.
func (e *Engine) VerifyLog(ctx context.Context, key string) (translog.Report, error) {
	return translog.Verify(ctx, e.store, key)
}
