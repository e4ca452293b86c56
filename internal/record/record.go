// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package record writes what was learnt of an image: its exact bytes as facts,
// its edges, the names and tags under which it was found, and the search terms
// that follow from them.
//
// Whoever learns something, by reading a registry or by being one, records it
// through this package, so that the same image gives the same facts. Every
// function writes within the transaction that it is given and promises that
// recording the same thing twice changes nothing.
//
// It reads nothing from outside and decides nothing: bytes must have been
// checked against their digest before they come here.
package record

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/origin"
	"dossier.dev/dossier/internal/store"
)

// ContentSource is the source of facts that are properties of bytes: whoever
// reads them finds the same, so they are recorded once.
const ContentSource = "image"

// RegistrySource is the source of facts about a tag of a repository, or about
// the repository itself when tag is empty.
func RegistrySource(name, tag string) string {
	if tag == "" {
		return "registry:" + name
	}
	return "registry:" + name + ":" + tag
}

// Node records the exact bytes of one document, its edges and the terms by which it is
// found, and reports whether they were new. nodes are those it was read with: the configuration of
// a manifest is looked for there, and then among the facts.
func Node(ctx context.Context, tx store.Tx, node image.Node, nodes []image.Node) (bool, error) {
	kind := dossier.FactManifest
	switch node.Kind {
	case dossier.ImageIndex:
		kind = dossier.FactIndex
	case dossier.ImageConfig:
		kind = dossier.FactConfig
	}
	_, isNew, err := tx.Record(ctx, dossier.Statement{Subject: node.Digest, Kind: kind, Source: ContentSource, Body: node.Bytes})
	if err != nil {
		return false, err
	}
	image, edges, err := Image(ctx, tx, node, nodes)
	if err != nil {
		return false, err
	}
	if isNew { // what follows from other facts, names and tags is there
		terms, malformed := origin.Terms(kind, node.Bytes)
		if malformed != nil {
			terms = nil // the answer says what is wrong with them
		}
		if err := tx.AddTerms(ctx, node.Digest, terms); err != nil {
			return false, err
		}
	}
	return isNew, tx.PutImage(ctx, image, edges)
}

// Image returns what is kept of a document besides its bytes. nodes are those it was read with.
// A manifest whose platform nobody stated has that of its configuration, if that is known.
func Image(ctx context.Context, r store.Reader, node image.Node, nodes []image.Node) (dossier.Image, []dossier.Edge, error) {
	kept := dossier.Image{Digest: node.Digest, Kind: node.Kind, MediaType: node.MediaType, Size: int64(len(node.Bytes)), Platform: node.Platform}
	at := slices.IndexFunc(node.Edges, func(e dossier.Edge) bool { return e.Role == dossier.RoleConfig })
	if node.Kind != dossier.ImageManifest || at < 0 {
		return kept, node.Edges, nil
	}
	config, err := configOf(ctx, r, node.Edges[at].Child, nodes)
	if err != nil || config == nil {
		return kept, node.Edges, err
	}
	if kept.Platform == "" {
		if c, err := image.ParseConfig(image.Descriptor{Digest: node.Edges[at].Child}, config); err == nil {
			kept.Platform = c.Platform
		}
	}
	return kept, append(slices.Clone(node.Edges), chainEdge(node.Digest, config)...), nil
}

// configOf returns the bytes of a configuration, nil when they are not known.
func configOf(ctx context.Context, r store.Reader, d dossier.Digest, nodes []image.Node) ([]byte, error) {
	for _, n := range nodes {
		if n.Digest == d {
			return n.Bytes, nil
		}
	}
	var body []byte
	for fact, err := range r.Holding(ctx, []dossier.Digest{d}, dossier.Times{}, dossier.FactConfig) {
		if err != nil {
			return nil, err
		}
		body = fact.Body
	}
	return body, nil
}

// chainEdge returns the edge from an image manifest to the chain ID of all its
// layers, by which images that were built on it are found.
func chainEdge(manifest dossier.Digest, config []byte) []dossier.Edge {
	c, err := origin.ParseConfig(config)
	if err != nil || len(c.DiffIDs) == 0 || slices.Contains(c.DiffIDs, "") {
		return nil // nothing can be said to be built on it
	}
	ids := dossier.ChainIDs(c.DiffIDs)
	return []dossier.Edge{{Parent: manifest, Child: ids[len(ids)-1], Role: dossier.RoleChain, Position: len(ids)}}
}

