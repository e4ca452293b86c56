// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package translog

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// Times of asking witnesses.
const (
	// witnessTimeout is how long appending waits for witnesses.
	witnessTimeout = time.Second
	// askAgain is when those are asked again that did not sign.
	askAgain = 10 * time.Second
)

// Asked is a witness that is asked to sign the checkpoints of a log.
type Asked struct {
	URL string // the submission prefix, "https://witness.example/witness"
	Key *Witness

	mu   sync.Mutex
	size int64  // of the checkpoint that it signed last, as far as is known
	why  string // it did not sign last
}

// Cosign asks the witnesses for signatures of the newest checkpoint and keeps them with it. It
// returns which of them have signed. Witnesses that do not answer in time, or refuse, are left
// out, and the log says why, once. KindUnavailable and others: the store does not answer.
func (l *Log) Cosign(ctx context.Context) (int, error) {
	var head store.LogHead
	err := l.config.Store.View(ctx, func(r store.Reader) (err error) {
		head, err = r.LogHead(ctx)
		return err
	})
	if err != nil || head.Size == 0 {
		return 0, err
	}
	all := make([]*Witness, len(l.config.Witnesses))
	for i, w := range l.config.Witnesses {
		all[i] = w.Key
	}
	have, err := Cosigned(head.Checkpoint, all)
	if err != nil || len(have) == len(all) {
		return len(have), err
	}
	if err := l.config.Store.Settle(ctx); err != nil { // or a power cut might make it a fork
		return 0, err
	}
	lines := l.gather(ctx, head, have)
	if len(lines) == 0 {
		return len(have), nil
	}
	signed := bytes.Clone(head.Checkpoint)
	for _, line := range lines {
		signed = append(signed, line...)
	}
	return len(have) + len(lines), l.config.Store.Update(ctx, func(tx store.Tx) error { return tx.PutCosigned(ctx, head.Size, signed) })
}

// gather asks the witnesses that have not signed, all at a time, and returns the lines of those that do.
func (l *Log) gather(ctx context.Context, head store.LogHead, have map[string]time.Time) [][]byte {
	ctx, cancel := context.WithTimeout(ctx, witnessTimeout)
	defer cancel()
	var mu sync.Mutex
	var lines [][]byte
	var group sync.WaitGroup
	for _, w := range l.config.Witnesses {
		if _, ok := have[w.Key.String()]; ok {
			continue
		}
		group.Go(func() {
			line, err := l.ask(ctx, w, head)
			l.told(ctx, w, err)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				lines = append(lines, line)
			}
		})
	}
	group.Wait()
	return lines
}

// told logs that a witness no longer signs, or does so again.
func (l *Log) told(ctx context.Context, w *Asked, err error) {
	why := ""
	if err != nil {
		why = err.Error()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if why == w.why {
		return
	}
	w.why = why
	if err != nil {
		l.config.Logger.WarnContext(ctx, "a witness does not sign", "witness", w.Key.Name(), "error", err)
		return
	}
	l.config.Logger.InfoContext(ctx, "a witness signs again", "witness", w.Key.Name())
}

// ask asks one witness, again when it signed another checkpoint last than was thought.
func (l *Log) ask(ctx context.Context, w *Asked, head store.LogHead) ([]byte, error) {
	w.mu.Lock()
	old := min(w.size, head.Size)
	w.mu.Unlock()
	for range 2 {
		line, size, err := l.submit(ctx, w, head, old)
		if size < 0 || size > head.Size {
			if err == nil {
				w.mu.Lock()
				w.size = head.Size
				w.mu.Unlock()
			}
			return line, err
		}
		old = size
	}
	return nil, dossier.Errorf(dossier.KindConflict, "asking a witness", w.Key.Name(), "it signs for another log under this name, or another history of this one")
}

// submit sends the checkpoint once. size is what the witness signed last when that was another
// size than old; else -1.
func (l *Log) submit(ctx context.Context, w *Asked, head store.LogHead, old int64) (line []byte, size int64, err error) {
	const op = "asking a witness"
	fail := func(kind dossier.Kind, err error) ([]byte, int64, error) {
		return nil, -1, &dossier.Error{Kind: kind, Op: op, Subject: w.Key.Name(), Err: err}
	}
	var proof tlog.TreeProof
	if old > 0 && old < head.Size {
		err := l.config.Store.View(ctx, func(r store.Reader) (err error) {
			proof, err = Consistency(ctx, r, old, head.Size)
			return err
		})
		if err != nil {
			return nil, -1, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(w.URL, "/")+"/add-checkpoint", bytes.NewReader(submission(old, proof, head.Checkpoint)))
	if err != nil {
		return fail(dossier.KindInvalid, err)
	}
	resp, err := l.config.HTTP.Do(req)
	if err != nil {
		return fail(dossier.KindUnavailable, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxCheckpoint))
	switch {
	case err != nil:
		return fail(dossier.KindUnavailable, err)
	case resp.StatusCode == http.StatusConflict:
		n, err := strconv.ParseInt(strings.TrimSpace(string(body)), 10, 64)
		if err != nil || n == old {
			return fail(dossier.KindDenied, fmt.Errorf("it refuses: another history of the log was signed: %.200s", body))
		}
		return nil, n, &dossier.Error{Kind: dossier.KindConflict, Op: op, Subject: w.Key.Name(), Err: fmt.Errorf("it signed a checkpoint of %d entries last, and this has %d", n, head.Size)}
	case resp.StatusCode == http.StatusUnprocessableEntity:
		return fail(dossier.KindDenied, fmt.Errorf("it refuses: another history of the log was signed: %.200s", body))
	case resp.StatusCode != http.StatusOK:
		return fail(dossier.KindUnavailable, fmt.Errorf("%s: %.200s", resp.Status, body))
	}
	// Of what it sent only its own signature is taken.
	n, err := note.Open(append(bytes.Clone(textOf(head.Checkpoint)), body...), note.VerifierList(w.Key))
	if err != nil {
		return fail(dossier.KindDenied, fmt.Errorf("its signature: %w", err))
	}
	return fmt.Appendf(nil, "— %s %s\n", n.Sigs[0].Name, n.Sigs[0].Base64), -1, nil
}

// textOf returns what is signed of a note, with the empty line after it.
func textOf(signed []byte) []byte { return signed[:bytes.LastIndex(signed, []byte("\n\n"))+2] }
