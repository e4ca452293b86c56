// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"context"
	"fmt"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// Lookup returns the digest that a person means by ref: a digest, a unique
// prefix of one, a reference with digest or tag, or a name with a single tag.
// KindNotFound: nothing known is called so. KindConflict: several are.
func (a Answerer) Lookup(ctx context.Context, ref string, at dossier.Times) (dossier.Digest, error) {
	var d dossier.Digest
	err := a.Store.View(ctx, func(r store.Reader) (err error) {
		d, err = lookup(ctx, r, ref, a.gatherer(r, at).then)
		return err
	})
	return d, err
}

func lookup(ctx context.Context, r store.Reader, s string, at time.Time) (dossier.Digest, error) {
	if d, err := dossier.ParseDigest(s); err == nil {
		return d, nil
	}
	if dossier.IsDigestPrefix(s) {
		d, err := lookupPrefix(ctx, r, s)
		if dossier.KindOf(err) != dossier.KindNotFound || strings.Contains(s, ":") {
			return d, err
		}
		// Digits without an algorithm may be a name as well.
	}
	s, err := knownAs(ctx, r, s)
	if err != nil {
		return "", err
	}
	ref, err := dossier.ParseReference(s)
	if err != nil {
		return "", err
	}
	if ref.Digest != "" {
		return ref.Digest, nil
	}
	tags, err := r.TagsAt(ctx, []store.NameTag{{Name: ref.Name(), Tag: ref.WithDefaultTag().Tag}}, at)
	if err != nil {
		return "", err
	}
	if len(tags) > 0 {
		return tags[0].Digest, nil
	}
	return lookupName(ctx, r, ref, at)
}

func lookupPrefix(ctx context.Context, r store.Reader, s string) (dossier.Digest, error) {
	const shown = 5
	ds, err := r.MatchDigest(ctx, s, shown+1)
	switch {
	case err != nil:
		return "", err
	case len(ds) == 0:
		return "", dossier.Errorf(dossier.KindNotFound, "looking up digest", s, "no known digest begins so")
	case len(ds) == 1:
		return ds[0], nil
	}
	var list []string
	for _, d := range ds[:min(len(ds), shown)] {
		list = append(list, string(d))
	}
	return "", &dossier.Error{Kind: dossier.KindConflict, Op: "looking up digest", Subject: s,
		Err: fmt.Errorf("several begin so: %s", strings.Join(list, ", ")), Hint: "give more digits"}
}

// lookupName finds the only tag of a name, or says which tags there are.
func lookupName(ctx context.Context, r store.Reader, ref dossier.Reference, at time.Time) (dossier.Digest, error) {
	const shown = 10
	missing := &dossier.Error{Kind: dossier.KindNotFound, Op: "looking up", Subject: ref.Familiar(),
		Err:  fmt.Errorf("nothing is known of %s", ref.WithDefaultTag()),
		Hint: "dossier images lists what is known; without --server and --offline, dossier show reads an image from its registry"}
	open, err := r.TagPage(ctx, store.TagQuery{Name: ref.Name(), At: at, Limit: shown})
	if err != nil {
		return "", err
	}
	switch {
	case len(open) == 0:
		return "", missing
	case len(open) == 1 && ref.Tag == "":
		return open[0].Digest, nil
	}
	var names []string
	for _, t := range open {
		names = append(names, t.Tag)
	}
	missing.Hint = "known tags are " + strings.Join(names, ", ")
	return "", missing
}
