// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
)

// bytes checks the facts that are exact bytes against the digests that they are about, and the
// edges of the evidence against what the bytes say: no log and no server need be believed for that.
func (c *check) bytes() {
	n := 0
	edges := map[dossier.Digest][]dossier.Edge{}
	for _, f := range c.evidence.Facts {
		switch f.Kind {
		case dossier.FactIndex, dossier.FactManifest, dossier.FactConfig:
		default:
			continue
		}
		if _, ok := c.file.Log.Erased[f.ID]; ok && len(f.Body) == 0 {
			continue
		}
		if !f.Subject.Matches(f.Body) {
			c.fault("fact %s has other bytes than %s", f.ID, f.Subject)
			continue
		}
		n++
		if f.Kind == dossier.FactConfig {
			continue
		}
		node, err := image.ParseManifest(image.Descriptor{Digest: f.Subject, MediaType: c.mediaType(f.Subject)}, f.Body)
		if err != nil {
			c.claimed("what %s refers to: %v", f.Subject.Short(), err)
			continue
		}
		edges[f.Subject] = append(edges[f.Subject], node.Edges...)
	}
	for _, e := range c.evidence.Edges {
		own, known := edges[e.Parent]
		if e.Role == dossier.RoleChain || !known {
			continue
		}
		if !slices.ContainsFunc(own, func(o dossier.Edge) bool { return o.Child == e.Child && o.Role == e.Role && o.Position == e.Position }) {
			c.fault("the evidence says that %s leads to %s, and its bytes do not", e.Parent, e.Child)
		}
	}
	if n > 0 {
		c.proven("SHA-256", "%s or configurations here are those of their digests, byte for byte", count(n, "manifest", "manifests"))
	}
}

// mediaType returns what the evidence says a digest is, for bytes that do not say it themselves.
func (c *check) mediaType(d dossier.Digest) string {
	if c.evidence.Image != nil && c.evidence.Image.Digest == d {
		return c.evidence.Image.MediaType
	}
	for _, e := range c.evidence.Edges {
		if e.Child == d {
			return e.MediaType
		}
	}
	return ""
}

// claims says what only the log's claim stands for.
func (c *check) claims() {
	e := &c.evidence
	if len(c.report.Faults) > 0 {
		return
	}
	say := func(n int, one, many string) {
		if n > 0 {
			c.claimed("%s", count(n, one, many))
		}
	}
	say(len(e.Names), "name under which it was found", "names under which it was found")
	say(len(e.Tags), "tag that pointed at it", "tags that pointed at it")
	say(len(e.Places), "place that ran it", "places that ran it")
	say(len(e.Bases), "image that it is built on", "images that it is built on")
	say(len(e.Problems), "problem with reading it", "problems with reading it")
	for _, f := range e.Facts {
		var p dossier.SignerPin
		if f.Kind == dossier.FactPin && json.Unmarshal(f.Body, &p) == nil {
			c.claimed("that %s signed first in %s, and so is pinned: it was found by the trust policy %s, and recorded at %s", p.Signer, p.Scope, p.Trust.Short(), f.RecordedAt.UTC().Format(time.RFC3339))
		}
	}
	for _, x := range e.Exposures {
		c.claimed("that advisories say %s of what is in %s, and no more", count(len(x.Vulnerabilities), "thing", "things"), x.On.Short())
	}
	if len(e.Feeds) == 0 {
		c.claimed("that nothing else was known at %d entries of the log; no advisories were there", c.checkpoint.Size)
		return
	}
	var feeds []string
	for _, f := range e.Feeds {
		text := fmt.Sprintf("%s as of %s, update %d", f.Ecosystem, f.AsOf.UTC().Format("2006-01-02T15:04:05Z"), f.Serial)
		for _, state := range c.file.Feeds {
			if state.Feed == f.Ecosystem && state.Serial == f.Serial {
				text += ", " + string(state.Digest)
			}
		}
		feeds = append(feeds, text)
	}
	c.claimed("that nothing else was known at %d entries of the log and with these advisories: %s", c.checkpoint.Size, strings.Join(feeds, "; "))
}
