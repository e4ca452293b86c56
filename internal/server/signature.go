// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"slices"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/ingest"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/trust"
)

// Judgement decides about an image from evidence. pin is who is pinned for its repository, or nil.
type Judgement func(ref dossier.Reference, digest dossier.Digest, evidence []trust.Evidence, pin *dossier.SignerPin, at time.Time) trust.Decision

// Verification is how to verify an image.
type Verification struct {
	Judge Judgement
	// Lookaside returns where signatures by OpenPGP lie that are not in the registry, or
	// ""; nil: nowhere.
	Lookaside func(dossier.Reference) string
	// PinAgain lets a signer be pinned who was unpinned in that repository.
	PinAgain bool
}

// VerifyImage reads what is signed about an image in its registry, and judges it. The
// digest is resolved once: what is verified is what is named in the decision. When that pins a
// signer, it is kept before the decision is told.
func (e *Engine) VerifyImage(ctx context.Context, name string, v Verification) (trust.Decision, error) {
	var pin *dossier.SignerPin
	judge := v.Judge
	v.Judge = func(ref dossier.Reference, digest dossier.Digest, evidence []trust.Evidence, _ *dossier.SignerPin, at time.Time) trust.Decision {
		return judge(ref, digest, evidence, pin, at)
	}
	if ref, err := dossier.ParseReference(name); err == nil {
		if pin, err = e.pinnedFor(ctx, ref); err != nil {
			return trust.Decision{}, err
		}
	}
	for {
		d, err := e.judgeImage(ctx, name, v)
		if err != nil || d.Pin == nil || !d.Pin.Made {
			return d, err
		}
		if err := e.refuseUnpinned(ctx, &d, v.PinAgain); err != nil || d.Pin == nil {
			return d, err
		}
		kept, err := e.pinSigner(ctx, d.Pin.SignerPin)
		if err != nil || kept == d.Pin.SignerPin {
			return d, err
		}
		pin = &kept // somebody else was first
	}
}

// refuseUnpinned takes back the pin that a decision makes of somebody who was unpinned in that
// repository, unless that is wanted.
func (e *Engine) refuseUnpinned(ctx context.Context, d *trust.Decision, again bool) error {
	if again {
		return nil
	}
	var was []string
	err := e.store.View(ctx, func(r store.Reader) (err error) {
		was, err = unpinned(ctx, r, d.Pin.Scope)
		return err
	})
	if err == nil && slices.Contains(was, d.Pin.Signer) {
		d.RefusePin(fmt.Sprintf("%s signed it, and was unpinned for %s: dossier verify --pin-again pins it there all the same", d.Pin.Signer, d.Pin.Scope))
	}
	return err
}

// judgeImage is VerifyImage, and keeps nothing.
func (e *Engine) judgeImage(ctx context.Context, name string, v Verification) (trust.Decision, error) {
	place := v.Lookaside
	if place == nil {
		place = func(dossier.Reference) string { return "" }
	}
	ref, from, digest, err := e.signable(ctx, name, place)
	if err != nil {
		return trust.Decision{}, err
	}
	evidence, err := ingest.Bundles(ctx, from, digest)
	if err != nil {
		return trust.Decision{}, err
	}
	judge := v.Judge
	if !e.config.Offline {
		judge = e.revocations.judging(ctx, judge)
	}
	d := judge(ref, digest, evidence, nil, e.config.Now())
	for _, read := range []func(context.Context, ingest.Artifacts, dossier.Digest) ([]trust.Evidence, error){ingest.Tagged, ingest.Simple} {
		if d.Verified && (d.Pin == nil || !d.Pin.Made) || d.Code == trust.CodeRejected || d.Code == trust.CodeNoRule {
			return d, nil
		}
		more, err := read(ctx, from, digest)
		if err != nil {
			return d, err
		}
		if len(more) > 0 {
			evidence = append(evidence, more...)
			d = judge(ref, digest, evidence, nil, e.config.Now())
		}
	}
	return d, nil
}

// signable opens the repository of an image and finds out its digest.
func (e *Engine) signable(ctx context.Context, name string, place func(dossier.Reference) string) (ref dossier.Reference, from ingest.Artifacts, digest dossier.Digest, err error) {
	if dossier.IsLocal(name) {
		return ref, nil, "", dossier.Errorf(dossier.KindUnsupported, "reading signatures of", name, "signatures lie in registries")
	}
	if ref, err = dossier.ParseReference(name); err != nil {
		return ref, nil, "", err
	}
	if from, err = e.artifactsBeside(name, place); err != nil {
		return ref, nil, "", err
	}
	if r, ok := from.(remoteArtifacts); ok {
		r.Straight = true // of one image
	}
	if ref.Digest != "" {
		return ref, from, ref.Digest, nil
	}
	d, err := from.Head(ctx, ref.Tag)
	return ref, from, d.Digest, err
}

// SignImage makes a bundle about an image and attaches it there. It returns the digest of
// the image and that of the artifact.
func (e *Engine) SignImage(ctx context.Context, name, predicateType string, sign func(dossier.Digest) ([]byte, error)) (subject, artifact dossier.Digest, err error) {
	ref, from, subject, err := e.signable(ctx, name, e.lookaside)
	if err != nil {
		return "", "", err
	}
	manifest, err := from.Manifest(ctx, subject)
	if err != nil {
		return "", "", err
	}
	node, err := image.ParseManifest(image.Descriptor{Digest: subject}, manifest)
	if err != nil {
		return "", "", err
	}
	bundle, err := sign(subject)
	if err != nil {
		return "", "", err
	}
	r, err := e.images.Repository(ref.Registry, ref.Repository)
	if err != nil {
		return "", "", err
	}
	artifact, err = r.Attach(ctx, image.Attachment{
		Subject: image.Descriptor{MediaType: node.MediaType, Digest: subject, Size: int64(len(manifest))}, Type: trust.BundleType, Document: bundle,
		Annotations: map[string]string{
			"org.opencontainers.image.created": e.config.Now().UTC().Format(time.RFC3339),
			"dev.sigstore.bundle.content":      "dsse-envelope", "dev.sigstore.bundle.predicateType": predicateType,
		},
	})
	return subject, artifact, err
}
