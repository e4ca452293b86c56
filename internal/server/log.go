// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"path/filepath"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/ingest"
	"dossier.dev/dossier/internal/proof"
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
	witnesses, err := c.askedWitnesses()
	if err != nil {
		return nil, err
	}
	log, err := translog.New(translog.Config{Store: e.store, Signer: signer, Key: key, Logger: e.config.Logger, Witnesses: witnesses})
	if err != nil {
		return nil, err
	}
	return &ownLog{log, task{name: "appending to the log", log: e.config.Logger}}, nil
}

// Proof answers the five questions about what ref means and proves the answer, in the form
// of docs/spec/proof.md. Facts that are not in the log yet are appended to it, with the key that
// the server has, or that lies in the data directory. KindUnsupported: there is no key.
func (e *Engine) Proof(ctx context.Context, ref string, at dossier.Times) ([]byte, error) {
	d, err := e.digestOf(ctx, ref, at)
	if err != nil {
		return nil, err
	}
	log := e.log
	if log == nil {
		own, err := openLog(ServeConfig{Config: e.config}, e)
		if err != nil {
			return nil, err
		}
		if own == nil {
			return nil, &dossier.Error{Kind: dossier.KindUnsupported, Op: "proving an answer", Subject: ref,
				Err: errors.New("there is no key to sign the log with"), Hint: "ask a server that has one, with --server, or name the directory of its key with --data"}
		}
		log = own.Log
	}
	f, err := proof.Prover{Answerer: e.Answerer, Log: log, Digests: &e.feedDigests}.Prove(ctx, ref, d, at)
	if err != nil {
		return nil, err
	}
	return f, e.store.Settle(ctx) // what it proves must not come back differently after a power cut
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

// RebuildLog makes what follows from facts again where it is not as they say, and then compares packages
// with advisories whose rows were not. told is called after each change.
func (e *Engine) RebuildLog(ctx context.Context, told func(ingest.Mended) error) (ingest.Rebuilt, error) {
	done, err := e.ingest.Rebuild(ctx, told)
	if err == nil && done.Packages > 0 {
		err = e.Match(ctx)
	}
	return done, err
}
