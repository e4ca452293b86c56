// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"iter"
	"slices"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

const (
	factColumns = `position, id, subject, seq, kind, source, valid_at, recorded_at, salt, prev, leaf, body`

	factByID = `SELECT ` + factColumns + ` FROM fact WHERE id = $1`

	// newestOf is the end of a subject's chain.
	newestOf = `SELECT seq, leaf FROM fact WHERE subject = $1 ORDER BY seq DESC LIMIT 1`

	insertFact = `
INSERT INTO fact (id, subject, seq, kind, source, valid_at, recorded_at, body_hash, salt, prev, leaf, body)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (id) DO NOTHING
RETURNING position`

	insertRetraction = `INSERT INTO retraction (fact, by, recorded_at) VALUES ($1, $2, $3)`

	// factsKnown gives the facts of each subject, kind and source that are known
	// and valid by then and not taken back, the newest last: in the order of the
	// index, so that nothing is sorted. It is completed by ofKinds and
	// factsKnownOrder.
	factsKnown = `
SELECT ` + factColumns + ` FROM fact
WHERE subject IN (SELECT key FROM json_each($1))
  AND kind <> 'retraction' AND recorded_at <= $2 AND valid_at <= $3
  AND NOT EXISTS (SELECT 1 FROM retraction AS r WHERE r.fact = position AND r.recorded_at <= $2)`
	ofKinds         = ` AND kind IN (SELECT key FROM json_each($4))`
	factsKnownOrder = ` ORDER BY subject, kind, source, valid_at, seq`

	factChain = `SELECT ` + factColumns + ` FROM fact WHERE subject = $1 AND seq > $2 ORDER BY seq LIMIT $3`

	factsAfter = `SELECT ` + factColumns + ` FROM fact WHERE position > $1 ORDER BY position LIMIT $2`
)

const (
	saltSize = 32
	// holdingSubjects is of how many subjects Holding has the facts in memory
	// at a time, chainFacts how many facts Chain has.
	holdingSubjects = 256
	chainFacts      = 100
)

func scanFact(row scanner, f *store.Positioned) error {
	var validAt, recordedAt int64
	if err := row.Scan(&f.Position, &f.ID, &f.Subject, &f.Seq, &f.Kind, &f.Source,
		&validAt, &recordedAt, &f.Salt, &f.Prev, &f.Leaf, &f.Body); err != nil {
		return err
	}
	f.ValidAt, f.RecordedAt = instant(validAt), instant(recordedAt)
	if len(f.Body) == 0 {
		f.Body = nil // the engines differ in how they give an empty one
	}
	return nil
}

// head is the end of a subject's chain.
type head struct {
	seq  int64
	leaf dossier.Digest
}

func scanHead(row scanner, h *head) error { return row.Scan(&h.seq, &h.leaf) }

// Record implements [store.FactWriter].
func (t *tx) Record(ctx context.Context, s dossier.Statement) (dossier.Fact, bool, error) {
	const op = "recording fact"
	if err := s.Validate(); err != nil {
		return dossier.Fact{}, false, err
	}
	f := dossier.Fact{ID: s.ID(), Statement: s, RecordedAt: t.now}
	f.ValidAt = dossier.Instant(s.ValidAt)
	if len(f.Body) == 0 {
		f.Body = nil
	}
	var end head
	var err error
	chained := true // the subject has facts, as far as it is known: else it cannot have this one
	locks := t.dialect.lockHead != ""
	if !locks {
		if end, chained, err = one(ctx, t.session, op, scanHead, newestOf, f.Subject); err != nil {
			return dossier.Fact{}, false, err
		}
	}
	if chained {
		if kept, ok, err := one(ctx, t.session, op, scanFact, factByID, f.ID); err != nil || ok {
			return kept.Fact, false, err
		}
	}
	retracted, err := t.retracted(ctx, s)
	if err != nil {
		return dossier.Fact{}, false, err
	}
	if locks {
		if end, _, err = one(ctx, t.session, op, scanHead, t.dialect.lockHead, f.Subject); err != nil {
			return dossier.Fact{}, false, err
		}
	}
	f.Seq, f.Prev = end.seq, end.leaf
	return t.append(ctx, f, retracted)
}

// moveHead keeps where the chain of a subject ends, where there is a row for that.
func (t *tx) moveHead(ctx context.Context, op string, subject dossier.Digest, end head) error {
	if t.dialect.moveHead == "" {
		return nil
	}
	_, err := t.exec(ctx, op, t.dialect.moveHead, subject, end.seq, end.leaf)
	return err
}

