// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"context"
	"slices"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/contents"
	"dossier.dev/dossier/internal/origin"
	"dossier.dev/dossier/internal/record"
	"dossier.dev/dossier/internal/store"
)

// LayerReader reads what a layer holds. ref is where the image lies, as package
// image writes references; the edge leads from its manifest. diffID is what the
// layer must have when decompressed, "" when nobody says.
type LayerReader func(ctx context.Context, ref string, layer dossier.Edge, diffID dossier.Digest) (contents.LayerResult, error)

// layerPayload asks to read a layer of an image.
type layerPayload struct {
	Name     string         `json:"name"` // registry and repository
	Manifest dossier.Digest `json:"manifest"`
	Layer    dossier.Digest `json:"layer"`
}

func (p layerPayload) job() store.Job { return newJob(JobLayer, string(p.Layer), p) }

// layer reads one layer, unless that was done.
func (g *Ingest) layer(ctx context.Context, p layerPayload) (finisher, error) {
	if g.Layer == nil {
		return nil, nil
	}
	var s stack
	err := g.Store.View(ctx, func(r store.Reader) (err error) {
		s, err = readStack(ctx, r, p.Manifest)
		return err
	})
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(s.layers, func(e dossier.Edge) bool { return e.Child == p.Layer })
	if i < 0 || s.isCurrent(i) {
		return nil, nil
	}
	return g.readLayer(ctx, p.Name+"@"+string(p.Manifest), s, i)
}

// readLayer reads a layer of a stack, and returns what keeps it: then the images
// that have it can be laid.
func (g *Ingest) readLayer(ctx context.Context, ref string, s stack, i int) (finisher, error) {
	result, err := g.Layer(ctx, ref, s.layers[i], s.diffID(i))
	if err != nil {
		return nil, err
	}
	body, err := contents.Encode(result)
	if err != nil {
		return nil, err
	}
	return func(tx store.Tx) error {
		if _, err := record.Layer(ctx, tx, result, body, g.now()); err != nil {
			return err
		}
		return askForParents(ctx, tx, result.Digest)
	}, nil
}

// askForParents asks for the contents of all images that have a layer, because
// more is known of it.
func askForParents(ctx context.Context, tx store.Tx, layer dossier.Digest) error {
	edges, err := tx.Parents(ctx, []dossier.Digest{layer}, dossier.RoleLayer)
	if err != nil {
		return err
	}
	seen := map[dossier.Digest]bool{}
	for _, e := range edges {
		if seen[e.Parent] {
			continue
		}
		seen[e.Parent] = true
		if err := record.ReadContents(ctx, tx, e.Parent, ""); err != nil {
			return err
		}
	}
	return nil
}

// stack is the layers of an image, and which of them were read.
type stack struct {
	manifest dossier.Digest
	config   []byte         // of the image; nil: it is not known
	layers   []dossier.Edge // base first
	diffIDs  []dossier.Digest
	read     map[dossier.Digest]store.LayerRead
}

// readStack reads what is known of the layers of a manifest.
func readStack(ctx context.Context, r store.Reader, manifest dossier.Digest) (stack, error) {
	s := stack{manifest: manifest}
	edges, err := r.Edges(ctx, []dossier.Digest{manifest}, dossier.RoleConfig, dossier.RoleLayer)
	if err != nil {
		return s, err
	}
	var ds []dossier.Digest
	for _, e := range edges {
		if e.Role == dossier.RoleLayer {
			s.layers = append(s.layers, e)
			ds = append(ds, e.Child)
			continue
		}
		for fact, err := range r.Holding(ctx, []dossier.Digest{e.Child}, dossier.Times{}, dossier.FactConfig) {
			if err != nil {
				return s, err
			}
			s.config = fact.Body
		}
	}
	if c, err := origin.ParseConfig(s.config); err == nil && len(c.DiffIDs) == len(s.layers) {
		s.diffIDs = c.DiffIDs
	}
	s.read, err = r.LayersRead(ctx, ds)
	return s, err
}

// isCurrent reports whether a layer was read by this program or a newer one.
func (s stack) isCurrent(i int) bool {
	l, ok := s.read[s.layers[i].Child]
	return ok && l.Serial >= contents.Serial(contents.Version)
}

// unread returns the positions of the layers that were never read, each digest
// once. What an older program read is good until Refresh has its turn.
func (s stack) unread() []int {
	var out []int
	seen := map[dossier.Digest]bool{}
	for i, l := range s.layers {
		if _, ok := s.read[l.Child]; !ok && !seen[l.Child] {
			out = append(out, i)
		}
		seen[l.Child] = true
	}
	return out
}

// diffID returns what the configuration says of a layer, or "".
func (s stack) diffID(i int) dossier.Digest {
	if len(s.diffIDs) == 0 {
		return ""
	}
	return s.diffIDs[i]
}
