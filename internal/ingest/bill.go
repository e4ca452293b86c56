// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"cmp"
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/origin"
	"dossier.dev/dossier/internal/record"
	"dossier.dev/dossier/internal/store"
)

// Artifacts is a repository as far as what is attached to images lies in it. Manifest and
// Blob may be called by several goroutines.
// KindUnsupported: there is no such list there.
type Artifacts interface {
	// Referrers lists what refers to a manifest.
	Referrers(ctx context.Context, subject dossier.Digest) ([]image.Referrer, error)
	// HasTag reports whether a tag made from a digest and a suffix may be there.
	HasTag(ctx context.Context, d dossier.Digest, suffix string) bool
	// Signatures returns the signatures by OpenPGP of a manifest, wherever they lie.
	Signatures(ctx context.Context, d dossier.Digest) ([][]byte, error)
	// Head finds out what a tag names. KindNotFound.
	Head(ctx context.Context, tag string) (image.Descriptor, error)
	// Manifest returns the exact bytes of a manifest.
	Manifest(ctx context.Context, d dossier.Digest) ([]byte, error)
	// Blob reads a blob; the stream ends in io.EOF only when its digest is right.
	Blob(ctx context.Context, d image.Descriptor) (io.ReadCloser, error)
}

// ArtifactReader opens the repository of an image. ref is where the image lies.
type ArtifactReader func(ctx context.Context, ref string) (Artifacts, error)

// How many bills of materials are read of one image, and how large one may be.
const (
	maxBills = 20
	maxBill  = dossier.MaxFactBody
)

// billPayload asks for the bills of materials that are attached to an image.
type billPayload struct {
	Name     string         `json:"name"` // registry and repository
	Manifest dossier.Digest `json:"manifest"`
}

func (p billPayload) job() store.Job { return newJob(JobBill, string(p.Manifest), p) }

// bills reads what is attached to an image and to the indexes that contain it.
func (g *Ingest) bills(ctx context.Context, p billPayload) (finisher, error) {
	if g.Artifacts == nil {
		return nil, nil
	}
	finish, _, err := g.billsOf(ctx, p.Name+"@"+string(p.Manifest), p.Manifest)
	return finish, err
}

// lookAgain asks for what is attached to images of a new index that are known
// already: more may be attached where it lies, and within it.
func (g *Ingest) lookAgain(ctx context.Context, tx store.Tx, index image.Node, name string) error {
	if g.Artifacts == nil {
		return nil
	}
	var children []dossier.Digest
	for _, e := range index.Edges {
		if e.Role == dossier.RolePlatform {
			children = append(children, e.Child)
		}
	}
	known, err := tx.ImageContents(ctx, children)
	if err != nil {
		return err
	}
	for _, d := range children {
		if _, ok := known[d]; !ok {
			continue
		}
		if err := tx.PutLook(ctx, d, time.Unix(0, 0)); err != nil {
			return err
		}
		if _, err := tx.Enqueue(ctx, billPayload{Name: name, Manifest: d}.job()); err != nil {
			return err
		}
	}
	return nil
}

// attached is a document on its way from a repository.
type attached struct {
	dossier.AttachedBill
	on    dossier.Digest
	blob  image.Descriptor
	bytes []byte
	bill  bool                 // it is a bill of materials, or says so
	vex   *dossier.AttachedVEX // it is a VEX document, or says so; a CycloneDX document may be both
	// statement is an in-toto statement that is neither.
	statement *dossier.AttachedStatement
	predicate string // that is said to be in it, where it is named
}

