// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"encoding/binary"
	"io"
	"log/slog"
	"sync"
)

// checkpointer copies pages of the write-ahead log into the database beside the writer.
// SQLite would do it within a COMMIT, and every other writer would wait for thousands of
// pages and two fsyncs. The log begins anew only when all of it is copied, for which the
// writer must stand still: so SQLite does the rest within a COMMIT still, when the log is a
// quarter longer, and finds little left.
type checkpointer struct {
	db     *sql.DB
	log    io.ReaderAt
	pages  int64
	logger *slog.Logger
	wake   chan struct{}
	quit   chan struct{}
	done   sync.WaitGroup

	copying sync.Mutex // held while pages are copied

	mu   sync.Mutex
	salt [8]byte // of the log that next is about
	next int64   // how many pages the log has when it is time
}

// A log is copied in so many parts, each with an fsync of the database: the disk has less to
// write at a time, for which all other fsyncs wait. When there is a log's worth of pages, so
// many times fewer are left to the writer.
const (
	copyParts  = 4
	restFactor = 16
)

// newCheckpointer starts a checkpointer of a log that is so many pages long. db is its own.
func newCheckpointer(ctx context.Context, db *sql.DB, log io.ReaderAt, pages int, logger *slog.Logger) *checkpointer {
	db.SetMaxOpenConns(1)
	c := &checkpointer{db: db, log: log, pages: int64(pages), logger: logger, wake: make(chan struct{}, 1), quit: make(chan struct{})}
	c.done.Go(func() { c.loop(ctx) })
	return c
}

func (c *checkpointer) close() error {
	close(c.quit)
	c.done.Wait()
	return c.db.Close()
}

// written is called when a transaction was committed. It does not wait.
func (c *checkpointer) written() {
	if !c.due() {
		return
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// due reports whether it is time to copy: whether the log has a page of a number, which has
// the salt of the log (https://www.sqlite.org/fileformat2.html, section 4.1). It is a hint:
// the log may begin anew while it is read.
func (c *checkpointer) due() bool {
	const headerSize, frameSize = 32, 24
	var header [headerSize]byte
	if _, err := c.log.ReadAt(header[:], 0); err != nil {
		return false // nothing was written yet
	}
	pageSize, salt := int64(binary.BigEndian.Uint32(header[8:])), [8]byte(header[16:])
	c.mu.Lock()
	if salt != c.salt {
		c.salt, c.next = salt, max(1, c.pages/copyParts)
	}
	next := c.next
	c.mu.Unlock()
	var frame [frameSize]byte
	_, err := c.log.ReadAt(frame[:], headerSize+(next-1)*(frameSize+pageSize))
	return err == nil && [8]byte(frame[8:]) == salt
}

func (c *checkpointer) loop(ctx context.Context) {
	for {
		select {
		case <-c.wake:
		case <-c.quit:
			return
		}
		for c.due() {
			if err := c.copy(ctx); err != nil {
				// The writer tries it, too, and tells whoever waits.
				c.logger.WarnContext(ctx, "pages of the database's log could not be copied; it is tried again", "error", err)
				break
			}
		}
	}
}

// alone runs f while nothing is copied: SQLite lets one copy at a time, and tells another
// at once that it is busy.
func (c *checkpointer) alone(f func() error) error {
	c.copying.Lock()
	defer c.copying.Unlock()
	return f()
}

// copy copies what it can without keeping anybody.
func (c *checkpointer) copy(ctx context.Context) error {
	c.copying.Lock()
	defer c.copying.Unlock()
	var busy, logged, copied int64
	if err := c.db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &logged, &copied); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// Somebody who reads may keep pages from being copied: then it is tried when there is more.
	c.next = max(c.next, logged, copied)
	if c.next < c.pages {
		c.next += max(1, c.pages/copyParts)
	} else {
		c.next += max(1, c.pages/restFactor)
	}
	return nil
}
