// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"io"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/ingest"
	"dossier.dev/dossier/internal/store"
)

// artifacts opens the repository of an image, to see what is attached to it.
func (e *Engine) artifacts(_ context.Context, ref string) (ingest.Artifacts, error) {
	return e.artifactsBeside(ref, e.lookaside)
}

// lookaside returns where signatures by OpenPGP of an image lie by the trust policy, or "".
func (e *Engine) lookaside(ref dossier.Reference) string {
	if policy, _, _ := e.Trusted.Policy(); policy != nil {
		return policy.Lookaside(ref)
	}
	return ""
}

// artifactsBeside is artifacts with another word on where signatures lie.
func (e *Engine) artifactsBeside(ref string, place func(dossier.Reference) string) (ingest.Artifacts, error) {
	if dossier.IsLocal(ref) {
		return localArtifacts{e.images, ref}, nil
	}
	parsed, err := dossier.ParseReference(ref)
	if err != nil {
		return nil, err
	}
	if e.own != nil && parsed.Registry == e.own.name {
		return ownArtifacts{e, parsed.Repository, place}, nil
	}
	r, err := e.images.Repository(parsed.Registry, parsed.Repository)
	if err != nil {
		return nil, err
	}
	return remoteArtifacts{r, beside{e, place, parsed}}, nil
}

// remoteArtifacts is a repository of a registry elsewhere.
type remoteArtifacts struct {
	*image.Repository
	beside beside
}

// Signatures implements ingest.Artifacts.
func (r remoteArtifacts) Signatures(ctx context.Context, d dossier.Digest) ([][]byte, error) {
	beside, err := r.beside.signatures(ctx, d)
	if err != nil {
		return nil, err
	}
	kept, err := r.Repository.Signatures(ctx, d)
	return append(beside, kept...), err
}

// beside is where signatures of a repository lie that are not in its registry.
type beside struct {
	e     *Engine
	place func(dossier.Reference) string
	ref   dossier.Reference
}

func (b beside) signatures(ctx context.Context, d dossier.Digest) ([][]byte, error) {
	place := b.place(b.ref)
	if place == "" {
		return nil, nil
	}
	return b.e.images.Lookaside(ctx, place, b.ref.Repository, d)
}

// Manifest implements ingest.Artifacts.
func (r remoteArtifacts) Manifest(ctx context.Context, d dossier.Digest) ([]byte, error) {
	n, err := r.Repository.Manifest(ctx, d)
	return n.Bytes, err
}

// Blob implements ingest.Artifacts.
func (r remoteArtifacts) Blob(ctx context.Context, d image.Descriptor) (io.ReadCloser, error) {
	b, err := r.Repository.Blob(ctx, d.Digest)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// localArtifacts is a layout or an archive. Nothing can refer to an image there
// but the index that has it.
type localArtifacts struct {
	images *image.Client
	ref    string
}

var errNoList = &dossier.Error{Kind: dossier.KindUnsupported, Op: "listing what refers to an image", Err: errors.New("it is no registry")}

// Referrers implements ingest.Artifacts.
func (l localArtifacts) Referrers(context.Context, dossier.Digest) ([]image.Referrer, error) {
	return nil, errNoList
}

// HasTag implements ingest.Artifacts.
func (l localArtifacts) HasTag(context.Context, dossier.Digest, string) bool { return false }

// Signatures implements ingest.Artifacts.
func (l localArtifacts) Signatures(context.Context, dossier.Digest) ([][]byte, error) {
	return nil, nil
}

// Head implements ingest.Artifacts.
func (l localArtifacts) Head(context.Context, string) (image.Descriptor, error) {
	return image.Descriptor{}, errNoList
}

// Manifest implements ingest.Artifacts.
func (l localArtifacts) Manifest(ctx context.Context, d dossier.Digest) ([]byte, error) {
	body, err := l.Blob(ctx, image.Descriptor{Digest: d})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	const limit = 4 << 20
	b, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err == nil && len(b) > limit {
		err = dossier.Errorf(dossier.KindLimit, "reading manifest", string(d), "it has more than 4 MiB")
	}
	return b, err
}

// Blob implements ingest.Artifacts.
func (l localArtifacts) Blob(ctx context.Context, d image.Descriptor) (io.ReadCloser, error) {
	return l.images.Layer(ctx, l.ref, d)
}

// kept returns what the registry that this server is keeps of the repository of a
// reference: all when it is its own, some when it is pulled through.
func (e *Engine) kept(ref dossier.Reference) (kept image.Kept, whole bool) {
	if e.own == nil {
		return nil, false
	}
	if ref.Registry == e.own.name {
		return ownArtifacts{e, ref.Repository, e.lookaside}, true
	}
	u, ok := e.own.upstreams.Named(ref.Registry)
	if !ok {
		return nil, false
	}
	return ownArtifacts{e, u.Prefix() + "/" + ref.Repository, e.lookaside}, false
}

// ownArtifacts is a repository of the registry that this server is.
type ownArtifacts struct {
	e     *Engine
	path  string
	place func(dossier.Reference) string
}

// Referrers implements ingest.Artifacts.
func (o ownArtifacts) Referrers(ctx context.Context, subject dossier.Digest) ([]image.Referrer, error) {
	var list []image.Referrer
	err := o.e.store.View(ctx, func(r store.Reader) error {
		found, err := r.Referrers(ctx, store.ReferrerQuery{Repository: o.path, Subject: subject, Limit: image.MaxEntries})
		list = nil
		for _, m := range found {
			list = append(list, image.Referrer{Descriptor: image.Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: m.Size}, ArtifactType: m.ArtifactType})
		}
		return err
	})
	return list, err
}

// HasTag implements ingest.Artifacts. To look is as cheap.
func (o ownArtifacts) HasTag(context.Context, dossier.Digest, string) bool { return true }

// Signatures implements ingest.Artifacts.
func (o ownArtifacts) Signatures(ctx context.Context, d dossier.Digest) ([][]byte, error) {
	return beside{o.e, o.place, dossier.Reference{Registry: o.e.own.name, Repository: o.path}}.signatures(ctx, d)
}

// Head implements ingest.Artifacts.
func (o ownArtifacts) Head(ctx context.Context, tag string) (image.Descriptor, error) {
	var d image.Descriptor
	err := o.e.store.View(ctx, func(r store.Reader) error {
		tags, err := r.TagHistory(ctx, o.e.own.name+"/"+o.path, tag, 1)
		if err == nil && (len(tags) == 0 || !tags[0].To.IsZero()) {
			err = dossier.Errorf(dossier.KindNotFound, "resolving", o.path+":"+tag, "there is no such tag")
		}
		if err == nil {
			d.Digest = tags[0].Digest
		}
		return err
	})
	return d, err
}

// Manifest implements ingest.Artifacts.
func (o ownArtifacts) Manifest(ctx context.Context, d dossier.Digest) ([]byte, error) {
	var body []byte
	err := o.e.store.View(ctx, func(r store.Reader) error {
		m, err := r.Manifest(ctx, o.path, d)
		body = m.Body
		return err
	})
	return body, err
}

// Blob implements ingest.Artifacts.
func (o ownArtifacts) Blob(ctx context.Context, d image.Descriptor) (io.ReadCloser, error) {
	return o.e.own.Blob(ctx, o.path, d.Digest)
}