// Name records that a digest was found under a repository name (registry and
// repository), once, and makes it findable by it.
func Name(ctx context.Context, tx store.Tx, d dossier.Digest, name string, at time.Time) error {
	isNew, err := tx.PutName(ctx, d, name, at)
	if err != nil || !isNew {
		return err
	}
	body, _ := json.Marshal(dossier.NameBody{Name: name}) // a struct of strings: cannot fail
	_, _, err = tx.Record(ctx, dossier.Statement{Subject: d, Kind: dossier.FactName, Source: RegistrySource(name, ""), ValidAt: at, Body: body})
	if err != nil {
		return err
	}
	return tx.AddTerms(ctx, d, []store.Term{referenceTerm(name, "")})
}

// Moved records that a tag left was and points at now; either may be empty. From
// now on it leads a search to now. What it costs does not depend on how many
// other tags point at either.
func Moved(ctx context.Context, tx store.Tx, tag store.NameTag, was, now dossier.Digest, at time.Time) error {
	term := referenceTerm(tag.Name, tag.Tag)
	for _, end := range []struct {
		digest dossier.Digest
		points bool
	}{{was, false}, {now, true}} {
		if end.digest == "" {
			continue
		}
		body, _ := json.Marshal(dossier.TagBody{Name: tag.Name, Tag: tag.Tag, Points: end.points})
		_, _, err := tx.Record(ctx, dossier.Statement{
			Subject: end.digest, Kind: dossier.FactTag, Source: RegistrySource(tag.Name, tag.Tag), ValidAt: at, Body: body,
		})
		if err != nil {
			return err
		}
		if end.points {
			err = tx.AddTerms(ctx, end.digest, []store.Term{term})
		} else {
			err = tx.DropTerm(ctx, end.digest, term)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Terms makes the search terms of digests from their facts, names and tags. It
// is for digests of which a fact is new: Node, Name and Moved see to their own.
func Terms(ctx context.Context, tx store.Tx, ds ...dossier.Digest) error {
	ds = slices.Clone(ds)
	slices.Sort(ds)
	for _, d := range slices.Compact(ds) {
		terms, err := TermsOf(ctx, tx, d)
		if err == nil {
			err = tx.PutTerms(ctx, d, terms)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// TermsOf returns the search terms of a digest, as they follow from its facts, names and tags.
func TermsOf(ctx context.Context, r store.Reader, d dossier.Digest) ([]store.Term, error) {
	var terms []store.Term
	ds := []dossier.Digest{d}
	for fact, err := range r.Holding(ctx, ds, dossier.Times{}) {
		if err != nil {
			return nil, err
		}
		found, err := origin.Terms(fact.Kind, fact.Body)
		if err != nil {
			continue // the bytes are what they are; the answer says what is wrong with them
		}
		terms = append(terms, found...)
	}
	names, err := r.Names(ctx, ds)
	if err != nil {
		return nil, err
	}
	for _, n := range names[d] {
		terms = append(terms, referenceTerm(n.Name, ""))
	}
	tags, err := r.TagsOf(ctx, ds, time.Time{})
	if err != nil {
		return nil, err
	}
	for _, t := range tags {
		terms = append(terms, referenceTerm(t.Name, t.Tag))
	}
	return terms, nil
}

func referenceTerm(name, tag string) store.Term {
	value := name
	if tag != "" {
		value += ":" + tag
	}
	return store.Term{Field: dossier.FieldReference, Value: value, Key: store.ReferenceKey(name, tag)}
}

// JobContents is the kind of job that reads what an image holds, the program that
// it starts among it.
const JobContents = "image.contents"

// ContentsPayload is the payload of a JobContents.
type ContentsPayload struct {
	Name     string         `json:"name"` // registry and repository
	Manifest dossier.Digest `json:"manifest"`
}

// Job returns the job that asks for it.
func (p ContentsPayload) Job() store.Job {
	b, _ := json.Marshal(p) // a struct of strings: cannot fail
	return store.Job{Kind: JobContents, Key: string(p.Manifest), Payload: b}
}
