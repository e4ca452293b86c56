// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"fmt"

	"dossier.dev/dossier"
)

// ReadOptions says what of an image to read.
type ReadOptions struct {
	// Root is the image as Resolve gave it. When it is empty, Read resolves.
	Root Descriptor
	// Platforms, "os/arch[/variant]", are those whose manifests are read from an
	// index, as dossier.PlatformMatches says: all when empty, and children whose
	// platform the index does not state in any case.
	Platforms []string
	// Known reports digests that need not be read as a configuration, or else as a
	// manifest or an index. What lies under a known one is not read either, since
	// only its bytes name it.
	Known func(d dossier.Digest, config bool) bool
}

// Tree is what was read of an image.
type Tree struct {
	Name  string // registry and repository; "" for a local image
	Root  Descriptor
	Nodes []Node // parents before children, the root first; each digest once
	// Missing are children of an index that are not there. Layouts and
	// registries may hold a part of an index only.
	Missing []dossier.Digest
}

const opRead = "reading image"

// walker reads a tree.
type walker struct {
	source source
	limits Limits
	opt    ReadOptions
	seen   map[dossier.Digest]bool
	tree   *Tree
}

func readTree(ctx context.Context, s source, limits Limits, opt ReadOptions) (*Tree, error) {
	w := &walker{
		source: s, limits: limits, opt: opt,
		seen: map[dossier.Digest]bool{},
		tree: &Tree{Name: s.name(), Root: opt.Root},
	}
	if opt.Root.Digest == "" {
		root, err := s.resolve(ctx)
		if err != nil {
			return nil, err
		}
		w.tree.Root = root
	}
	if err := w.root(ctx); err != nil {
		return nil, err
	}
	return w.tree, nil
}

// root reads the root. Size and media type of a root come from headers or from
// the caller; the bytes themselves know better.
func (w *walker) root(ctx context.Context) error {
	root := w.tree.Root
	if w.skip(root.Digest, false) {
		return nil
	}
	n, err := w.manifest(ctx, Descriptor{Digest: root.Digest}, root.MediaType)
	if err != nil {
		return err
	}
	w.tree.Root = n.Descriptor
	return w.follow(ctx, n, 1)
}

// skip reports whether d needs no reading, and remembers it.
func (w *walker) skip(d dossier.Digest, config bool) bool {
	if w.seen[d] || w.opt.Known != nil && w.opt.Known(d, config) {
		return true
	}
	w.seen[d] = true
	return false
}

// manifest reads an index or a manifest. fallback is its media type when
// nothing else says it.
func (w *walker) manifest(ctx context.Context, want Descriptor, fallback string) (Node, error) {
	if len(w.tree.Nodes) >= w.limits.Documents {
		return Node{}, limitError(opRead, string(w.tree.Root.Digest), "Documents", int64(w.limits.Documents), "it has more parts")
	}
	body, err := w.source.open(ctx, manifests, want.Digest)
	if err != nil {
		return Node{}, err
	}
	stated := body.mediaType
	b, err := readAll(opParse, body, want, ceiling{"Manifest", w.limits.Manifest})
	if err != nil {
		return Node{}, err
	}
	d := want
	for _, mediaType := range []string{fallback, stated} {
		if d.MediaType == "" {
			d.MediaType = mediaType
		}
	}
	n, err := ParseManifest(d, b)
	if err != nil {
		return Node{}, err
	}
	if want.MediaType != "" && n.MediaType != want.MediaType {
		return Node{}, dossier.Errorf(dossier.KindCorrupt, opParse, string(want.Digest),
			fmt.Sprintf("it is said to be %s and says it is %s", quote(want.MediaType), quote(n.MediaType)))
	}
	w.tree.Nodes = append(w.tree.Nodes, n)
	return n, nil
}

