// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// maxPackages bounds how many versions of packages one search looks at.
const maxPackages = 10_000

// packageTerm is a search for packages as people write it: NAME, NAME@VERSION,
// NAME@<VERSION, or a package URL, also in the field package.
type packageTerm struct {
	name   string // as store.PackageTerms writes names
	prefix bool
	kind   string // type of the purl, "" for any
	space  string // namespace of the purl, "" for any
	op     string // "", "=", "<", "<=", ">", ">="
	than   string // version
	only   bool   // it can mean nothing but a package
}

// parsePackageTerm reads a term, and reports whether it may mean a package.
func parsePackageTerm(text string) (packageTerm, bool) {
	var t packageTerm
	text, t.only = cutFold(text, string(dossier.FieldPackage)+"=")
	if text, t.prefix = strings.CutSuffix(text, "*"); text == "" {
		return t, false
	}
	if rest, ok := cutFold(text, "pkg:"); ok {
		t.only = true
		return t.purl(rest)
	}
	name := text
	if i := strings.LastIndexByte(text, '@'); i > 0 {
		name, t.than = text[:i], text[i+1:]
		if _, err := dossier.ParseDigest(t.than); err == nil || t.than == "" || t.prefix {
			return t, false
		}
		t.op, t.than = cutOperator(t.than)
		t.only = t.only || t.op != "="
	}
	t.name = store.Normal(name)
	return t, t.name != "" && !(t.op != "" && t.than == "")
}

// cutOperator parts what compares from the version that is compared with.
func cutOperator(s string) (op, version string) {
	for _, op := range []string{"<=", ">=", "<", ">", "="} {
		if rest, ok := strings.CutPrefix(s, op); ok {
			return op, strings.TrimSpace(rest)
		}
	}
	return "=", s
}

// purl reads a package URL without its scheme (purl specification 1.0).
// Qualifiers and what follows make no difference.
func (t packageTerm) purl(s string) (packageTerm, bool) {
	s, _, _ = strings.Cut(s, "#")
	s, _, _ = strings.Cut(s, "?")
	kind, rest, ok := strings.Cut(strings.TrimLeft(s, "/"), "/")
	if !ok {
		return t, false
	}
	if i := strings.LastIndexByte(rest, '@'); i > 0 {
		t.op, t.than = cutOperator(unescape(rest[i+1:]))
		rest = rest[:i]
	}
	space, name := "", rest
	if i := strings.LastIndexByte(rest, '/'); i >= 0 {
		space, name = rest[:i], rest[i+1:]
	}
	t.kind, t.space, t.name = strings.ToLower(kind), strings.ToLower(unescape(space)), unescape(name)
	switch {
	case t.space == "" || t.kind == "deb" || t.kind == "apk" || t.kind == "rpm":
	case t.kind == "maven":
		t.name = t.space + ":" + t.name
	default:
		t.name = t.space + "/" + t.name
	}
	if t.kind == "golang" && t.op == "=" {
		t.than = strings.TrimPrefix(t.than, "v")
	}
	t.name = store.Normal(t.name)
	return t, t.name != "" && !(t.op != "" && t.than == "")
}

func unescape(s string) string {
	if out, err := url.PathUnescape(s); err == nil {
		return out
	}
	return s
}

// means reports whether a package is one that the term means.
func (t packageTerm) means(p dossier.Package, order Order) (bool, error) {
	if t.kind != "" && p.Type != t.kind {
		return false, nil
	}
	if t.space != "" && slices.Contains([]string{"deb", "apk", "rpm"}, t.kind) && !strings.HasPrefix(p.PURL, "pkg:"+t.kind+"/"+t.space+"/") {
		return false, nil
	}
	switch t.op {
	case "":
		return true, nil
	case "=":
		return p.Version == t.than || strings.TrimPrefix(p.Version, "v") == strings.TrimPrefix(t.than, "v"), nil
	}
	if order == nil {
		return false, &dossier.Error{Kind: dossier.KindUnsupported, Op: "comparing versions", Subject: p.PURL,
			Hint: "search for NAME or NAME@VERSION"}
	}
	if p.Version == "" {
		return false, nil // nobody can say
	}
	n, err := order(p, t.than)
	if err != nil {
		return false, nil // versions that have no order are in no range
	}
	switch t.op {
	case "<":
		return n < 0, nil
	case "<=":
		return n <= 0, nil
	case ">":
		return n > 0, nil
	}
	return n >= 0, nil
}

