// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"errors"
	"fmt"
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
//
// What is committed is seen before the disk has it. Whoever tells the world of something
// that must not come back differently, such as a signed head, calls settle first.
type syncer struct {
	sync func() error // an fsync of the log
	done sync.WaitGroup
	wake chan struct{}

	mu      sync.Mutex
	waiting []*turn
	failed  error // why pages of the log may be missing on the disk
	closed  bool
}

// newSyncer starts a syncer that syncs by the given function.
func newSyncer(fsync func() error) *syncer {
	s := &syncer{sync: fsync, wake: make(chan struct{}, 1)}
	s.done.Go(s.loop)
	return s
}

// close ends it. Nobody may be waiting.
func (s *syncer) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.ring()
	s.done.Wait()
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
		turns, fsync, failed, closed := s.waiting, s.sync, s.failed, s.closed
		s.waiting = nil
		s.mu.Unlock()
		if len(turns) > 0 && failed == nil {
			if failed = fsync(); failed != nil {
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

// settle waits until the disk has all that anybody has seen.
func (s *syncer) settle(ctx context.Context) error {
	t := &turn{kind: onDisk, commit: make(chan error, 1)}
	s.acknowledge([]*turn{t})
	select {
	case err := <-t.commit:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// recover has the whole database written and the log begun anew when an fsync has failed:
// the kernel then takes pages for written that were not, so that later ones of the same
// log say nothing. It returns an error as long as that fails too. What is written is what
// the kernel still has of the log; one that drops pages that it could not write loses them.
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