// follow reads what lies under n, which is at a depth of depth indexes.
func (w *walker) follow(ctx context.Context, n Node, depth int) error {
	switch n.Kind {
	case dossier.ImageIndex:
		return w.children(ctx, n, depth)
	case dossier.ImageManifest:
		return w.config(ctx, n, len(w.tree.Nodes)-1)
	}
	return nil
}

func (w *walker) children(ctx context.Context, index Node, depth int) error {
	if depth > w.limits.Nesting {
		return limitError(opRead, string(index.Digest), "Nesting", int64(w.limits.Nesting), "indexes lie deeper within each other")
	}
	if n := len(index.Edges); n > w.limits.IndexEntries {
		return limitError(opRead, string(index.Digest), "IndexEntries", int64(w.limits.IndexEntries), fmt.Sprintf("the index has %d entries", n))
	}
	for _, e := range index.Edges {
		if !w.opt.Wants(e) || w.skip(e.Child, false) {
			continue
		}
		if e.Size == 0 {
			return emptyError(opParse, e)
		}
		n, err := w.manifest(ctx, Descriptor{MediaType: e.MediaType, Digest: e.Child, Size: e.Size}, "")
		if dossier.KindOf(err) == dossier.KindNotFound {
			w.tree.Missing = append(w.tree.Missing, e.Child)
			continue
		}
		if err != nil {
			return fmt.Errorf("reading a child of %s: %w", e.Parent, err)
		}
		w.tree.Nodes[len(w.tree.Nodes)-1].Platform = e.Platform
		n.Platform = e.Platform
		if err := w.follow(ctx, n, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// emptyError refuses a child that should have no bytes, which no document has.
func emptyError(op string, e dossier.Edge) error {
	return dossier.Errorf(dossier.KindCorrupt, op, string(e.Child), "its size should be 0, says "+string(e.Parent))
}

// Wants reports whether Read reads the child of an index that e leads to: not
// attestations, not what is no image at all, not platforms that nobody asked for.
func (o ReadOptions) Wants(e dossier.Edge) bool {
	if e.Role != dossier.RolePlatform {
		return false
	}
	if e.MediaType != "" && !isIndexType(e.MediaType) && !isManifestType(e.MediaType) {
		return false
	}
	return dossier.PlatformMatches(e.Platform, o.Platforms)
}

// config reads the configuration of the manifest at Nodes[at].
func (w *walker) config(ctx context.Context, manifest Node, at int) error {
	for _, e := range manifest.Edges {
		if e.Role != dossier.RoleConfig {
			continue
		}
		if w.skip(e.Child, true) {
			w.takePlatform(at, e.Child)
			continue
		}
		want := Descriptor{MediaType: e.MediaType, Digest: e.Child, Size: e.Size}
		most := ceiling{"Config", w.limits.Config}
		if e.Size > most.n {
			return limitError(opConfig, string(e.Child), most.name, most.n, fmt.Sprintf("it has %d bytes", e.Size))
		}
		if e.Size == 0 {
			return emptyError(opConfig, e)
		}
		body, err := w.source.open(ctx, blobs, e.Child)
		if err != nil {
			return fmt.Errorf("reading the configuration of %s: %w", e.Parent, err)
		}
		b, err := readAll(opConfig, body, want, most)
		if err != nil {
			return fmt.Errorf("reading the configuration of %s: %w", e.Parent, err)
		}
		n, err := ParseConfig(want, b)
		if err != nil {
			return fmt.Errorf("reading the configuration of %s: %w", e.Parent, err)
		}
		w.tree.Nodes = append(w.tree.Nodes, n)
		w.takePlatform(at, e.Child)
	}
	return nil
}

// takePlatform gives the manifest at Nodes[at] the platform of its
// configuration, if that was read and the index said nothing.
func (w *walker) takePlatform(at int, config dossier.Digest) {
	if w.tree.Nodes[at].Platform != "" {
		return
	}
	for _, n := range w.tree.Nodes {
		if n.Digest == config {
			w.tree.Nodes[at].Platform = n.Platform
		}
	}
}
