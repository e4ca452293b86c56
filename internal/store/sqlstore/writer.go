// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"sync"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// How much one commit gathers.
const (
	maxGroup = 256
	maxDelay = 5 * time.Millisecond
)

// writer lets Updates write, one after another, and commits those together that
// wait at the same time. Each function runs in the goroutine of its caller while
// the writer's own goroutine, which ends with close, waits for it. A commit waits
// for no disk, but for one in many that SQLite has empty its log: the syncer tells who
// wants to know that the disk has it.
type writer struct {
	db      *sql.DB
	conn    *sqliteConn
	session func(runner) *session
	queue   chan *turn // unbuffered: who sends waits
	log     *os.File   // the write-ahead log
	syncer  *syncer
	copier  *checkpointer
	quit    chan struct{}
	done    sync.WaitGroup
}

// turn is one Update on its way through the writer.
type turn struct {
	since  time.Time       // when the caller came
	gone   <-chan struct{} // closed when the caller no longer waits for its turn
	begin  chan start
	ran    chan error // the caller's function has returned
	commit chan error // the outcome
	alone  bool       // share the commit with nobody
	kind   commit
}

// start is what a caller gets when its turn comes.
type start struct {
	session *session
	err     error // the transaction could not begin
}

// errShared says that a commit failed, maybe by another's fault.
var errShared = errors.New("the shared commit failed")

// errAbandoned says that a caller's function did not return but panicked.
var errAbandoned = errors.New("the function panicked")

// newWriter starts a writer on a connection that has read already, whose own statements
// run with ctx.
func newWriter(ctx context.Context, db *sql.DB, conn *sqliteConn, session func(runner) *session, copier func(log *os.File) *checkpointer) (*writer, error) {
	log, err := conn.openLog(ctx)
	if err != nil {
		return nil, err
	}
	w := &writer{db: db, conn: conn, session: session, queue: make(chan *turn), log: log, syncer: newSyncer(log.Sync), copier: copier(log), quit: make(chan struct{})}
	w.done.Go(func() { w.loop(ctx) })
	return w, nil
}

// close ends the writer. No update may be running.
func (w *writer) close() error {
	close(w.quit)
	w.done.Wait()
	w.syncer.close()
	return errors.Join(w.copier.close(), w.log.Close(), w.conn.close(), w.db.Close())
}

// update runs f in a transaction. When one that was shared fails, it runs f
// again in one of its own.
func (w *writer) update(ctx context.Context, f func(store.Tx) error, kind commit) error {
	err := w.once(ctx, f, kind, false)
	if errors.Is(err, errShared) {
		err = w.once(ctx, f, kind, true)
	}
	return err
}

func (w *writer) once(ctx context.Context, f func(store.Tx) error, kind commit, alone bool) error {
	const op = "writing database"
	t := &turn{
		since: time.Now(), gone: ctx.Done(), alone: alone, kind: kind, begin: make(chan start), ran: make(chan error), commit: make(chan error, 1),
	}
	select {
	case w.queue <- t:
	case <-ctx.Done():
		return engineError(op, "", ctx.Err())
	}
	var s *session
	select {
	case got := <-t.begin:
		if got.err != nil {
			return engineError(op, "", got.err)
		}
		s = got.session
	case <-ctx.Done():
		return engineError(op, "", ctx.Err())
	}
	err := errAbandoned
	defer func() {
		if err == errAbandoned { // f panicked, or ended its goroutine
			s.ended = true
			t.ran <- err
		}
	}()
	err = f(&tx{reader{s}})
	s.ended = true
	if err != nil {
		t.ran <- err
		return err
	}
	if s.failed != nil {
		err = s.failed
		t.ran <- err
		return err
	}
	t.ran <- nil
	err = <-t.commit
	if errors.Is(err, errShared) {
		return err
	}
	if s.enqueue { // also when it is seen but may not be on the disk
		s.wake.ring()
	}
	if err != nil {
		return engineError(op, "", err)
	}
	return nil
}

// loop serves turns until close.
func (w *writer) loop(ctx context.Context) {
	for {
		select {
		case t := <-w.queue:
			for t != nil {
				t = w.group(ctx, t)
			}
		case <-w.quit:
			return
		}
	}
}

