// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"context"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/record"
	"dossier.dev/dossier/internal/store"
)

// readPayload asks to read a digest that lies in a repository.
type readPayload struct {
	Name      string         `json:"name"` // registry and repository
	Digest    dossier.Digest `json:"digest"`
	Platforms []string       `json:"platforms,omitempty"` // empty: all
}

func (p readPayload) job() store.Job {
	return newJob(JobRead, ReadKey(p.Digest, p.Name)+" "+strings.Join(p.Platforms, ","), p)
}

// ReadKey is what the keys of jobs that read d from name begin with.
func ReadKey(d dossier.Digest, name string) string { return string(d) + " " + name }

// read reads an image from a registry, as far as it is not known yet.
func (g *Ingest) read(ctx context.Context, p readPayload) (finisher, error) {
	tree, err := g.Images.Read(ctx, p.Name+"@"+string(p.Digest), image.ReadOptions{
		Root:      image.Descriptor{Digest: p.Digest},
		Platforms: p.Platforms,
		Known:     g.known(ctx, p.Platforms),
	})
	if err != nil {
		return nil, err
	}
	return g.keep(ctx, finding{tree: tree, root: p.Digest, name: p.Name, at: g.now()}), nil
}

// known returns a function that reports whether a digest was read before, with
// what lies under it: else it is read again, since only its bytes lead to what is
// missing.
func (g *Ingest) known(ctx context.Context, platforms []string) func(dossier.Digest, bool) bool {
	return func(d dossier.Digest, config bool) bool {
		found := false
		err := g.Store.View(ctx, func(r store.Reader) (err error) {
			if !config {
				found, err = isComplete(ctx, r, d, platforms)
				return err
			}
			images, err := r.Images(ctx, []dossier.Digest{d})
			_, found = images[d]
			return err
		})
		return err == nil && found // in doubt it is read again
	}
}

// finding is what was learnt of an image by looking at where it lies.
type finding struct {
	tree *image.Tree // what was read and verified; nil: all of it was known
	root dossier.Digest
	name string      // the repository in which it was found; "" for a local image
	tag  *tagPayload // the tag that points at it; nil: nobody looked
	at   time.Time
}

// keep records a finding; it returns nil when there is nothing to record.
func (g *Ingest) keep(ctx context.Context, f finding) finisher {
	if (f.tree == nil || len(f.tree.Nodes) == 0) && f.name == "" && f.tag == nil {
		return nil
	}
	return func(tx store.Tx) error {
		if f.tree != nil {
			for _, node := range f.tree.Nodes {
				if err := g.keepNode(ctx, tx, f.tree, node); err != nil {
					return err
				}
			}
		}
		if f.name != "" {
			if err := record.Name(ctx, tx, f.root, f.name, f.at); err != nil {
				return err
			}
		}
		if f.tag != nil {
			return pointTag(ctx, tx, *f.tag, f.root, f.at)
		}
		return nil
	}
}

// keepNode records one node, and asks for what it holds.
func (g *Ingest) keepNode(ctx context.Context, tx store.Tx, tree *image.Tree, node image.Node) error {
	isNew, err := record.Node(ctx, tx, node, tree.Nodes)
	if err != nil || !isNew || tree.Name == "" || g.Layer == nil {
		return err
	}
	switch node.Kind {
	case dossier.ImageManifest:
		return record.ReadContents(ctx, tx, node.Digest, tree.Name)
	case dossier.ImageIndex:
		return g.lookAgain(ctx, tx, node, tree.Name)
	}
	return nil
}
