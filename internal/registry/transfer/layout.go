// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"context"
	"encoding/json"
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

// Names in an OCI image layout (OCI image spec, "Image Layout"), and annotations
// of the descriptors in its index.
const (
	indexFile  = "index.json"
	layoutFile = "oci-layout"
	blobsDir   = "blobs"

	annotationRefName = "org.opencontainers.image.ref.name"
	annotationName    = "io.containerd.image.name" // the whole reference, as containerd and docker save write it
	// annotationFrom is since when the tag points there, as RFC 3339. Export writes it.
	annotationFrom = "dev.dossier.tag.from"
)

// layouts is an OCI layout, or a tree of directories some of which are one. A
// layout in a tree is the repository of its path.
type layouts struct {
	*directory
	alone bool // the directory is itself a layout
}

// findLayouts returns the layouts of a directory.
func findLayouts(d *directory) *layouts { return &layouts{d, d.has(indexFile)} }

// repositories implements source.
func (s *layouts) repositories(ctx context.Context) iter.Seq2[repository, error] {
	return func(yield func(repository, error) bool) {
		if s.alone {
			for _, r := range s.read(".", "", yield) {
				if !yield(r, nil) {
					return
				}
			}
			return
		}
		s.walk(ctx, ".", 0, yield)
	}
}

// walk looks for layouts in a directory and those below. It returns false to end.
func (s *layouts) walk(ctx context.Context, dir string, depth int, yield func(repository, error) bool) bool {
	if err := ctx.Err(); err != nil {
		yield(nil, err)
		return false
	}
	if depth > MaxDepth {
		return yield(nil, s.fault(dossier.KindLimit, dir, fmt.Errorf("it lies deeper than MaxDepth, %d", MaxDepth)))
	}
	entries, err := s.list(dir)
	if err != nil {
		return yield(nil, err)
	}
	isLayout := dir != "." && slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == indexFile })
	if isLayout {
		for _, r := range s.read(dir, dir, yield) {
			if !yield(r, nil) {
				return false
			}
		}
	}
	for _, e := range entries {
		skip := !e.IsDir() || strings.HasPrefix(e.Name(), ".") || strings.HasPrefix(e.Name(), "_") ||
			path.Base(dir) == blobsDir && slices.Contains([]string{dossier.SHA256, dossier.SHA512}, e.Name())
		if !skip && !s.walk(ctx, path.Join(dir, e.Name()), depth+1, yield) {
			return false
		}
	}
	return true
}

// layoutRepository is a repository in a layout: all of it, or what its names say
// is of one.
type layoutRepository struct {
	source *layouts
	dir    string
	name   string
	roots  []manifest
	tagged []tag
}

// read reads the index of a layout. name is the repository when names of images
// say none.
func (s *layouts) read(dir, name string, yield func(repository, error) bool) []*layoutRepository {
	file := path.Join(dir, indexFile)
	b, _, err := s.directory.read(file, MaxIndex)
	if err != nil {
		yield(nil, s.fault(dossier.KindInvalid, file, err))
		return nil
	}
	entries, err := parseIndex(b)
	if err != nil {
		yield(nil, s.fault(dossier.KindCorrupt, file, err))
		return nil
	}
	byName := map[string]*layoutRepository{}
	var list []*layoutRepository
	for _, e := range entries {
		repository := name
		if repository == "" {
			repository = e.repository
		}
		r := byName[repository]
		if r == nil {
			r = &layoutRepository{source: s, dir: dir, name: repository}
			byName[repository] = r
			list = append(list, r)
		}
		r.roots = append(r.roots, e.manifest)
		if e.tag != "" {
			r.tagged = append(r.tagged, tag{
				name: e.tag, file: path.Join(s.directory.name, file), points: []registry.TagPoint{{Digest: e.Digest, From: e.at}},
			})
		}
	}
	return list
}

// entry is an entry of the index of a layout.
type entry struct {
	manifest
	repository string // "": it says none
	tag        string // "": it has none
}

// parseIndex reads the index.json of a layout.
func parseIndex(b []byte) ([]entry, error) {
	var index struct {
		Manifests []struct {
			MediaType   string            `json:"mediaType"`
			Digest      string            `json:"digest"`
			Size        int64             `json:"size"`
			Annotations map[string]string `json:"annotations"`
		} `json:"manifests"`
	}
	if err := json.Unmarshal(b, &index); err != nil {
		return nil, err
	}
	if len(index.Manifests) > MaxEntries {
		return nil, fmt.Errorf("it has more than MaxEntries, %d, entries", MaxEntries)
	}
	entries := make([]entry, 0, len(index.Manifests))
	for i, m := range index.Manifests {
		d, err := dossier.ParseDigest(m.Digest)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
		e := entry{manifest: manifest{Descriptor: image.Descriptor{MediaType: m.MediaType, Digest: d}}}
		e.repository, e.tag = nameOf(m.Annotations)
		if at, err := time.Parse(time.RFC3339Nano, m.Annotations[annotationFrom]); err == nil {
			e.at = at
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// nameOf reads what the annotations of an image say of its name: a tag, or a whole
// reference.
func nameOf(annotations map[string]string) (repository, tag string) {
	name := annotations[annotationRefName]
	if whole := annotations[annotationName]; whole != "" {
		if ref, err := dossier.ParseReference(whole); err == nil {
			if name == "" {
				name = ref.Tag
			}
			return ref.Repository, cutName(name)
		}
	}
	if strings.ContainsAny(name, "/:") {
		if ref, err := dossier.ParseReference(name); err == nil {
			return ref.Repository, ref.Tag
		}
	}
	return "", name
}

// cutName returns the tag of a name that may be a whole reference.
func cutName(name string) string {
	if strings.ContainsAny(name, "/:") {
		if ref, err := dossier.ParseReference(name); err == nil {
			return ref.Tag
		}
	}
	return name
}

func (r *layoutRepository) path() string { return r.name }

// manifests implements repository.
func (r *layoutRepository) manifests(context.Context) ([]manifest, error) { return r.roots, nil }

// tags implements repository.
func (r *layoutRepository) tags(context.Context) iter.Seq2[tag, error] {
	return func(yield func(tag, error) bool) {
		for _, t := range r.tagged {
			if !yield(t, nil) {
				return
			}
		}
	}
}

// open implements repository.
func (r *layoutRepository) open(d dossier.Digest, _ bool) (io.ReadCloser, error) {
	f, err := r.source.open(path.Join(r.dir, blobsDir, d.Algorithm(), d.Hex()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fs.ErrNotExist
	}
	return f, err
}

// file implements repository.
func (r *layoutRepository) file(d dossier.Digest, _ bool) string {
	return path.Join(r.source.name, r.dir, blobsDir, d.Algorithm(), d.Hex())
}
