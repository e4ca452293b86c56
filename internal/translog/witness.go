// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package translog

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// WitnessPath is where a Witnesser takes checkpoints; the URL before it is the submission
// prefix of C2SP tlog-witness.
const WitnessPath = "/witness/add-checkpoint"

// maxProof is how many hashes a proof of consistency may have (C2SP tlog-witness).
const maxProof = 63

// Witnesser signs checkpoints of other logs, each as long as it extends those that it signed
// before (C2SP tlog-witness). What it signed is in the store, before anybody is told, so
// replicas on one store are one witness.
type Witnesser struct {
	Store  store.Store
	Signer note.Signer     // WitnessSigner
	Logs   []note.Verifier // whose checkpoints are signed, by their keys
	Logger *slog.Logger    // nil: silent
}

// WitnessSigner returns what signs checkpoints with a key that OpenKey read, and the verifier
// key of it, which ParseWitness reads. now may be nil.
func WitnessSigner(path string, now func() time.Time) (note.Signer, *Witness, error) {
	b, err := readKey(path, "witness")
	if err != nil {
		return nil, nil, err
	}
	name, secret, err := secretOf(b)
	if err != nil {
		return nil, nil, keyError(path, err)
	}
	public := secret.Public().(ed25519.PublicKey)
	w := Witness{name, cosignatureKeyHash(name, public), public}
	if now == nil {
		now = time.Now
	}
	return &witnessSigner{w, secret, now}, &w, nil
}

// request is what is asked of a witness.
type witnessRequest struct {
	old    int64
	proof  tlog.TreeProof
	signed []byte
}

// parseWitnessRequest reads the body of add-checkpoint.
func parseWitnessRequest(body []byte) (witnessRequest, error) {
	var r witnessRequest
	head, signed, ok := bytes.Cut(body, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	size, found := strings.CutPrefix(lines[0], "old ")
	old, err := decimal(size)
	if !ok || !found || err != nil {
		return r, errors.New("it does not begin with the old size")
	}
	if len(lines)-1 > maxProof {
		return r, errors.New("the proof is too long")
	}
	r.old, r.signed = old, signed
	for _, line := range lines[1:] {
		h, err := parseHash(line)
		if err != nil {
			return r, errors.New("the proof is not made of hashes")
		}
		r.proof = append(r.proof, h)
	}
	return r, nil
}

// refusal is a response that is no signature.
type refusal struct {
	status int
	why    string
	size   int64 // for 409: of the newest checkpoint that was signed
}

func (r *refusal) Error() string { return r.why }

// ServeHTTP implements http.Handler.
func (w *Witnesser) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		rw.Header().Set("Allow", "POST")
		http.Error(rw, "checkpoints are posted", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxCheckpoint))
	if err != nil {
		http.Error(rw, "it is too large, or did not arrive", http.StatusBadRequest)
		return
	}
	signature, err := w.Add(r.Context(), body)
	var no *refusal
	switch {
	case err == nil:
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = rw.Write(signature) // who has left asks again
	case errors.As(err, &no) && no.status == http.StatusConflict:
		rw.Header().Set("Content-Type", "text/x.tlog.size")
		rw.WriteHeader(no.status)
		_, _ = fmt.Fprintln(rw, no.size)
	case errors.As(err, &no):
		http.Error(rw, no.why, no.status)
	default:
		if w.Logger != nil {
			w.Logger.ErrorContext(r.Context(), "a checkpoint could not be witnessed", "error", err)
		}
		rw.Header().Set("Retry-After", "5")
		http.Error(rw, "the store of the witness does not answer", http.StatusServiceUnavailable)
	}
}

// Add takes the body of a request and returns the line of the signature.
func (w *Witnesser) Add(ctx context.Context, body []byte) ([]byte, error) {
	req, err := parseWitnessRequest(body)
	if err != nil {
		return nil, &refusal{http.StatusBadRequest, err.Error(), 0}
	}
	c, err := w.open(req.signed)
	if err != nil {
		return nil, err
	}
	if req.old > c.Size {
		return nil, &refusal{http.StatusBadRequest, "the old size is larger than that of the checkpoint", 0}
	}
	err = w.Store.Update(ctx, func(tx store.Tx) error {
		seen, err := tx.LockWitnessed(ctx, c.Origin)
		if err != nil {
			return err
		}
		if no := judgeCheckpoint(req, c, seen); no != nil {
			if no.status == http.StatusUnprocessableEntity && w.Logger != nil {
				w.Logger.ErrorContext(ctx, "a log shows two histories", "log", c.Origin, "signed", seen.Size, "asked", c.Size, "checkpoint", string(req.signed))
			}
			return no
		}
		return tx.PutWitnessed(ctx, store.Witnessed{Origin: c.Origin, Size: c.Size, Root: c.Root[:], Checkpoint: req.signed})
	})
	if err != nil {
		return nil, err
	}
	return signatureLine(req.signed, w.Signer)
}

// open reads a checkpoint of one of the logs.
func (w *Witnesser) open(signed []byte) (Checkpoint, error) {
	origin, _, _ := strings.Cut(string(signed), "\n")
	no := &refusal{http.StatusNotFound, "this witness does not sign for the log", 0}
	for _, log := range w.Logs {
		if log.Name() != origin {
			continue
		}
		c, err := OpenCheckpoint(signed, log)
		if err == nil {
			return c, nil
		}
		if no = (&refusal{http.StatusForbidden, "the checkpoint is not signed by the log", 0}); dossier.KindOf(err) != dossier.KindDenied {
			no = &refusal{http.StatusBadRequest, "it has no checkpoint", 0}
		}
	}
	return Checkpoint{}, no
}

// judgeCheckpoint says why a checkpoint is not signed after one that was seen, or nil.
func judgeCheckpoint(req witnessRequest, c Checkpoint, seen store.Witnessed) *refusal {
	if req.old != seen.Size {
		return &refusal{http.StatusConflict, "another checkpoint was signed last", seen.Size}
	}
	if seen.Size == 0 {
		if len(req.proof) > 0 {
			return &refusal{http.StatusUnprocessableEntity, "there is a proof where none is needed", 0}
		}
		return nil
	}
	if seen.Size == c.Size {
		if len(req.proof) > 0 || !bytes.Equal(seen.Root, c.Root[:]) {
			return &refusal{http.StatusConflict, "another checkpoint of that size was signed", seen.Size}
		}
		return nil
	}
	if err := tlog.CheckTree(req.proof, c.Size, c.Root, seen.Size, tlog.Hash(seen.Root)); err != nil {
		return &refusal{http.StatusUnprocessableEntity, "the checkpoint does not extend the one that was signed last", 0}
	}
	return nil
}

// signatureLine signs the text of a signed note and returns the line that is put under it.
func signatureLine(signed []byte, s note.Signer) ([]byte, error) {
	end := bytes.LastIndex(signed, []byte("\n\n"))
	if end < 0 {
		return nil, errors.New("it is no signed note")
	}
	whole, err := note.Sign(&note.Note{Text: string(signed[:end+1])}, s)
	if err != nil {
		return nil, err
	}
	return whole[end+2:], nil
}

// submission is a request to a witness for a checkpoint that extends one of an old size.
func submission(old int64, proof tlog.TreeProof, signed []byte) []byte {
	var b bytes.Buffer
	b.WriteString("old " + strconv.FormatInt(old, 10) + "\n")
	for _, h := range proof {
		b.WriteString(h.String() + "\n")
	}
	b.WriteByte('\n')
	b.Write(signed)
	return b.Bytes()
}