// Order compares the version of a package with another of its ecosystem: -1, 0
// or 1, or an error when one of them is none there.
type Order func(p dossier.Package, version string) (int, error)

// findPackages returns at which manifests there are packages that a term means.
func (a Answerer) findPackages(ctx context.Context, r store.Reader, t packageTerm, limit int) (packageHits, error) {
	hits := packageHits{at: map[dossier.Digest][]dossier.PackageAt{}}
	known, err := r.FindPackages(ctx, t.name, t.prefix, maxPackages)
	if err != nil {
		return hits, err
	}
	byID := map[int64]dossier.Package{}
	var ids []int64
	for _, p := range known {
		ok, err := t.means(p.Package, a.Order)
		if err != nil {
			return hits, err
		}
		if ok {
			byID[p.ID] = p.Package
			ids = append(ids, p.ID)
		}
	}
	hits.more = len(known) >= maxPackages
	return hits, hits.hold(ctx, r, ids, limit, func(id int64) (dossier.Package, store.Term) {
		p := byID[id]
		return p, store.Term{Field: dossier.FieldPackage, Value: strings.TrimSpace(p.Name + " " + p.Version)}
	})
}

// findVulnerable returns at which manifests there are packages that have a
// vulnerability, by any of its IDs.
func (a Answerer) findVulnerable(ctx context.Context, r store.Reader, id string, limit int) (packageHits, error) {
	hits := packageHits{at: map[dossier.Digest][]dossier.PackageAt{}}
	known, err := r.FindingsNamed(ctx, id, time.Time{}, maxPackages)
	if err != nil {
		return hits, err
	}
	byID := map[int64]store.KnownFinding{}
	var ids []int64
	for _, f := range known {
		if _, ok := byID[f.Package]; !ok {
			byID[f.Package] = f
			ids = append(ids, f.Package)
		}
	}
	hits.more = len(known) >= maxPackages
	hits.findings = byID
	return hits, hits.hold(ctx, r, ids, limit, func(id int64) (dossier.Package, store.Term) {
		f := byID[id]
		p := f.Finding.Package.Package
		return p, store.Term{Field: dossier.FieldVulnerability, Value: strings.TrimSpace(f.ID + " in " + p.Name + " " + p.Version)}
	})
}

// hold notes which manifests have packages, and what was found in each first.
func (hits *packageHits) hold(ctx context.Context, r store.Reader, ids []int64, limit int, of func(int64) (dossier.Package, store.Term)) error {
	holders, err := r.PackageHolders(ctx, ids, limit)
	hits.holders = holders
	for _, h := range holders {
		p, term := of(h.Package)
		list := hits.at[h.Manifest]
		if len(list) == 0 {
			hits.terms = append(hits.terms, store.TermHit{Digest: h.Manifest, Term: term})
		}
		if len(list) < dossier.FoundPackages {
			hits.at[h.Manifest] = append(list, dossier.PackageAt{Package: p, Layer: h.Layer, Path: h.Path})
		}
	}
	hits.more = hits.more || len(holders) >= limit
	return err
}

// packageHits is the packages that a search found, by the manifest that has them.
type packageHits struct {
	at    map[dossier.Digest][]dossier.PackageAt
	terms []store.TermHit
	more  bool // than were looked for

	holders  []store.PackageHolder
	findings map[int64]store.KnownFinding // of the vulnerability that was searched for, by package
}

// distinctPackages drops doubles, as the platforms of an image have them, and
// what is too much for a list.
func distinctPackages(list []dossier.PackageAt) []dossier.PackageAt {
	var out []dossier.PackageAt
	type place struct {
		purl, path string
		layer      dossier.Digest
	}
	seen := map[place]bool{}
	for _, p := range list {
		at := place{p.PURL, p.Path, p.Layer}
		if !seen[at] && len(out) < dossier.FoundPackages {
			seen[at] = true
			out = append(out, p)
		}
	}
	return out
}
