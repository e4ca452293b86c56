// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/cluster"
	"dossier.dev/dossier/internal/registry/access"
	"dossier.dev/dossier/internal/seal"
	"dossier.dev/dossier/internal/store"
)

// connectEvery is how often a cluster that could not be reached is tried again
// for the sake of a token.
const connectEvery = 2 * time.Second

// clusterAccounts asks a cluster about tokens of service accounts. It connects when it is
// first asked, so that a registry starts without its cluster. It implements
// access.TokenReviewer and access.IssuerReader.
type clusterAccounts struct {
	connect func(context.Context) (*cluster.Live, error)
	now     func() time.Time
	lock    chan struct{} // held by who has the fields below

	live  *cluster.Live // nil: not connected
	err   error         // why, when that was tried
	tried time.Time
}

func newClusterAccounts(e *Engine, c ClusterOptions) *clusterAccounts {
	return &clusterAccounts{
		connect: func(ctx context.Context) (*cluster.Live, error) {
			live, _, err := e.connect(ctx, c)
			return live, err
		},
		now: e.config.Now, lock: make(chan struct{}, 1),
	}
}

// get returns a connection. KindUnavailable, whatever is wrong: whose token it is
// nobody can tell then.
func (a *clusterAccounts) get(ctx context.Context) (*cluster.Live, error) {
	const op = "asking the cluster about a service account"
	select {
	case a.lock <- struct{}{}:
		defer func() { <-a.lock }()
	case <-ctx.Done():
		return nil, &dossier.Error{Kind: dossier.KindUnavailable, Op: op, Err: ctx.Err()}
	}
	if a.live != nil {
		return a.live, nil
	}
	if a.err == nil || a.now().Sub(a.tried) >= connectEvery {
		a.live, a.err = a.connect(ctx)
		a.tried = a.now()
	}
	if a.err != nil {
		return nil, &dossier.Error{Kind: dossier.KindUnavailable, Op: op, Err: a.err, Hint: dossier.HintOf(a.err)}
	}
	return a.live, nil
}

// ReviewToken implements access.TokenReviewer.
func (a *clusterAccounts) ReviewToken(ctx context.Context, token string, audiences []string) (string, []string, map[string][]string, error) {
	live, err := a.get(ctx)
	if err != nil {
		return "", nil, nil, err
	}
	return live.ReviewToken(ctx, token, audiences)
}

// ReadIssuer implements access.IssuerReader.
func (a *clusterAccounts) ReadIssuer(ctx context.Context) (string, []byte, error) {
	live, err := a.get(ctx)
	if err != nil {
		return "", nil, err
	}
	return live.ReadIssuer(ctx)
}

// maxStoredKeys bounds what is read of the keys in the database. There are two at
// a time, and some more when many replicas make their first.
const maxStoredKeys = 100

// storedKeys keeps signing keys in the database, which all replicas share. It
// implements access.KeyRotator.
type storedKeys struct {
	store store.Store
	seal  seal.Keys
}

var _ access.KeyRotator = storedKeys{}

// Keys implements access.KeyStore.
func (s storedKeys) Keys(ctx context.Context) ([]access.Key, error) {
	var rows []store.SigningKey
	err := s.store.View(ctx, func(r store.Reader) (err error) {
		rows, err = r.SigningKeys(ctx, maxStoredKeys)
		return err
	})
	if err != nil {
		return nil, err
	}
	var keys []access.Key
	for _, row := range rows {
		secret, err := s.seal.Open(tokenLabel(row.ID), row.Secret)
		if err != nil {
			return nil, err
		}
		parsed, err := access.ParseKeys(secret)
		if err != nil {
			return nil, &dossier.Error{Kind: dossier.KindCorrupt, Op: "reading signing key", Subject: row.ID, Err: err,
				Hint: "delete the row of table signing_key: a new key is made"}
		}
		keys = append(keys, parsed...)
	}
	return keys, nil
}

// Add implements access.KeyRotator.
func (s storedKeys) Add(ctx context.Context, k access.Key) error {
	secret, err := access.MarshalKey(k)
	if err != nil {
		return fmt.Errorf("keeping signing key %s: %w", k.ID(), err)
	}
	return s.store.Update(ctx, func(tx store.Tx) error {
		return tx.PutSigningKey(ctx, store.SigningKey{ID: k.ID(), CreatedAt: k.Created, Secret: s.seal.Seal(tokenLabel(k.ID()), secret)})
	})
}

// tokenLabel is what a signing key of tokens is sealed for.
func tokenLabel(id string) string { return "signing key " + id + " of tokens" }

// reseal encrypts the keys that are not encrypted as they would be now. KindDenied, KindCorrupt: one cannot be opened.
func (s storedKeys) reseal(ctx context.Context) error {
	return s.store.Update(ctx, func(tx store.Tx) error {
		rows, err := tx.SigningKeys(ctx, maxStoredKeys)
		if err != nil {
			return err
		}
		for _, row := range rows {
			secret, err := s.seal.Open(tokenLabel(row.ID), row.Secret)
			if err != nil {
				return err
			}
			if s.seal.Current(row.Secret) {
				continue
			}
			row.Secret = s.seal.Seal(tokenLabel(row.ID), secret)
			if err := tx.PutSigningKey(ctx, row); err != nil {
				return err
			}
		}
		return nil
	})
}

// readSealKeys reads the keys that encrypt the private keys in the store; none when no file is named. KindNotFound,
// KindStorage, KindInvalid.
func readSealKeys(file string) (seal.Keys, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if err != nil {
		kind := dossier.KindStorage
		if errors.Is(err, fs.ErrNotExist) {
			kind = dossier.KindNotFound
		}
		return nil, &dossier.Error{Kind: kind, Op: "reading keys that seal", Subject: file, Err: err, Hint: "check sealKey in the configuration"}
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, seal.MaxFile+1))
	if err == nil && len(text) > seal.MaxFile {
		err = fmt.Errorf("it has more than %d bytes", seal.MaxFile)
	}
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindStorage, Op: "reading keys that seal", Subject: file, Err: err}
	}
	keys, err := seal.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return keys, nil
}

// Remove implements access.KeyRotator.
func (s storedKeys) Remove(ctx context.Context, id string) error {
	return s.store.Update(ctx, func(tx store.Tx) error { return tx.DeleteSigningKey(ctx, id) })
}
