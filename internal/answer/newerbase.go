// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"dossier.dev/dossier"
)

// Limits of the search for a newer base.
const (
	maxBaseHistory = 500 // tags of its repository that are looked at, the newest first
	maxNewerBases  = 20  // images among them whose contents are looked at
)

// newerBase is a newer image of the repository that a base comes from.
type newerBase struct {
	name     string // with its tag, "docker.io/library/debian:12"
	digest   dossier.Digest
	since    time.Time // from when on the tag pointed there
	findings map[string]bool
	packages map[string]string // why nothing, or not everything, can be said of a package; by type and name
}

// newerBases are those of one base that can be judged, the best first.
type newerBases struct {
	list   []newerBase
	unread int // newer ones of which it is not known what they hold, or what advisories say of that
}

// adviseBases says of findings in layers of a known base which newer image of the
// same repository does not have them. That is said only of images whose contents
// were read in full and compared: what is not known of the others is said too.
func (g *gatherer) adviseBases(ctx context.Context, list *dossier.FindingList, in inside, bases []Base) error {
	known := map[string]newerBases{}
	for _, f := range advised(list) {
		name := in.bases[f.Package.Layer]
		if name == "" || f.Remedy == nil {
			continue
		}
		newer, ok := known[name]
		if !ok {
			var err error
			if newer, err = g.newerBases(ctx, name, in, bases); err != nil {
				return err
			}
			known[name] = newer
		}
		newer.advise(f, name)
	}
	return nil
}

// advised returns all findings of a list, suppressed ones too.
func advised(list *dossier.FindingList) []*dossier.Finding {
	var out []*dossier.Finding
	for i := range list.Findings {
		out = append(out, &list.Findings[i])
	}
	for i := range list.Suppressed {
		out = append(out, &list.Suppressed[i].Finding)
	}
	return out
}

// advise completes the remedy of a finding that comes with a base.
func (n newerBases) advise(f *dossier.Finding, base string) {
	for _, b := range n.list {
		if !b.mends(f) {
			continue
		}
		f.Remedy.Kind, f.Remedy.Base, f.Remedy.Newer = dossier.RemedyBase, base, b.name+"@"+string(b.digest)
		f.Remedy.Text = fmt.Sprintf("build on a newer %s: %s has been %s since %s, and has none of this", base, b.digest.Short(), b.name, b.since.UTC().Format(time.DateOnly))
		return
	}
	if f.Remedy.Kind != dossier.RemedyBase {
		return
	}
	switch {
	case len(n.list) == 0 && n.unread == 0:
		f.Remedy.Text += "; no newer one has been seen"
	case len(n.list) == 0:
		f.Remedy.Text += fmt.Sprintf("; %s been seen, and what is in there is not known: dossier show reads one", have(n.unread))
	default:
		f.Remedy.Text += fmt.Sprintf("; of the newer ones that were read (%d) none is known to be without it", len(n.list))
		if n.unread > 0 {
			f.Remedy.Text += fmt.Sprintf(", and %d more were not read", n.unread)
		}
	}
}

func have(n int) string {
	if n == 1 {
		return "a newer one has"
	}
	return fmt.Sprintf("%d newer ones have", n)
}

// mends reports whether an image does not have a finding, and would be known to
// have it.
func (b newerBase) mends(f *dossier.Finding) bool {
	for _, name := range append([]string{f.ID}, f.Aliases...) {
		if b.findings[name] {
			return false
		}
	}
	return b.packages[f.Package.Type+"/"+f.Package.Name] == ""
}