// group serves first and those who queue meanwhile in one transaction. It
// returns a turn that needs another transaction, or nil.
func (w *writer) group(ctx context.Context, first *turn) (next *turn) {
	if err := w.begin(ctx); err != nil {
		return w.refuse(first, err)
	}
	began := time.Now()
	var served []*turn
	turns := 0 // with those that were undone
	for t := first; t != nil; {
		turns++
		serve := w.serve
		if len(served) > 0 {
			serve = w.serveApart
		}
		whole, kept := serve(ctx, t)
		if kept {
			served = append(served, t)
		}
		if !whole {
			w.lose(ctx, served)
			return nil
		}
		if t = nil; first.alone || len(served) >= maxGroup || time.Since(began) > maxDelay {
			break
		}
		select {
		case t = <-w.queue:
		default:
		}
		if t != nil && t.alone {
			next = t
			break
		}
	}
	if len(served) == 0 {
		w.reset(ctx)
		return next
	}
	if err := w.conn.do(ctx, "COMMIT"); err != nil {
		if turns == 1 { // it is nobody else's fault
			served[0].commit <- err
			served = nil
		}
		w.lose(ctx, served)
		return next
	}
	w.syncer.acknowledge(served)
	w.copier.written()
	return next
}

// begin begins a transaction.
func (w *writer) begin(ctx context.Context) error {
	if err := w.syncer.recover(func() error { return w.copier.alone(func() error { return w.conn.checkpoint(ctx) }) }); err != nil {
		return err
	}
	return w.conn.do(ctx, "BEGIN IMMEDIATE")
}

// serve gives t its turn in a transaction in which nothing was done yet. kept: t waits for
// the commit. whole: the transaction still stands.
func (w *writer) serve(ctx context.Context, t *turn) (whole, kept bool) {
	if !t.offer(start{session: w.session(steady{w.conn})}) {
		return true, false
	}
	err := <-t.ran
	return err == nil, err == nil
}

// serveApart is serve after others, whose work must stand when t fails: within a savepoint,
// for which SQLite remembers how each page was that t changes.
func (w *writer) serveApart(ctx context.Context, t *turn) (whole, kept bool) {
	if err := w.conn.do(ctx, "SAVEPOINT part"); err != nil {
		t.offer(start{err: err})
		return false, false
	}
	if !t.offer(start{session: w.session(steady{w.conn})}) {
		return w.conn.do(ctx, "RELEASE part") == nil, false
	}
	if err := <-t.ran; err != nil {
		if kind := dossier.KindOf(err); kind == dossier.KindCorrupt || kind == dossier.KindStorage {
			// After such an error of its own SQLite may take what is whole for damaged, until
			// the transaction ends (https://www.sqlite.org/lang_transaction.html, section 3).
			return false, false
		}
		return w.conn.do(ctx, "ROLLBACK TO part") == nil && w.conn.do(ctx, "RELEASE part") == nil, false
	}
	if err := w.conn.do(ctx, "RELEASE part"); err != nil {
		t.commit <- err
		return false, false
	}
	return true, true
}

// offer begins t's turn unless its caller has gone.
func (t *turn) offer(s start) bool {
	select {
	case t.begin <- s:
		return true
	case <-t.gone:
		return false
	}
}

// refuse tells first, and all who waited with it, that no transaction can begin: had
// each to wait for a locked database in turn, the last would wait for ever. Who came after
// the attempt has an attempt of its own: it is the next turn.
func (w *writer) refuse(first *turn, err error) (next *turn) {
	tried := time.Now()
	first.offer(start{err: err})
	for {
		select {
		case t := <-w.queue:
			if t.since.After(tried) {
				return t
			}
			t.offer(start{err: err})
		default:
			return nil
		}
	}
}

// lose ends a transaction that failed and lets those whose work was in it try
// again by themselves.
func (w *writer) lose(ctx context.Context, served []*turn) {
	w.reset(ctx)
	for _, t := range served {
		t.commit <- errShared
	}
}

// reset ends a transaction that SQLite may have ended already.
func (w *writer) reset(ctx context.Context) {
	// An error says that no transaction is open, which is what is wanted; any
	// other fault will show at the next BEGIN.
	_ = w.conn.do(ctx, "ROLLBACK")
}
