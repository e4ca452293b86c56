// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"golang.org/x/mod/sumdb/note"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/answer"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/translog"
)

// Prover answers, and proves it. Answerer and Log are required.
type Prover struct {
	Answerer answer.Answerer
	Log      *translog.Log // of the Answerer's store
	Digests  *FeedDigests  // remembered from one proof to the next; nil: nothing is
}

// errWaiting says that facts of the evidence are not in the log yet.
var errWaiting = errors.New("facts are not in the log yet")

// attempts is how often a proof is tried while facts are recorded meanwhile.
const attempts = 20

// Prove answers the five questions about a digest, which ref was found to mean, and proves what it
// says. Facts that are not in the log yet are appended to it first.
// KindNotFound: nothing is known of it. KindConflict: the log is signed by another key.
func (p Prover) Prove(ctx context.Context, ref string, d dossier.Digest, at dossier.Times) ([]byte, error) {
	var err error
	for range attempts {
		var f *File
		if f, err = p.try(ctx, ref, d, at); err == nil {
			return json.Marshal(f)
		}
		if !errors.Is(err, errWaiting) {
			return nil, err
		}
		if _, err := p.Log.Append(ctx); err != nil {
			return nil, err
		}
	}
	return nil, &dossier.Error{Kind: dossier.KindUnavailable, Op: "proving an answer", Subject: string(d), Err: err}
}

func (p Prover) try(ctx context.Context, ref string, d dossier.Digest, at dossier.Times) (*File, error) {
	f := &File{Format: Format, Ref: ref, At: at, Policy: p.Answerer.Policy}
	var checkpoint translog.Checkpoint
	evidence, err := p.Answerer.GatherWith(ctx, d, at, func(r store.Reader, e answer.Evidence) (err error) {
		checkpoint, err = f.prove(ctx, r, &e, p.Log.Key())
		return err
	})
	if err != nil {
		return nil, err
	}
	told := answer.Dossier(evidence, f.Policy)
	if told.MediaType == "" && len(told.Running) == 0 && len(told.References) == 0 && len(evidence.Facts) == 0 {
		return nil, dossier.Errorf(dossier.KindNotFound, "proving an answer", string(d), "nothing is known of this digest")
	}
	if f.Dossier, err = compact(told); err != nil {
		return nil, err
	}
	if f.Evidence, err = compact(evidence); err != nil {
		return nil, err
	}
	if f.Feeds, err = p.feeds(ctx, evidence.Feeds); err != nil {
		return nil, err
	}
	claim, err := f.claim(checkpoint)
	if err != nil {
		return nil, err
	}
	signed, err := p.Log.Claim(claim)
	f.Claim = string(signed)
	return f, err
}

// prove adds what the log says of the evidence.
func (f *File) prove(ctx context.Context, r store.Reader, e *answer.Evidence, key string) (translog.Checkpoint, error) {
	head, err := r.LogHead(ctx)
	if err != nil {
		return translog.Checkpoint{}, err
	}
	if head.Size == 0 || head.Mapped < head.Size {
		return translog.Checkpoint{}, errWaiting
	}
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return translog.Checkpoint{}, err
	}
	c, err := translog.OpenCheckpoint(head.Checkpoint, verifier)
	if err != nil {
		return c, err
	}
	ids := make([]dossier.Digest, len(e.Facts))
	for i, fact := range e.Facts {
		ids[i] = fact.ID
	}
	places, err := r.LogIndexes(ctx, ids)
	if err != nil {
		return c, err
	}
	f.Log = Log{Checkpoint: string(head.Checkpoint), Entries: make([]int64, len(ids)), Heads: []translog.Head{}}
	for i, id := range ids {
		var ok bool
		if f.Log.Entries[i], ok = places[id]; !ok {
			return c, errWaiting
		}
		if len(e.Facts[i].Body) > 0 {
			continue
		}
		entry, err := r.LogFacts(ctx, f.Log.Entries[i], 1)
		if err != nil {
			return c, err
		}
		if len(entry) == 1 && entry[0].Erased && entry[0].Fact.ID == id {
			if f.Log.Erased == nil {
				f.Log.Erased = map[dossier.Digest]dossier.Digest{}
			}
			f.Log.Erased[id] = entry[0].BodyHash
		}
	}
	if len(ids) > 0 {
		hashes, err := translog.Inclusions(ctx, r, f.Log.Entries, c.Size)
		if err != nil {
			return c, err
		}
		f.Log.Inclusion = joinHashes(hashes)
	}
	if err := f.addLayers(ctx, r, e.Facts); err != nil {
		return c, err
	}
	if all := subjects(e); len(all) > 0 {
		heads, proof, err := translog.Heads(ctx, r, all)
		if err != nil {
			return c, err
		}
		f.Log.Heads, f.Log.Map = append(f.Log.Heads, heads...), proof
	}
	return c, nil
}

// compact returns a value as JSON that stays as it is when it is written as a part of other JSON.
func compact(v any) (json.RawMessage, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = json.Compact(&out, b)
	return out.Bytes(), err
}
