// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/origin"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/trust"
)

// How many signatures are read of one manifest, and how large one may be.
const (
	maxSignatures = 50
	maxSignature  = 4 << 20
)

// bundleType is what artifact types and media types of bundles begin with.
const bundleType = "application/vnd.dev.sigstore.bundle"

// Bundles returns the Sigstore bundles that refer to a manifest, and the signatures that
// notation made. What is named and not
// to be had, or is not what it says, is left out: it is no evidence.
func Bundles(ctx context.Context, from Artifacts, subject dossier.Digest) ([]trust.Evidence, error) {
	list, err := from.Referrers(ctx, subject)
	switch dossier.KindOf(err) {
	case dossier.KindUnsupported, dossier.KindNotFound:
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var artifacts []dossier.Digest
	for _, r := range list {
		if (mayHoldBundle(r.ArtifactType) || r.ArtifactType == trust.NotaryArtifact) && len(artifacts) < maxSignatures {
			artifacts = append(artifacts, r.Digest)
		}
	}
	read := make([][]trust.Evidence, len(artifacts))
	err = each(len(artifacts), func(i int) (err error) {
		read[i], err = bundlesIn(ctx, from, artifacts[i], subject)
		return err
	})
	out := slices.Concat(read...)
	return out[:min(len(out), maxSignatures)], err
}

// readsAtOnce is how many artifacts are read at a time: none waits for another.
const readsAtOnce = 8

// each calls f for all numbers below n, several at a time, and returns the first error by
// number.
func each(n int, f func(i int) error) error {
	errs := make([]error, n)
	slots := make(chan struct{}, readsAtOnce)
	var all sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		all.Go(func() {
			errs[i] = f(i)
			<-slots
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// bundlesIn returns the bundles and signatures in an artifact.
func bundlesIn(ctx context.Context, from Artifacts, artifact, subject dossier.Digest) ([]trust.Evidence, error) {
	layers, err := layersOf(ctx, from, artifact, subject)
	if err != nil {
		return nil, err
	}
	var out []trust.Evidence
	for _, l := range layers {
		form, ok := trust.NotaryForm(l.MediaType)
		if strings.HasPrefix(l.MediaType, bundleType) {
			form, ok = trust.FormBundle, true
		}
		if !ok || len(out) >= maxSignatures {
			continue
		}
		b, err := signatureBytes(ctx, from, l)
		if err != nil {
			return nil, err
		}
		if b != nil {
			out = append(out, trust.Evidence{Form: form, Bytes: b})
		}
	}
	return out, nil
}

// mayHoldBundle reports whether an artifact may be a bundle. Some registries tell the
// media type of its configuration instead, which says nothing.
func mayHoldBundle(artifactType string) bool {
	return strings.HasPrefix(artifactType, bundleType) || artifactType == "" || artifactType == "application/vnd.oci.empty.v1+json"
}

// Tagged returns what cosign keeps about a manifest under tags made from its digest:
// signatures and attestations, as it did before it made bundles.
func Tagged(ctx context.Context, from Artifacts, subject dossier.Digest) ([]trust.Evidence, error) {
	var out []trust.Evidence
	for _, suffix := range []string{".sig", ".att"} {
		if !from.HasTag(ctx, subject, suffix) {
			continue
		}
		d, err := from.Head(ctx, strings.Replace(string(subject), ":", "-", 1)+suffix)
		switch dossier.KindOf(err) {
		case dossier.KindUnsupported, dossier.KindNotFound, dossier.KindDenied:
			continue
		}
		if err != nil {
			return nil, err
		}
		layers, err := layersOf(ctx, from, d.Digest, "")
		if err != nil {
			return nil, err
		}
		for _, l := range layers[:min(len(layers), maxSignatures)] {
			b, err := signatureBytes(ctx, from, l)
			if err != nil {
				return nil, err
			}
			if e, ok := tagged(l, b); ok {
				out = append(out, e)
			}
		}
	}
	return out, nil
}

// Simple returns the signatures by OpenPGP of a manifest: simple signing.
func Simple(ctx context.Context, from Artifacts, subject dossier.Digest) ([]trust.Evidence, error) {
	list, err := from.Signatures(ctx, subject)
	if err != nil {
		return nil, err
	}
	var out []trust.Evidence
	for _, b := range list[:min(len(list), maxSignatures)] {
		out = append(out, trust.Evidence{Form: trust.FormPGP, Bytes: b})
	}
	return out, nil
}

// The annotations of cosign's layers, and their media types.
const (
	annotationSignature   = "dev.cosignproject.cosign/signature"
	annotationCertificate = "dev.sigstore.cosign/certificate"
	annotationChain       = "dev.sigstore.cosign/chain"
	annotationLog         = "dev.sigstore.cosign/bundle"

	mediaTypeSimpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json"
	mediaTypeEnvelope      = "application/vnd.dsse.envelope.v1+json"
)

// tagged makes evidence of a layer and its annotations.
func tagged(l origin.Descriptor, b []byte) (trust.Evidence, bool) {
	e := trust.Evidence{
		Bytes: b, Certificate: []byte(l.Annotations[annotationCertificate]), Chain: []byte(l.Annotations[annotationChain]), Log: []byte(l.Annotations[annotationLog]),
	}
	switch l.MediaType {
	case mediaTypeSimpleSigning:
		sig, err := base64.StdEncoding.DecodeString(l.Annotations[annotationSignature])
		e.Form, e.Signature = trust.FormPayload, sig
		return e, b != nil && err == nil
	case mediaTypeEnvelope:
		e.Form = trust.FormEnvelope
		return e, b != nil
	}
	return e, false
}

// layersOf returns the layers of an artifact. With a subject it must be the one that the
// artifact itself names: a list of referrers may claim anything.
func layersOf(ctx context.Context, from Artifacts, d, subject dossier.Digest) ([]origin.Descriptor, error) {
	b, err := from.Manifest(ctx, d)
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := origin.ParseManifest(b)
	if err != nil || subject != "" && (m.Subject == nil || m.Subject.Digest != subject) {
		return nil, nil
	}
	return m.Layers, nil
}

// gone reports whether something is named and not to be had.
func gone(err error) bool {
	kind := dossier.KindOf(err)
	return kind == dossier.KindNotFound || kind == dossier.KindCorrupt || kind == dossier.KindLimit
}

// signatureBytes reads a layer, or nil when that is no use.
func signatureBytes(ctx context.Context, from Artifacts, l origin.Descriptor) ([]byte, error) {
	if l.Size > maxSignature {
		return nil, nil
	}
	body, err := from.Blob(ctx, image.Descriptor{MediaType: l.MediaType, Digest: l.Digest, Size: l.Size})
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, maxSignature+1))
	if gone(err) || len(b) > maxSignature || err == nil && !l.Digest.Matches(b) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading signature %s: %w", l.Digest, err)
	}
	return b, nil
}

// maxKeptSignature is how large evidence may be that is kept as a fact. What is larger
// is a statement that holds a document, which is kept as such.
const maxKeptSignature = 1 << 20

// signature is something signed on its way from a repository.
type signature struct {
	trust.Evidence
	on, evidence dossier.Digest
	body         []byte
}

// signaturesOf reads what is signed about an image and the indexes that contain it.
func signaturesOf(ctx context.Context, from Artifacts, subjects []dossier.Digest) ([]signature, error) {
	var out []signature
	for _, subject := range subjects {
		for _, read := range []func(context.Context, Artifacts, dossier.Digest) ([]trust.Evidence, error){Bundles, Tagged, Simple} {
			list, err := read(ctx, from, subject)
			if err != nil {
				return nil, err
			}
			for _, e := range list {
				body, err := json.Marshal(e)
				if err != nil {
					return nil, &dossier.Error{Kind: dossier.KindInternal, Op: "recording signature", Subject: string(subject), Err: err}
				}
				if len(body) <= maxKeptSignature {
					out = append(out, signature{e, subject, e.Digest(), body})
				}
			}
		}
	}
	return out, nil
}

// signed tells what was read of each subject.
func (g *Ingest) signed(ctx context.Context, tx store.Tx, ref string, signatures []signature) error {
	if g.Signed == nil {
		return nil
	}
	var subjects []dossier.Digest
	of := map[dossier.Digest][]trust.Evidence{}
	for _, s := range signatures {
		if of[s.on] == nil {
			subjects = append(subjects, s.on)
		}
		of[s.on] = append(of[s.on], s.Evidence)
	}
	for _, d := range subjects {
		if err := g.Signed(ctx, tx, ref, d, of[d]); err != nil {
			return err
		}
	}
	return nil
}

// listedOnce is a repository whose referrers are listed once for each subject.
type listedOnce struct {
	Artifacts
	lists map[dossier.Digest][]image.Referrer
}

// Referrers implements Artifacts.
func (l *listedOnce) Referrers(ctx context.Context, subject dossier.Digest) ([]image.Referrer, error) {
	if list, ok := l.lists[subject]; ok {
		return list, nil
	}
	list, err := l.Artifacts.Referrers(ctx, subject)
	if err == nil {
		l.lists[subject] = list
	}
	return list, err
}
