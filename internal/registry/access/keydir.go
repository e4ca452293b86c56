// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/durable"
)

// The limits of a directory of keys.
const (
	maxKeys     = 100
	maxKeyBytes = 16 << 10
	keySuffix   = ".pem"
)

// KeyDir is a KeyStore in a directory, which may be shared by replicas: a file
// ID.pem for each key, readable by its owner only.
type KeyDir struct {
	dir string
}

// OpenKeyDir makes the directory when it is not there. Errors: KindStorage.
func OpenKeyDir(dir string) (*KeyDir, error) {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, storageError("making", dir, err)
	}
	return &KeyDir{dir: dir}, nil
}

func storageError(op, subject string, err error) error {
	return &dossier.Error{Kind: dossier.KindStorage, Op: op, Subject: subject, Err: err, Hint: "check that the directory can be read and written"}
}

// Keys implements KeyStore: the newest first.
func (d *KeyDir) Keys(ctx context.Context) ([]Key, error) {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, storageError("reading", d.dir, err)
	}
	var keys []Key
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), keySuffix) {
			continue
		}
		if len(keys) == maxKeys {
			return nil, dossier.Errorf(dossier.KindLimit, "reading", d.dir, fmt.Sprintf("there are more than %d keys", maxKeys))
		}
		path := filepath.Join(d.dir, e.Name())
		text, err := readFile(path, maxKeyBytes)
		if errors.Is(err, fs.ErrNotExist) {
			continue // another replica has just removed it
		}
		if err != nil {
			return nil, err
		}
		parsed, err := ParseKeys(text)
		if err != nil {
			return nil, &dossier.Error{Kind: dossier.KindCorrupt, Op: "reading key", Subject: path, Err: err, Hint: "remove the file: a new key is made"}
		}
		keys = append(keys, parsed...)
	}
	slices.SortFunc(keys, func(a, b Key) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return strings.Compare(a.id, b.id)
	})
	return keys, ctx.Err()
}

// Add implements KeyRotator. The file appears whole or not at all.
func (d *KeyDir) Add(_ context.Context, k Key) (err error) {
	text, err := MarshalKey(k)
	if err != nil {
		return err
	}
	path := filepath.Join(d.dir, k.id+keySuffix)
	f, err := os.CreateTemp(d.dir, "new-*") // mode 0600
	if err != nil {
		return storageError("writing", path, err)
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return storageError("writing", path, errors.Join(err, os.Remove(f.Name())))
	}
	return d.sync()
}

// Remove implements KeyRotator.
func (d *KeyDir) Remove(_ context.Context, id string) error {
	path := filepath.Join(d.dir, filepath.Base(id)+keySuffix)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return storageError("removing", path, err)
	}
	return d.sync()
}

// sync makes what happened to names in the directory durable.
func (d *KeyDir) sync() error {
	f, err := os.Open(d.dir)
	if err != nil {
		return storageError("opening", d.dir, err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return storageError("writing", d.dir, err)
	}
	return nil
}
