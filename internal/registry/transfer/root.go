// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/registry"
)

// storageRoot is the storage of a distribution registry on a file system
// (github.com/distribution/distribution, registry/storage/paths.go). Repositories hold
// link files, whose content is a digest and whose time is when they were written;
// the bytes lie under blobs.
type storageRoot struct {
	*directory
	top string // of what follows, within the directory
}

// rootTop is where a registry puts what it has.
const rootTop = "docker/registry/v2"

// findRoot finds a storage root in a directory, or returns nil.
func findRoot(d *directory) *storageRoot {
	for _, top := range []string{rootTop, "."} {
		if d.has(path.Join(top, "repositories")) && d.has(path.Join(top, "blobs")) {
			return &storageRoot{d, top}
		}
	}
	return nil
}

// repositories implements source.
func (s *storageRoot) repositories(ctx context.Context) iter.Seq2[repository, error] {
	top := path.Join(s.top, "repositories")
	return func(yield func(repository, error) bool) {
		s.walk(ctx, top, "", 0, yield)
	}
}

// walk looks for repositories in a directory and those below. It returns false to end.
func (s *storageRoot) walk(ctx context.Context, top, at string, depth int, yield func(repository, error) bool) bool {
	if err := ctx.Err(); err != nil {
		yield(nil, err)
		return false
	}
	dir := path.Join(top, at)
	if depth > MaxDepth {
		return yield(nil, s.fault(dossier.KindLimit, dir, fmt.Errorf("it lies deeper than MaxDepth, %d", MaxDepth)))
	}
	entries, err := s.list(dir)
	if err != nil {
		return yield(nil, err)
	}
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == "_manifests" }) {
		if !yield(&rootRepository{root: s, name: at, dir: dir}, nil) {
			return false
		}
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), "_") && !s.walk(ctx, top, path.Join(at, e.Name()), depth+1, yield) {
			return false
		}
	}
	return true
}

// rootRepository is a repository in a storage root.
type rootRepository struct {
	root *storageRoot
	name string
	dir  string
}

func (r *rootRepository) path() string { return r.name }

// link returns where the link to a digest lies in a directory of the repository.
func (r *rootRepository) link(dir string, d dossier.Digest) string {
	return path.Join(r.dir, dir, d.Algorithm(), d.Hex(), "link")
}

const (
	revisionsDir = "_manifests/revisions"
	tagsDir      = "_manifests/tags"
	layersDir    = "_layers"
)

// manifests implements repository: the revisions. One whose link is gone was
// deleted.
func (r *rootRepository) manifests(ctx context.Context) ([]manifest, error) {
	var list []manifest
	var faults []error
	for link, err := range r.links(ctx, path.Join(r.dir, revisionsDir)) {
		if err != nil {
			faults = append(faults, err)
			continue
		}
		list = append(list, manifest{Descriptor: image.Descriptor{Digest: link.digest}, at: link.at})
	}
	return list, errors.Join(faults...)
}

// link is a link file.
type link struct {
	digest dossier.Digest
	at     time.Time
}

// links yields the links in DIR/ALGORITHM/HEX/link. Those of which only the
// directory is left are left out.
func (r *rootRepository) links(ctx context.Context, dir string) iter.Seq2[link, error] {
	return func(yield func(link, error) bool) {
		algorithms, err := r.root.list(dir)
		if err != nil {
			yield(link{}, err)
			return
		}
		for _, algorithm := range algorithms {
			if !algorithm.IsDir() {
				continue
			}
			digests, err := r.root.list(path.Join(dir, algorithm.Name()))
			if err != nil && !yield(link{}, err) {
				return
			}
			for _, hex := range digests {
				if err := ctx.Err(); err != nil {
					yield(link{}, err)
					return
				}
				name := path.Join(dir, algorithm.Name(), hex.Name(), "link")
				found, err := r.root.readLink(name)
				if errors.Is(err, fs.ErrNotExist) {
					continue
				}
				if err == nil && found.digest != dossier.Digest(algorithm.Name()+":"+hex.Name()) {
					err = r.root.fault(dossier.KindCorrupt, name, fmt.Errorf("it leads to %s", found.digest))
				}
				if !yield(found, err) {
					return
				}
			}
		}
	}
}

