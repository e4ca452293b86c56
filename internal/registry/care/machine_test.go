// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package care_test

import (
	"context"
	"io"
	"math/rand/v2"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
	"dossier.dev/dossier/internal/store"
)

// stage lets several actors go on one step at a time: a transaction, or a call of
// the blob store. Whose turn it is, a seed decides, so that a failure can be seen
// again. What an actor does within a step nobody sees half.
type stage struct {
	random  *rand.Rand
	arrived chan *actor // waits for its next step
	left    chan *actor // has ended
	waiting []*actor
	running int
	steps   int
}

// actor is a client or a collector.
type actor struct {
	name string
	turn chan struct{}
}

type actorKey struct{}

func newStage(seed uint64) *stage {
	return &stage{random: rand.New(rand.NewPCG(seed, 0)), arrived: make(chan *actor), left: make(chan *actor)}
}

// enter lets an actor begin.
func (s *stage) enter(ctx context.Context, name string, act func(context.Context)) {
	a := &actor{name: name, turn: make(chan struct{})}
	s.running++
	go func() {
		defer func() { s.left <- a }()
		act(context.WithValue(ctx, actorKey{}, a))
	}()
}

// step waits for the turn of whoever acts in ctx. Others, such as the test itself,
// do not wait.
func (s *stage) step(ctx context.Context) {
	if a, ok := ctx.Value(actorKey{}).(*actor); ok {
		s.arrived <- a
		<-a.turn
	}
}

// run gives turns until no actor is left. between is called while all wait.
func (s *stage) run(between func()) {
	for {
		for s.running > 0 {
			select {
			case a := <-s.arrived:
				s.waiting = append(s.waiting, a)
			case <-s.left:
			}
			s.running--
		}
		between()
		if s.running > 0 {
			continue // between let somebody enter
		}
		if len(s.waiting) == 0 {
			return
		}
		// In the order of names, not of arrival, which no seed decides.
		next := 0
		pick := s.random.IntN(len(s.waiting))
		for i := range s.waiting {
			rank := 0
			for _, other := range s.waiting {
				if other.name < s.waiting[i].name {
					rank++
				}
			}
			if rank == pick {
				next = i
			}
		}
		a := s.waiting[next]
		s.waiting = append(s.waiting[:next], s.waiting[next+1:]...)
		s.running, s.steps = 1, s.steps+1
		a.turn <- struct{}{}
	}
}

// stagedStore makes each transaction a step.
type stagedStore struct {
	store.Store
	*stage
}

func (s stagedStore) View(ctx context.Context, f func(store.Reader) error) error {
	s.step(ctx)
	return s.Store.View(ctx, f)
}

func (s stagedStore) Update(ctx context.Context, f func(store.Tx) error) error {
	s.step(ctx)
	return s.Store.Update(ctx, f)
}

// stagedBlobs makes reading, committing and deleting bytes steps.
type stagedBlobs struct {
	blob.Store
	*stage
}

func (s stagedBlobs) Delete(ctx context.Context, key string) error {
	s.step(ctx)
	return s.Store.Delete(ctx, key)
}

func (s stagedBlobs) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	s.step(ctx)
	return s.Store.Open(ctx, key, offset, length)
}

func (s stagedBlobs) Create(ctx context.Context, key string) (blob.Writer, error) {
	w, err := s.Store.Create(ctx, key)
	return stagedWriter{w, s.stage}, err
}

type stagedWriter struct {
	blob.Writer
	*stage
}

// Commit implements blob.Writer.
func (w stagedWriter) Commit(ctx context.Context) (int64, dossier.Digest, error) {
	w.step(ctx)
	return w.Writer.Commit(ctx)
}