// billsOf reads what is attached to an image and to the indexes that contain it. It returns
// what keeps that, and reports whether anything was found.
func (g *Ingest) billsOf(ctx context.Context, ref string, manifest dossier.Digest) (keeps finisher, found bool, err error) {
	from, err := g.Artifacts(ctx, ref)
	if err != nil {
		return nil, false, err
	}
	from = &listedOnce{Artifacts: from, lists: map[dossier.Digest][]image.Referrer{}}
	subjects, inIndex, err := g.subjectsOf(ctx, manifest)
	if err != nil {
		return nil, false, err
	}
	signatures, err := signaturesOf(ctx, from, subjects)
	if err != nil {
		return nil, false, err
	}
	var there []attached
	for _, d := range inIndex {
		more, err := documentsOf(ctx, from, d, attached{on: manifest, AttachedBill: dossier.AttachedBill{How: "buildkit"}})
		if err != nil {
			return nil, false, err
		}
		there = append(there, more...)
	}
	for _, subject := range subjects {
		more, err := referring(ctx, from, subject)
		if err != nil {
			return nil, false, err
		}
		there = append(there, more...)
	}
	var keep []attached
	for _, a := range there {
		if slices.ContainsFunc(keep, func(b attached) bool { return b.on == a.on && b.Document == a.Document }) {
			continue // attached in two ways
		}
		if len(keep) >= maxBills {
			g.Logger.WarnContext(ctx, "an image has more bills of materials than are read", "manifest", manifest, "limit", maxBills)
			break
		}
		if err := a.read(ctx, from); err != nil {
			return nil, false, err
		}
		if a.bill || a.vex != nil || a.statement != nil {
			keep = append(keep, a)
		}
	}
	return func(tx store.Tx) error {
		for _, s := range signatures {
			if err := record.Signature(ctx, tx, s.on, s.evidence, s.body); err != nil {
				return err
			}
		}
		if err := g.signed(ctx, tx, ref, signatures); err != nil {
			return err
		}
		for _, a := range keep {
			if err := a.record(ctx, tx, g.now()); err != nil {
				return err
			}
		}
		return tx.PutLook(ctx, manifest, g.now())
	}, len(signatures)+len(keep) > 0, nil
}

// lookedFor is how long it is good that somebody looked for what is attached to
// an image, when nobody asks for it.
const lookedFor = 24 * time.Hour

// lookFor asks for what is attached to an image when nobody has looked since a
// time, and reports whether it did.
func (g *Ingest) lookFor(ctx context.Context, tx store.Tx, manifest dossier.Digest, since time.Time) (bool, error) {
	if g.Artifacts == nil {
		return false, nil
	}
	known, err := tx.ImageContents(ctx, []dossier.Digest{manifest})
	if c, ok := known[manifest]; err != nil || !ok || c.Looked.After(since) {
		return false, err
	}
	name, err := repositoryOf(ctx, tx, manifest)
	if err != nil || name == "" {
		return false, err
	}
	_, err = tx.Enqueue(ctx, billPayload{Name: name, Manifest: manifest}.job())
	return true, err
}

// subjectsOf returns what bills of an image may be attached to, and the manifests
// of BuildKit's attestations about it in the indexes that contain it.
func (g *Ingest) subjectsOf(ctx context.Context, manifest dossier.Digest) (subjects, attestations []dossier.Digest, err error) {
	err = g.Store.View(ctx, func(r store.Reader) error {
		subjects, attestations = []dossier.Digest{manifest}, nil
		parents, err := r.Parents(ctx, subjects, dossier.RolePlatform)
		if err != nil {
			return err
		}
		for _, e := range parents {
			if !slices.Contains(subjects, e.Parent) && len(subjects) < maxSubjects {
				subjects = append(subjects, e.Parent)
			}
		}
		for f, err := range r.Holding(ctx, subjects[1:], dossier.Times{}, dossier.FactIndex) {
			if err != nil {
				return err
			}
			x, err := origin.ParseIndex(f.Body)
			if err != nil {
				continue
			}
			for _, d := range x.Manifests {
				if d.Annotations["vnd.docker.reference.digest"] == string(manifest) && !slices.Contains(attestations, d.Digest) {
					attestations = append(attestations, d.Digest)
				}
			}
		}
		return nil
	})
	return subjects, attestations[:min(len(attestations), maxBills)], err
}

// maxSubjects bounds how many indexes are asked about for one image.
const maxSubjects = 10