// retracted returns the position of the fact that a statement takes back, or 0
// when it is no retraction.
func (t *tx) retracted(ctx context.Context, s dossier.Statement) (int64, error) {
	const op = "recording retraction"
	if s.Kind != dossier.FactRetraction {
		return 0, nil
	}
	var body dossier.RetractionBody
	if err := json.Unmarshal(s.Body, &body); err != nil {
		return 0, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Subject: string(s.Subject), Err: err}
	}
	if _, err := dossier.ParseDigest(string(body.Fact)); err != nil {
		return 0, fmt.Errorf("%s: %w", op, err)
	}
	f, ok, err := one(ctx, t.session, op, scanFact, factByID, body.Fact)
	if err != nil {
		return 0, err
	}
	if !ok || f.Subject != s.Subject || f.Kind == dossier.FactRetraction {
		return 0, dossier.Errorf(dossier.KindInvalid, op, string(body.Fact), "it is no fact of "+string(s.Subject)+" that can be taken back")
	}
	return f.Position, nil
}

// append adds f to the chain whose last link f.Seq and f.Prev name. The caller
// has locked its head, where there is one.
func (t *tx) append(ctx context.Context, f dossier.Fact, retracted int64) (dossier.Fact, bool, error) {
	const op = "recording fact"
	f.Seq++
	f.Salt = make([]byte, saltSize)
	rand.Read(f.Salt) // never fails
	bodyHash := dossier.BodyHash(f.Salt, f.Body)
	f.Leaf = f.LeafOf(bodyHash)
	body := f.Body
	if body == nil {
		body = []byte{} // NULL is for what was erased
	}
	position, ok, err := one(ctx, t.session, op, scanOne[int64], insertFact, f.ID, f.Subject, f.Seq, f.Kind, f.Source,
		micros(f.ValidAt), micros(f.RecordedAt), bodyHash, f.Salt, f.Prev, f.Leaf, body)
	if err != nil {
		return dossier.Fact{}, false, err
	}
	if !ok { // another transaction recorded it while this one waited for the head
		kept, _, err := one(ctx, t.session, op, scanFact, factByID, f.ID)
		return kept.Fact, false, err
	}
	if _, err := t.exec(ctx, op, addPending, position); err != nil {
		return dossier.Fact{}, false, err
	}
	if retracted != 0 {
		if _, err := t.exec(ctx, op, insertRetraction, retracted, position, micros(f.RecordedAt)); err != nil {
			return dossier.Fact{}, false, err
		}
	}
	return f, true, t.moveHead(ctx, op, f.Subject, head{f.Seq, f.Leaf})
}

// Fact implements [store.FactReader].
func (r reader) Fact(ctx context.Context, id dossier.Digest) (dossier.Fact, error) {
	const op = "reading fact"
	f, ok, err := one(ctx, r.session, op, scanFact, factByID, id)
	if err == nil && !ok {
		err = dossier.Errorf(dossier.KindNotFound, op, string(id), "there is no such fact")
	}
	return f.Fact, err
}

// Holding implements [store.FactReader].
func (r reader) Holding(ctx context.Context, subjects []dossier.Digest, at dossier.Times, kinds ...dossier.FactKind) iter.Seq2[dossier.Fact, error] {
	return func(yield func(dossier.Fact, error) bool) {
		query := factsKnown
		args := []any{"", bound(at.Recorded), bound(at.Valid)}
		if len(kinds) > 0 {
			kindKeys, err := keys(kinds)
			if err != nil {
				yield(dossier.Fact{}, err)
				return
			}
			query += ofKinds
			args = append(args, kindKeys)
		}
		query += factsKnownOrder
		sorted := slices.Compact(slices.Sorted(slices.Values(subjects)))
		for part := range slices.Chunk(sorted, holdingSubjects) {
			subjectKeys, err := keys(part)
			if err != nil {
				yield(dossier.Fact{}, err)
				return
			}
			args[0] = subjectKeys
			facts, err := all(ctx, r.session, "reading facts", scanFact, query, args...)
			if err != nil {
				yield(dossier.Fact{}, err)
				return
			}
			for i, f := range facts {
				if i+1 < len(facts) && sayTheSame(f, facts[i+1]) {
					continue // the next one is newer
				}
				if !yield(f.Fact, nil) {
					return
				}
			}
		}
	}
}

// sayTheSame reports whether only the newer of two facts can hold.
func sayTheSame(a, b store.Positioned) bool {
	return a.Subject == b.Subject && a.Kind == b.Kind && a.Source == b.Source
}

// Chain implements [store.FactReader].
func (r reader) Chain(ctx context.Context, subject dossier.Digest) iter.Seq2[dossier.Fact, error] {
	return func(yield func(dossier.Fact, error) bool) {
		for after := int64(0); ; {
			facts, err := all(ctx, r.session, "reading facts", scanFact, factChain, subject, after, chainFacts)
			if err != nil {
				yield(dossier.Fact{}, err)
				return
			}
			for _, f := range facts {
				if !yield(f.Fact, nil) {
					return
				}
				after = f.Seq
			}
			if len(facts) < chainFacts {
				return
			}
		}
	}
}

// Facts implements [store.FactReader].
func (r reader) Facts(ctx context.Context, after int64, limit int) ([]store.Positioned, error) {
	return all(ctx, r.session, "reading facts", scanFact, factsAfter, after, max(0, limit))
}
