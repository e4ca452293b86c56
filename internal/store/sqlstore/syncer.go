// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// syncer tells Updates that were committed when the disk has them, by an fsync of
// the write-ahead log that SQLite, with synchronous=NORMAL, leaves out. The writer
// goes on meanwhile, so that one fsync is enough for all that was committed during
// the one before it, and nobody who needs none waits for any.
//
// That is as safe as synchronous=FULL: a frame of the log counts after a power cut
// when all before it are whole, and an fsync covers whatever was written before.
// SQLite itself syncs the log before it copies pages out of it, and the database
// before it writes over what it copied.
type syncer struct {
	path string   // of the log
	file *os.File // it, once it was needed
	done sync.WaitGroup
	wake chan struct{}

	mu      sync.Mutex
	waiting []*turn
	failed  error // why pages of the log may be missing on the disk
	closed  bool
}

// newSyncer starts a syncer of the database at path.
func newSyncer(path string) *syncer {
	s := &syncer{path: path + "-wal", wake: make(chan struct{}, 1)}
	s.done.Go(s.loop)
	return s
}

// close ends it. Nobody may be waiting.
func (s *syncer) close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.ring()
	s.done.Wait()
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

func (s *syncer) ring() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// acknowledge takes turns whose transaction was committed, and tells each its
// outcome: now, or when the disk has it.
func (s *syncer) acknowledge(turns []*turn) {
	s.mu.Lock()
	before := len(s.waiting)
	for _, t := range turns {
		if t.kind == onDisk {
			s.waiting = append(s.waiting, t)
		} else {
			t.commit <- nil
		}
	}
	more := len(s.waiting) > before
	s.mu.Unlock()
	if more {
		s.ring()
	}
}

func (s *syncer) loop() {
	for range s.wake {
		s.mu.Lock()
		turns, failed, closed := s.waiting, s.failed, s.closed
		s.waiting = nil
		s.mu.Unlock()
		if len(turns) > 0 && failed == nil {
			if failed = s.sync(); failed != nil {
				s.mu.Lock()
				s.failed = failed
				s.mu.Unlock()
			}
		}
		for _, t := range turns {
			t.commit <- failed
		}
		if closed {
			return
		}
	}
}

func (s *syncer) sync() (err error) {
	if s.file == nil {
		if s.file, err = os.OpenFile(s.path, os.O_RDWR, 0); err != nil {
			return err
		}
	}
	if err = s.file.Sync(); err != nil {
		err = errors.Join(err, s.file.Close())
		s.file = nil
	}
	return err
}

// recover has the whole database written when an fsync has failed: the kernel then
// takes pages for written that were not, so that later ones of the same log say
// nothing. It returns an error as long as that fails too.
func (s *syncer) recover(checkpoint func() error) error {
	s.mu.Lock()
	failed := s.failed
	s.mu.Unlock()
	if failed == nil {
		return nil
	}
	if err := checkpoint(); err != nil {
		return fmt.Errorf("the log of the database could not be synced, and it could not be written elsewhere: %w", errors.Join(failed, err))
	}
	s.mu.Lock()
	s.failed = nil
	s.mu.Unlock()
	return nil
}