// readLink reads a link file.
func (s *storageRoot) readLink(name string) (link, error) {
	b, info, err := s.read(name, MaxLink)
	if errors.Is(err, fs.ErrNotExist) {
		return link{}, err
	}
	if err != nil {
		return link{}, s.fault(dossier.KindInvalid, name, err)
	}
	d, err := parseLink(b)
	if err != nil {
		return link{}, s.fault(dossier.KindCorrupt, name, err)
	}
	return link{d, info.ModTime()}, nil
}

// parseLink reads the content of a link file.
func parseLink(b []byte) (dossier.Digest, error) {
	d, err := dossier.ParseDigest(strings.TrimSpace(string(b)))
	if err != nil {
		return "", errors.New("its content is no digest")
	}
	return d, nil
}

// tags implements repository. A registry keeps for each tag the digests that it
// ever pointed at, with when it last did.
func (r *rootRepository) tags(ctx context.Context) iter.Seq2[tag, error] {
	return func(yield func(tag, error) bool) {
		entries, err := r.root.list(path.Join(r.dir, tagsDir))
		if err != nil {
			yield(tag{}, err)
			return
		}
		for _, e := range entries {
			t := tag{name: e.Name(), file: path.Join(r.dir, tagsDir, e.Name(), "current", "link")}
			current, err := r.root.readLink(t.file)
			if errors.Is(err, fs.ErrNotExist) {
				continue // it was deleted
			}
			if err == nil {
				t.points, err = r.points(ctx, path.Join(r.dir, tagsDir, e.Name(), "index"), current)
			}
			t.file = path.Join(r.root.name, t.file)
			if !yield(t, err) {
				return
			}
		}
	}
}

// points returns where a tag pointed before, and where it points.
func (r *rootRepository) points(ctx context.Context, index string, current link) ([]registry.TagPoint, error) {
	var points []registry.TagPoint
	for l, err := range r.links(ctx, index) {
		if err != nil {
			return nil, err
		}
		if l.digest != current.digest && l.at.Before(current.at) {
			points = append(points, registry.TagPoint{Digest: l.digest, From: l.at})
		}
	}
	slices.SortFunc(points, func(a, b registry.TagPoint) int { return a.From.Compare(b.From) })
	return append(points, registry.TagPoint{Digest: current.digest, From: current.at}), nil
}

// holder returns the link that must be there for the repository to hold a digest.
func (r *rootRepository) holder(d dossier.Digest, manifest bool) string {
	if manifest {
		return r.link(revisionsDir, d)
	}
	return r.link(layersDir, d)
}

// data returns where the bytes of a digest lie.
func (s *storageRoot) data(d dossier.Digest) string {
	return path.Join(s.top, "blobs", d.Algorithm(), d.Hex()[:2], d.Hex(), "data")
}

// open implements repository.
func (r *rootRepository) open(d dossier.Digest, manifest bool) (io.ReadCloser, error) {
	name := r.holder(d, manifest)
	l, err := r.root.readLink(name)
	if err != nil {
		return nil, err
	}
	if l.digest != d {
		return nil, r.root.fault(dossier.KindCorrupt, name, fmt.Errorf("it leads to %s", l.digest))
	}
	return r.root.open(r.root.data(d))
}

// file implements repository: the link when that is missing, else the data.
func (r *rootRepository) file(d dossier.Digest, manifest bool) string {
	name := r.holder(d, manifest)
	if r.root.has(name) {
		name = r.root.data(d)
	}
	return path.Join(r.root.name, name)
}
