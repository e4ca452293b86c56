// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	godigest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"dossier.dev/dossier"
)

// Attachment is a document that refers to a manifest.
type Attachment struct {
	Subject     Descriptor
	Type        string // media type of the document, and of the artifact
	Document    []byte
	Annotations map[string]string
}

// emptyConfig is the configuration of an artifact that has none (image-spec,
// "Guidelines for Artifact Usage").
var emptyConfig = []byte("{}")

// Attach pushes a document that refers to a manifest, as an artifact with one layer, and
// returns its digest. A registry that does not list referrers gets the index under the tag
// that stands in for it.
func (r *Repository) Attach(ctx context.Context, a Attachment) (dossier.Digest, error) {
	manifest, err := json.Marshal(a.manifest())
	if err != nil {
		return "", &dossier.Error{Kind: dossier.KindInternal, Op: "writing manifest", Err: err}
	}
	d := dossier.FromBytes(manifest)
	err = r.within(ctx, func(ctx context.Context) error {
		for _, b := range [][]byte{a.Document, emptyConfig} {
			if err := r.source.upload(ctx, b); err != nil {
				return err
			}
		}
		resp, err := r.source.putManifest(ctx, string(d), ocispec.MediaTypeImageManifest, manifest)
		if err != nil || resp.Get("OCI-Subject") != "" {
			return err
		}
		return r.listReferrer(ctx, a, Descriptor{ocispec.MediaTypeImageManifest, d, int64(len(manifest))})
	})
	return d, err
}

const opPush = "pushing to"

// upload pushes a blob, unless it is there (distribution spec, "Pushing a blob
// monolithically").
func (r *repository) upload(ctx context.Context, b []byte) error {
	d := dossier.FromBytes(b)
	if resp, err := r.do(ctx, opPush, http.MethodHead, blobs, string(d)); err == nil {
		return resp.Body.Close()
	} else if dossier.KindOf(err) != dossier.KindNotFound {
		return err
	}
	q := question{op: opPush, subject: r.ref.Name() + "@" + string(d), method: http.MethodPost, path: "blobs/uploads/", put: &put{}}
	resp, err := r.ask(ctx, q)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	at, err := redirect(resp.Request.URL, resp.Header.Get("Location"))
	if err != nil {
		return err
	}
	query := at.Query()
	query.Set("digest", string(d))
	at.RawQuery = query.Encode()
	q.method, q.put = http.MethodPut, &put{at: at, body: b, contentType: "application/octet-stream"}
	if resp, err = r.ask(ctx, q); err != nil {
		return err
	}
	return resp.Body.Close()
}

// putManifest pushes a manifest and returns the head of the answer.
func (r *repository) putManifest(ctx context.Context, reference, mediaType string, b []byte) (http.Header, error) {
	q := question{op: opPush, subject: r.ref.Name() + ":" + reference, method: http.MethodPut, path: "manifests/" + reference, put: &put{body: b, contentType: mediaType}}
	resp, err := r.ask(ctx, q)
	if err != nil {
		return nil, err
	}
	return resp.Header, resp.Body.Close()
}

// listReferrer adds an artifact to the index under the tag that stands in for the list of
// referrers, in a registry that has no such list. Others may do so at the same time: what
// is lost then can be pushed again.
func (r *Repository) listReferrer(ctx context.Context, a Attachment, d Descriptor) error {
	if _, err := r.source.referrers(ctx, a.Subject.Digest); dossier.KindOf(err) != dossier.KindNotFound {
		return err // it has one
	}
	index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex}
	index.SchemaVersion = 2
	at := *r.source
	at.ref.Tag = digestTag(a.Subject.Digest)
	root, err := at.resolve(ctx)
	if err == nil {
		var body *body
		if body, err = at.open(ctx, manifests, root.Digest); err != nil {
			return err
		}
		b, err := readAll(opParse, body, Descriptor{Digest: root.Digest}, ceiling{"Manifest", at.network.limits.Manifest})
		if err != nil {
			return err
		}
		if err := unmarshalObject(b, &index); err != nil {
			return &dossier.Error{Kind: dossier.KindCorrupt, Op: "reading list of referrers", Err: err}
		}
	} else if dossier.KindOf(err) != dossier.KindNotFound {
		return err
	}
	if slices.ContainsFunc(index.Manifests, func(m ocispec.Descriptor) bool { return string(m.Digest) == string(d.Digest) }) {
		return nil
	}
	index.Manifests = append(index.Manifests, ocispec.Descriptor{
		MediaType: d.MediaType, Digest: godigest.Digest(d.Digest), Size: d.Size, ArtifactType: a.Type, Annotations: a.Annotations,
	})
	b, err := json.Marshal(index)
	if err != nil {
		return &dossier.Error{Kind: dossier.KindInternal, Op: "writing list of referrers", Err: err}
	}
	_, err = r.source.putManifest(ctx, at.ref.Tag, ocispec.MediaTypeImageIndex, b)
	return err
}

// manifest is that of the artifact.
func (a Attachment) manifest() ocispec.Manifest {
	m := ocispec.Manifest{
		MediaType: ocispec.MediaTypeImageManifest, ArtifactType: a.Type, Annotations: a.Annotations,
		Config:  descriptorOf(ocispec.MediaTypeEmptyJSON, emptyConfig),
		Layers:  []ocispec.Descriptor{descriptorOf(a.Type, a.Document)},
		Subject: &ocispec.Descriptor{MediaType: a.Subject.MediaType, Digest: godigest.Digest(a.Subject.Digest), Size: a.Subject.Size},
	}
	m.SchemaVersion = 2
	return m
}

func descriptorOf(mediaType string, b []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: godigest.Digest(dossier.FromBytes(b)), Size: int64(len(b))}
}