// referring returns the bills among what refers to a manifest, and among what
// cosign keeps under tags made from its digest.
func referring(ctx context.Context, from Artifacts, subject dossier.Digest) ([]attached, error) {
	list, err := from.Referrers(ctx, subject)
	switch dossier.KindOf(err) {
	case dossier.KindUnsupported, dossier.KindNotFound:
		list, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []attached
	opened := 0
	for _, r := range list {
		if !mayHoldBill(r.ArtifactType) || opened >= maxOpened {
			continue
		}
		opened++
		more, err := documentsOf(ctx, from, r.Digest, attached{on: subject, AttachedBill: dossier.AttachedBill{How: "referrer"}})
		if err != nil {
			return nil, err
		}
		if out = append(out, more...); len(out) > maxBills {
			return out, nil
		}
	}
	for _, suffix := range []string{".sbom", ".att"} {
		if !from.HasTag(ctx, subject, suffix) {
			continue
		}
		d, err := from.Head(ctx, strings.Replace(string(subject), ":", "-", 1)+suffix)
		switch dossier.KindOf(err) {
		case dossier.KindUnsupported, dossier.KindNotFound, dossier.KindDenied:
			continue // registries tell apart what is not there and what is denied in their own ways
		}
		if err != nil {
			return nil, err
		}
		more, err := documentsOf(ctx, from, d.Digest, attached{on: subject, AttachedBill: dossier.AttachedBill{How: "cosign"}})
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

// maxOpened bounds how many of the manifests that refer to an image are opened.
const maxOpened = 50

// mayHoldBill reports whether a bill of materials may lie in an artifact of a
// type. Some registries tell the media type of its configuration instead, which
// may say nothing.
func mayHoldBill(artifactType string) bool {
	artifactType, _, _ = strings.Cut(artifactType, ";")
	return isBill(artifactType) || isVEX(artifactType) || isStatement(artifactType) ||
		slices.Contains([]string{"", "application/vnd.oci.empty.v1+json", "application/vnd.oci.image.config.v1+json"}, artifactType)
}

func isBill(mediaType string) bool {
	return slices.Contains([]string{
		"application/spdx+json", "text/spdx+json", "spdx+json", "application/vnd.cyclonedx+json", "application/vnd.cyclonedx", "application/vnd.syft+json",
	}, mediaType)
}

// mediaTypeStatement is that of in-toto statements that nobody signed.
const mediaTypeStatement = "application/vnd.in-toto+json"

func isStatement(mediaType string) bool {
	return slices.Contains([]string{mediaTypeStatement, "application/vnd.dsse.envelope.v1+json"}, mediaType) ||
		strings.HasPrefix(mediaType, "application/vnd.dev.sigstore.bundle.v0.")
}

// isBillPredicate recognises what a statement is about by its predicate type.
// What does not say may be a bill.
func isBillPredicate(predicate string) bool {
	return predicate == "" || strings.HasPrefix(predicate, "https://spdx.dev/Document") || strings.HasPrefix(predicate, "https://cyclonedx.org/bom") ||
		strings.HasPrefix(predicate, "https://syft.dev/bom")
}

// documentsOf returns the layers of a manifest that may be bills. like says how
// they were found.
func documentsOf(ctx context.Context, from Artifacts, d dossier.Digest, like attached) ([]attached, error) {
	b, err := from.Manifest(ctx, d)
	if kind := dossier.KindOf(err); kind == dossier.KindNotFound || kind == dossier.KindCorrupt || kind == dossier.KindLimit {
		return nil, nil // named, and not to be had
	}
	if err != nil {
		return nil, err
	}
	m, err := origin.ParseManifest(b)
	if err != nil {
		return nil, nil // it is no manifest that holds documents
	}
	var out []attached
	for _, l := range m.Layers {
		mediaType, _, _ := strings.Cut(l.MediaType, ";")
		predicate := cmp.Or(l.Annotations["in-toto.io/predicate-type"], l.Annotations["predicateType"], m.Annotations["dev.sigstore.bundle.predicateType"])
		says := isVEX(mediaType) || isVEXPredicate(predicate)
		// What is signed is kept as a signature, with all that it says.
		unsigned := mediaType == mediaTypeStatement && origin.Understood(predicate)
		if !isBill(mediaType) && !isVEX(mediaType) && !(isStatement(mediaType) && (isBillPredicate(predicate) || says || unsigned)) {
			continue
		}
		a := like
		a.predicate = predicate
		if says {
			a.vex = &dossier.AttachedVEX{}
		}
		a.Manifest, a.Document, a.blob = d, l.Digest, image.Descriptor{MediaType: l.MediaType, Digest: l.Digest, Size: l.Size}
		out = append(out, a)
	}
	return out[:min(len(out), maxBills)], nil
}
