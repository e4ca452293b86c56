// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"encoding/json"
	"errors"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/trust"
)

// SignerPins returns who is pinned as the signer of which repository, by repository.
func (e *Engine) SignerPins(ctx context.Context) ([]dossier.SignerPin, error) {
	var pins []dossier.SignerPin
	err := e.store.View(ctx, func(r store.Reader) (err error) {
		pins, err = r.SignerPins(ctx)
		return err
	})
	return pins, err
}

// signerPin returns who is pinned for a repository, and the fact that says so; nil: nobody is.
func signerPin(ctx context.Context, r store.FactReader, scope string) (pin *dossier.SignerPin, fact dossier.Digest, err error) {
	for f, err := range r.Holding(ctx, []dossier.Digest{dossier.ScopeSubject(scope)}, dossier.Times{}, dossier.FactPin) {
		if err != nil {
			return nil, "", err
		}
		pin, fact = &dossier.SignerPin{}, f.ID
		if err := json.Unmarshal(f.Body, pin); err != nil {
			return nil, "", &dossier.Error{Kind: dossier.KindCorrupt, Op: "reading pinned signer", Subject: scope, Err: err}
		}
	}
	return pin, fact, nil
}

// pinnedFor returns who is pinned for the repository of an image; nil: nobody is.
func (e *Engine) pinnedFor(ctx context.Context, ref dossier.Reference) (pin *dossier.SignerPin, err error) {
	err = e.store.View(ctx, func(r store.Reader) error {
		pin, _, err = signerPin(ctx, r, trust.Scope(ref))
		return err
	})
	return pin, err
}

// pinSigner keeps a pin, as a fact too. It returns the one that counts: another, when
// somebody else was first.
func (e *Engine) pinSigner(ctx context.Context, p dossier.SignerPin) (kept dossier.SignerPin, err error) {
	err = e.store.Update(ctx, func(tx store.Tx) error {
		kept, err = e.keepPin(ctx, tx, p)
		return err
	})
	return kept, err
}

func (e *Engine) keepPin(ctx context.Context, tx store.Tx, p dossier.SignerPin) (kept dossier.SignerPin, err error) {
	s, err := p.Statement()
	if err != nil {
		return kept, err
	}
	// The row keeps others waiting, and the facts are what counts: a row that was taken away
	// makes nobody the first again, and one that no fact speaks of pins nobody.
	listed, _, err := tx.PinSigner(ctx, p)
	if err != nil {
		return kept, err
	}
	said, _, err := signerPin(ctx, tx, p.Scope)
	if err != nil {
		return kept, err
	}
	if kept = p; said != nil {
		kept = *said
	}
	if listed != kept {
		if err := tx.PutSignerPin(ctx, kept); err != nil {
			return kept, err
		}
	}
	if said != nil {
		return kept, nil
	}
	if _, _, err := tx.Record(ctx, s); err != nil {
		return kept, err
	}
	return kept, e.config.outbox().All(ctx, tx)
}

// unpinned returns who was ever unpinned in a repository, once for each time.
func unpinned(ctx context.Context, r store.FactReader, scope string) (signers []string, err error) {
	pinned := map[dossier.Digest]string{} // by fact
	for f, err := range r.Chain(ctx, dossier.ScopeSubject(scope)) {
		if err != nil {
			return nil, err
		}
		var pin dossier.SignerPin
		var back dossier.RetractionBody
		switch f.Kind {
		case dossier.FactPin:
			err = json.Unmarshal(f.Body, &pin)
			pinned[f.ID] = pin.Signer
		case dossier.FactRetraction:
			err = json.Unmarshal(f.Body, &back)
			signers = append(signers, pinned[back.Fact])
		}
		if err != nil {
			return nil, &dossier.Error{Kind: dossier.KindCorrupt, Op: "reading pinned signer", Subject: scope, Err: err}
		}
	}
	return signers, nil
}

// pinFirst pins who signed an image, where the trust policy takes the first and nobody is
// pinned: in the repository that the evidence was read of, and in no other that has the image
// too. Whoever may push to one does not decide who signs in another. Where somebody was
// unpinned it pins nobody: the old signature is still there, and is read again and again.
func (e *Engine) pinFirst(ctx context.Context, tx store.Tx, name string, on dossier.Digest, evidence []trust.Evidence) error {
	policy, _, _ := e.Trusted.Policy()
	if policy == nil || dossier.IsLocal(name) {
		return nil
	}
	ref, err := dossier.ParseReference(name)
	if err != nil || !policy.FirstUse(ref) {
		return nil
	}
	ref.Tag, ref.Digest = "", on
	pin, _, err := signerPin(ctx, tx, trust.Scope(ref))
	if err != nil || pin != nil {
		return err
	}
	if was, err := unpinned(ctx, tx, trust.Scope(ref)); err != nil || len(was) > 0 {
		return err
	}
	if d := policy.Decide(ref, on, evidence, nil, e.config.Now()); d.Pin != nil && d.Pin.Made {
		_, err = e.keepPin(ctx, tx, d.Pin.SignerPin)
	}
	return err
}

// UnpinSigner takes back who is pinned for a repository, for a reason that is recorded. From
// then on only VerifyImage pins there, and that signer only by [Verification].PinAgain. KindInvalid: without a reason. KindNotFound: nobody is pinned.
func (e *Engine) UnpinSigner(ctx context.Context, scope, reason string) (was dossier.SignerPin, err error) {
	const op = "unpinning a signer"
	if reason == "" {
		return was, dossier.Errorf(dossier.KindInvalid, op, scope, "a reason is needed, for those who look later")
	}
	err = e.store.Update(ctx, func(tx store.Tx) error {
		had, err := tx.UnpinSigner(ctx, scope)
		if err != nil {
			return err
		}
		pin, fact, err := signerPin(ctx, tx, scope)
		switch {
		case err != nil:
			return err
		case pin == nil && !had:
			return &dossier.Error{Kind: dossier.KindNotFound, Op: op, Subject: scope, Err: errors.New("nobody is pinned for it"), Hint: "dossier trust pins lists who is"}
		case pin == nil:
			was = dossier.SignerPin{Scope: scope, Signer: "who was listed"}
			return nil
		}
		was = *pin
		s, err := pin.Unpinned(fact, reason, e.config.Now())
		if err != nil {
			return err
		}
		if _, _, err := tx.Record(ctx, s); err != nil {
			return err
		}
		return e.config.outbox().All(ctx, tx)
	})
	return was, err
}