// newerBases looks through what is known of the repository of a base: where its tag
// points now, then its other tags, those seen last before others.
func (g *gatherer) newerBases(ctx context.Context, name string, in inside, bases []Base) (out newerBases, err error) {
	ref, err := dossier.ParseReference(name)
	if err != nil || dossier.IsLocal(name) {
		return out, nil
	}
	history, err := g.r.TagHistory(ctx, ref.Name(), "", maxBaseHistory)
	if err != nil {
		return out, err
	}
	if !g.then.IsZero() {
		history = slices.DeleteFunc(history, func(t dossier.TagInterval) bool { return t.From.After(g.then) })
	}
	// The base itself, by all the digests under which it is known, and since when.
	same, since := map[dossier.Digest]bool{}, time.Time{}
	for _, b := range bases {
		if b.Name == name {
			for _, d := range append(b.Parents, b.Digest) {
				same[d] = true
			}
		}
	}
	for _, t := range history {
		if same[t.Digest] && (since.IsZero() || t.From.Before(since)) {
			since = t.From
		}
	}
	slices.SortStableFunc(history, func(x, y dossier.TagInterval) int {
		if c := number(y.Tag == ref.Tag) - number(x.Tag == ref.Tag); c != 0 {
			return c
		}
		return y.From.Compare(x.From)
	})
	for _, t := range history {
		if same[t.Digest] || !t.From.After(since) || len(out.list)+out.unread >= maxNewerBases {
			continue
		}
		same[t.Digest] = true // each once
		b, fit, err := g.judgeBase(ctx, t, in)
		if err != nil {
			return out, err
		}
		switch fit {
		case fits:
			out.list = append(out.list, b)
		case unknown:
			out.unread++
		}
	}
	return out, nil
}

// fit is whether an image may be put in the place of a base.
type fit int

const (
	other   fit = iota // it is for other platforms, or of another distribution
	unknown            // nobody has read all of it, or compared it with advisories
	fits
)

// judgeBase finds out what is known of an image that may be a newer base.
func (g *gatherer) judgeBase(ctx context.Context, t dossier.TagInterval, in inside) (b newerBase, f fit, err error) {
	b = newerBase{name: t.Name + ":" + t.Tag, digest: t.Digest, since: t.From, findings: map[string]bool{}, packages: map[string]string{}}
	if err := g.loadTree(ctx, []dossier.Digest{t.Digest}); err != nil {
		return b, other, err
	}
	if g.images[t.Digest] == nil {
		return b, unknown, nil // the tag was seen, and not what it points at
	}
	manifest := t.Digest
	if leaves := g.leaves(t.Digest); len(leaves) > 0 {
		at := slices.IndexFunc(leaves, func(e dossier.Edge) bool { return e.Platform == in.platform.Platform })
		if at < 0 {
			return b, other, nil
		}
		manifest = leaves[at].Child
	}
	var held *dossier.Contents
	for f, err := range g.r.Holding(ctx, []dossier.Digest{manifest}, g.at, dossier.FactContents) {
		if err != nil {
			return b, other, err
		}
		if body := (*Parser)(nil).parse(&f); body.err == nil {
			held = &body.contents
		}
	}
	if held == nil {
		return b, unknown, nil
	}
	if distributionID(held) != distributionID(&in.contents) {
		return b, other, nil
	}
	if held.MissedCount > 0 || len(held.Missed) > 0 {
		return b, unknown, nil
	}
	packages, err := g.r.PackagesOfSets(ctx, setsOf(held), g.at.Recorded)
	if err != nil {
		return b, other, err
	}
	for _, p := range packages {
		if !p.Matched {
			return b, unknown, nil
		}
		c := Compared{Ecosystem: p.PackagesAlike.Ecosystem, Feeds: g.matched.Covers[p.PackagesAlike.Ecosystem], Reason: p.Reason, Unclear: p.Unclear}
		if why := c.assess(g.asOf); why != "" {
			b.packages[p.Type+"/"+p.Name] = why
		}
	}
	findings, err := g.r.FindingsOfSets(ctx, setsOf(held), g.at.Recorded)
	for _, f := range findings {
		b.findings[f.ID] = true
		for _, a := range f.Aliases {
			b.findings[a] = true
		}
	}
	return b, fits, err
}

func distributionID(c *dossier.Contents) string {
	if c.Distribution == nil {
		return ""
	}
	return c.Distribution.ID
}
