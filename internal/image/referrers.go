// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"dossier.dev/dossier"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Referrer is a manifest that refers to another one.
type Referrer struct {
	Descriptor
	ArtifactType string
	Annotations  map[string]string
}

// Referrers lists what refers to a manifest, there or not: by the API for that,
// or by the tag that stands in for it (distribution spec, "Listing Referrers"
// and "Referrers Tag Schema"). KindLimit: it is more than MaxEntries.
func (r *Repository) Referrers(ctx context.Context, subject dossier.Digest) ([]Referrer, error) {
	var list []Referrer
	err := r.within(ctx, func(ctx context.Context) error {
		door, err := r.source.network.registry(r.source.ref.Registry)
		if err != nil {
			return err
		}
		if !door.lacksReferrers(r.source.ref.Repository) {
			list, err = r.source.referrers(ctx, subject)
			if kind := dossier.KindOf(err); kind != dossier.KindNotFound {
				return err
			}
		}
		list, err = r.taggedReferrers(ctx, subject)
		if r.there && err == nil {
			door.noReferrers(r.source.ref.Repository) // else it may be the repository that is missing
		}
		return err
	})
	return list, err
}

// referrersAge is how long it is remembered that a registry does not list
// referrers.
const referrersAge = 10 * time.Minute

// branch is the part of a registry that a repository lies in: one behind a
// reverse proxy may be several, told apart by the first word of the path.
func branch(repository string) string {
	first, _, _ := strings.Cut(repository, "/")
	return first
}

func (r *registry) lacksReferrers(repository string) bool {
	r.network.mu.Lock()
	defer r.network.mu.Unlock()
	return r.network.now().Before(r.unlisted[branch(repository)])
}

func (r *registry) noReferrers(repository string) {
	r.network.mu.Lock()
	defer r.network.mu.Unlock()
	r.unlisted[branch(repository)] = r.network.now().Add(referrersAge)
}

// digestTag is what a tag for a digest begins with: of the index that lists its
// referrers, and of what cosign keeps about it.
func digestTag(d dossier.Digest) string { return strings.Replace(string(d), ":", "-", 1) }

// HasTag reports whether a repository may have a tag made from a digest and a
// suffix. It lists the tags of the repository once rather than to ask for each
// that is not there, where the list is short enough: what is pushed after the
// first question may be missed.
func (r *Repository) HasTag(ctx context.Context, d dossier.Digest, suffix string) bool {
	if !r.listed {
		r.listed = true
		tags, more, err := r.Tags(ctx, "", tagsListed)
		r.there = err == nil
		if r.there && !more {
			r.tags = map[string]bool{}
			for _, t := range tags {
				r.tags[t] = true
			}
		}
	}
	return r.tags == nil || r.tags[digestTag(d)+suffix]
}

// tagsListed is up to how many tags are listed to see whether some are there.
const tagsListed = 1000

func (r *repository) referrers(ctx context.Context, subject dossier.Digest) ([]Referrer, error) {
	q := question{
		op: "listing referrers of", method: http.MethodGet, subject: r.ref.Name() + "@" + string(subject),
		path: "referrers/" + string(subject), accept: ocispec.MediaTypeImageIndex,
	}
	var list []Referrer
	err := r.pages(ctx, q, func(b []byte) error {
		page, err := parseReferrers(b)
		list = append(list, page...)
		if err == nil && len(list) > MaxEntries {
			err = limitError(q.op, q.subject, "MaxEntries", MaxEntries, "there are more")
		}
		return err
	})
	return list, err
}

// taggedReferrers reads the index under the tag for a digest. There is none when
// nothing refers to it.
func (r *Repository) taggedReferrers(ctx context.Context, subject dossier.Digest) ([]Referrer, error) {
	if !r.Straight && !r.HasTag(ctx, subject, "") {
		return nil, nil
	}
	resp, err := r.source.do(ctx, "listing referrers of", http.MethodGet, manifests, digestTag(subject))
	if dossier.KindOf(err) == dossier.KindNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	limit := r.source.network.limits.Manifest
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, r.source.network.failure("listing referrers of", r.source.name(), r.source.ref.Registry, err)
	}
	if int64(len(b)) > limit {
		return nil, limitError("listing referrers of", r.source.name(), "Manifest", limit, "the index has more bytes")
	}
	r.there = true
	return parseReferrers(b)
}

// parseReferrers reads a list of referrers. Entries that name no digest are
// refused with the whole.
func parseReferrers(b []byte) ([]Referrer, error) {
	const op = "reading list of referrers"
	var index ocispec.Index
	if err := unmarshalObject(b, &index); err != nil {
		return nil, &dossier.Error{Kind: dossier.KindCorrupt, Op: op, Err: err}
	}
	if err := checkEntries(op, dossier.FromBytes(b), len(index.Manifests)); err != nil {
		return nil, err
	}
	list := make([]Referrer, 0, len(index.Manifests))
	for _, d := range index.Manifests {
		digest, err := dossier.ParseDigest(string(d.Digest))
		if err != nil {
			return nil, &dossier.Error{Kind: dossier.KindCorrupt, Op: op, Err: err}
		}
		if d.Size < 0 {
			return nil, dossier.Errorf(dossier.KindCorrupt, op, string(digest), fmt.Sprint("its size should be ", d.Size))
		}
		list = append(list, Referrer{Descriptor{d.MediaType, digest, d.Size}, d.ArtifactType, d.Annotations})
	}
	return list, nil
}
