// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	nodes "dossier.dev/dossier/internal/record"
	"dossier.dev/dossier/internal/server"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
)

// What this file does is to make a log of many facts in a minute. Recorded as a server does, each in a
// transaction that is durable, they would take ten, and write twenty times as much as they are. So images
// are recorded, and all other facts written into the tables of SQLite in one transaction
// without a journal; the log is appended to by package translog in memory, and then written
// there as well. What stands in the tables is what a server would have put there.

// fillLog makes a store whose log has so many facts, among them those of the images that it returns,
// which are spread over all of it: what is near one another shares most of its proof.
func fillLog(ctx context.Context, data string, facts int) ([]dossier.Digest, error) {
	images, own, err := recordImages(ctx, data)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(data, server.DatabaseFile)+
		"?_pragma=journal_mode(OFF)&_pragma=synchronous(OFF)&_pragma=locking_mode(EXCLUSIVE)&_pragma=cache_size(-2000000)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	tx, err := db.BeginTx(ctx, nil)
	if err == nil {
		err = seedLog(ctx, tx, data, own, facts-len(own))
	}
	if err == nil {
		err = tx.Commit()
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return nil, fmt.Errorf("writing the log: %w", err)
	}
	return images, nil
}

// recordImages makes the store and records the images as a server does. It returns the facts of each as
// entries that are not in the log: the first of all images, then the second and so on.
func recordImages(ctx context.Context, data string) (images []dossier.Digest, entries []store.LogEntry, err error) {
	db, err := sqlstore.Open(ctx, sqlstore.Config{Path: filepath.Join(data, server.DatabaseFile)})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	all := make([][]image.Node, provenImages)
	for i := range all {
		if all[i], err = manyPlatforms(i); err != nil {
			return nil, nil, err
		}
		images = append(images, all[i][len(all[i])-1].Digest)
	}
	for n := range all[0] {
		err := db.Update(ctx, func(tx store.Tx) error {
			for _, of := range all {
				if _, err := nodes.Node(ctx, tx, of[n], of); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return images, entries, db.Update(ctx, func(tx store.Tx) (err error) {
		entries, err = tx.Unlogged(ctx, provenImages*len(all[0]))
		return err
	})
}

// seedLog writes facts, and the log over them and over those that are there.
func seedLog(ctx context.Context, tx *sql.Tx, data string, own []store.LogEntry, n int) error {
	fact, err := tx.PrepareContext(ctx, `
INSERT INTO fact (position, id, subject, seq, kind, source, valid_at, recorded_at, body_hash, salt, prev, leaf, body)
VALUES ($1, $2, $3, 1, $4, $5, $6, $7, $8, $9, '', $10, $11)`)
	if err != nil {
		return err
	}
	log := &logInMemory{tiles: map[store.TileAt][]byte{}, nodes: map[string][]byte{}}
	position := own[len(own)-1].Position
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range n {
		f := seeded(i, at.Add(time.Duration(i)*time.Millisecond))
		if _, err := fact.ExecContext(ctx, position+int64(i)+1, f.ID, f.Subject, f.Kind, f.Source,
			f.ValidAt.UnixMicro(), f.RecordedAt.UnixMicro(), dossier.BodyHash(f.Salt, f.Body), f.Salt, f.Leaf, f.Body); err != nil {
			return err
		}
		if i%(n/(2*provenParts+1)) == 0 && len(own) > 0 { // the next fact of each image
			log.waiting, own = append(log.waiting, own[:provenImages]...), own[provenImages:]
		}
		log.waiting = append(log.waiting, store.LogEntry{Position: position + int64(i) + 1, Subject: f.Subject, Seq: 1, Leaf: f.Leaf})
	}
	log.waiting = append(log.waiting, own...)
	appender, err := openLog(log, data)
	if err != nil {
		return err
	}
	for {
		if n, err := appender.Append(ctx); err != nil || n == 0 {
			return errors.Join(err, log.write(ctx, tx))
		}
	}
}

// seeded is a fact as Record would make it, on a subject of its own.
func seeded(i int, at time.Time) dossier.Fact {
	body := bytes.Repeat(fmt.Appendf(nil, "%d ", i), logFactBytes)[:logFactBytes]
	f := dossier.Fact{Statement: dossier.Statement{Subject: dossier.FromBytes(body), Kind: dossier.FactPush, Source: "bench", ValidAt: at, Body: body}}
	f.ID, f.RecordedAt, f.Seq, f.Salt = f.Statement.ID(), at, 1, make([]byte, 32)
	_, _ = rand.Read(f.Salt) // never fails
	f.Leaf = f.LeafHash()
	return f
}

// logInMemory has of a store what appending to the log needs.
type logInMemory struct {
	store.Store
	store.Tx
	waiting []store.LogEntry
	entries []store.LogEntry
	tiles   map[store.TileAt][]byte
	nodes   map[string][]byte
	head    store.LogHead
}

// View implements store.Store.
func (l *logInMemory) View(_ context.Context, f func(store.Reader) error) error { return f(l) }

// UpdateSoon implements store.Store.
func (l *logInMemory) UpdateSoon(_ context.Context, f func(store.Tx) error) error { return f(l) }

// LogHead implements store.LogReader.
func (l *logInMemory) LogHead(context.Context) (store.LogHead, error) { return l.head, nil }

// LockLog implements store.LogWriter.
func (l *logInMemory) LockLog(context.Context) (store.LogHead, error) { return l.head, nil }

// Unlogged implements store.LogReader.
func (l *logInMemory) Unlogged(_ context.Context, limit int) ([]store.LogEntry, error) {
	return slices.Clone(l.waiting[:min(limit, len(l.waiting))]), nil
}

// LogTile implements store.LogReader.
func (l *logInMemory) LogTile(_ context.Context, at store.TileAt) ([]byte, error) {
	if b, ok := l.tiles[at]; ok {
		return b, nil
	}
	return nil, dossier.Errorf(dossier.KindNotFound, "reading the log", fmt.Sprint(at), "it is not there")
}

// LogMap implements store.MapReader.
func (l *logInMemory) LogMap(_ context.Context, prefixes []string) (map[string][]byte, error) {
	found := map[string][]byte{}
	for _, p := range prefixes {
		if b, ok := l.nodes[p]; ok {
			found[p] = b
		}
	}
	return found, nil
}

// PutLogMap implements store.LogWriter.
func (l *logInMemory) PutLogMap(_ context.Context, list []store.MapNode) error {
	for _, n := range list {
		l.nodes[n.Prefix] = n.Content
	}
	return nil
}

// AppendLog implements store.LogWriter.
func (l *logInMemory) AppendLog(_ context.Context, entries []store.LogEntry, tiles []store.LogTile, head store.LogHead) error {
	l.entries, l.waiting, l.head = append(l.entries, entries...), l.waiting[len(entries):], head
	for _, t := range tiles {
		l.tiles[t.TileAt] = t.Hashes
	}
	return nil
}

// write writes the log into its tables.
func (l *logInMemory) write(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM log_pending`); err != nil {
		return err
	}
	entry, err := tx.PrepareContext(ctx, `INSERT INTO log_entry (idx, position) VALUES ($1, $2)`)
	if err != nil {
		return err
	}
	for _, e := range l.entries {
		if _, err := entry.ExecContext(ctx, e.Index, e.Position); err != nil {
			return err
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(l.tiles), func(a, b store.TileAt) int {
		return cmp.Or(cmp.Compare(a.Level, b.Level), cmp.Compare(a.Index, b.Index))
	}) {
		if _, err := tx.ExecContext(ctx, `INSERT INTO log_tile (level, idx, hashes) VALUES ($1, $2, $3)`, at.Level, at.Index, l.tiles[at]); err != nil {
			return err
		}
	}
	for _, prefix := range slices.Sorted(maps.Keys(l.nodes)) {
		if _, err := tx.ExecContext(ctx, `INSERT INTO log_map (prefix, content) VALUES ($1, $2)`, prefix, l.nodes[prefix]); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO log_head (id, size, key, checkpoint, mapped) VALUES (1, $1, $2, $3, $4)`,
		l.head.Size, l.head.Key, l.head.Checkpoint, l.head.Mapped)
	return err
}
