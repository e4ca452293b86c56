// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/answer"
	"dossier.dev/dossier/internal/contents"
	"dossier.dev/dossier/internal/contents/bill"
	"dossier.dev/dossier/internal/scan"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/vex"
)

const opScan = "scanning"

// AttachedVEX stands for the VEX documents that are attached to an image.
const AttachedVEX = "attached"

// ScanQuery says what is scanned, and how.
type ScanQuery struct {
	Target   string        // a directory, a bill of materials, or an image as people write references
	Platform string        // of an image for several, as for SBOMQuery
	MaxAge   time.Duration // how old feeds of advisories may be; 0: any age
	VEX      []string      // files of VEX documents; AttachedVEX: those that are attached to the image
	Ignore   []string      // files of what to ignore
	// Stale gets why an image was not read again, when the answer is what is
	// stored. nil: nobody wants to know.
	Stale func(error)
}

// artifact is what was read of a target.
type artifact struct {
	name     string // as it was read: "oci:DIR" for a directory that is a layout
	digest   dossier.Digest
	packages []dossier.PackageAt
	missed   []dossier.Missed
	notes    []string
	subject  vex.Subject
	vex      []vex.Source              // attached to it
	bases    map[dossier.Digest]string // the known image that has a layer in the same place
}

// Scan says what the advisories of this machine say of something. It needs no
// server. KindNotFound: there are no advisories, or no such thing. KindInvalid: a
// file of VEX or of what to ignore is none.
func Scan(ctx context.Context, c Config, q ScanQuery) (list dossier.FindingList, err error) {
	files := slices.DeleteFunc(slices.Clone(q.VEX), func(path string) bool { return path == AttachedVEX })
	rules, err := ReadRules(files, q.Ignore)
	if err != nil {
		return dossier.FindingList{}, err
	}
	feeds, err := OpenFeeds(ctx, c)
	if err != nil {
		return dossier.FindingList{}, err
	}
	defer func() { err = errors.Join(err, feeds.Close()) }()
	found, err := read(ctx, c, q)
	if err != nil {
		return dossier.FindingList{}, err
	}
	options := scan.Options{Now: dossier.Instant(feeds.Now()), MaxAge: q.MaxAge}
	err = feeds.Store.View(ctx, func(r store.Reader) (err error) {
		list, err = scan.Find(ctx, r, found.packages, options)
		return err
	})
	if err != nil {
		return dossier.FindingList{}, err
	}
	list.Artifact, list.Digest, list.Missed = found.name, found.digest, found.missed
	list.Notes = append(list.Notes, found.notes...)
	if len(files) < len(q.VEX) {
		rules.Documents = append(rules.Documents, found.vex...)
		list.Notes = append(list.Notes, answer.Standings(found.vex)...)
	} else if n := len(found.vex); n > 0 {
		list.Notes = append(list.Notes, fmt.Sprintf("VEX documents are attached to the image (%d) and not applied: --vex %s applies them", n, AttachedVEX))
	}
	rules.Judge(&list, found.subject, options.Now)
	scan.Advise(&list, found.bases)
	return list, nil
}

// ReadRules reads files of VEX documents and of what to ignore.
func ReadRules(documents, ignores []string) (vex.Rules, error) {
	var rules vex.Rules
	for _, path := range documents {
		b, err := readSmall(path, maxRules)
		if err != nil {
			return vex.Rules{}, err
		}
		d, err := vex.Parse(b, vex.Limits{Document: maxRules})
		if err != nil {
			return vex.Rules{}, fmt.Errorf("%s: %w", path, err)
		}
		rules.Documents = append(rules.Documents, vex.Source{Document: d, Where: path})
	}
	for _, path := range ignores {
		b, err := readSmall(path, maxRules)
		if err != nil {
			return vex.Rules{}, err
		}
		list, err := vex.ParseIgnores(path, b)
		if err != nil {
			return vex.Rules{}, err
		}
		rules.Ignores = append(rules.Ignores, list...)
	}
	return rules, nil
}

// maxRules bounds a file of VEX or of what to ignore, in bytes.
const maxRules = 256 << 20

// readSmall reads a file of at most max bytes.
func readSmall(path string, max int64) ([]byte, error) {
	fail := func(kind dossier.Kind, err error) ([]byte, error) {
		e := &dossier.Error{Kind: kind, Op: "reading", Subject: path, Err: err}
		if kind == dossier.KindNotFound {
			e.Hint = "check the path"
		}
		return nil, e
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return fail(dossier.KindNotFound, errors.New("there is no such file"))
	}
	if err != nil {
		return fail(dossier.KindStorage, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, max+1))
	if err != nil {
		return fail(dossier.KindStorage, err)
	}
	if int64(len(b)) > max {
		return fail(dossier.KindLimit, fmt.Errorf("it has more than %d bytes", max))
	}
	return b, nil
}

// read reads what a target is. What lies there as a file or a directory goes
// before an image of that name.
func read(ctx context.Context, c Config, q ScanQuery) (artifact, error) {
	if dossier.IsLocal(q.Target) {
		return readImage(ctx, c, q)
	}
	info, err := os.Stat(q.Target)
	switch {
	case err != nil && isPath(q.Target):
		return artifact{}, &dossier.Error{Kind: dossier.KindNotFound, Op: opScan, Subject: q.Target, Err: errors.New("there is no such file or directory"),
			Hint: "name a directory, a file with a bill of materials, or an image that is there"}
	case err != nil:
		return readImage(ctx, c, q)
	case info.IsDir():
		if _, err := os.Stat(filepath.Join(q.Target, "oci-layout")); err == nil {
			q.Target = dossier.LayoutPrefix + q.Target
			return readImage(ctx, c, q)
		}
		return readDir(ctx, q.Target)
	}
	return readFile(ctx, c, q)
}

// isPath reports whether a target can be nothing but a path.
func isPath(target string) bool {
	return filepath.IsAbs(target) || strings.HasPrefix(target, "./") || strings.HasPrefix(target, "../") || target == "." || target == ".."
}

func readDir(ctx context.Context, dir string) (artifact, error) {
	r, err := contents.ReadDir(ctx, dir, contents.Options{})
	if err != nil {
		return artifact{}, err
	}
	image := contents.Fold([]contents.LayerResult{r})
	return artifact{name: dir, packages: image.All(), missed: image.Missed}, nil
}

// maxScannedBill bounds a bill of materials, in bytes.
const maxScannedBill = 256 << 20

// readFile reads a bill of materials, or an image in an archive.
func readFile(ctx context.Context, c Config, q ScanQuery) (artifact, error) {
	fail := func(kind dossier.Kind, err error) (artifact, error) {
		return artifact{}, &dossier.Error{Kind: kind, Op: opScan, Subject: q.Target, Err: err}
	}
	f, err := os.Open(q.Target)
	if err != nil {
		return fail(dossier.KindStorage, err)
	}
	defer f.Close()
	head := make([]byte, 64)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF {
		return fail(dossier.KindStorage, err)
	}
	if head = bytes.TrimLeft(head[:n], "\ufeff \t\r\n"); len(head) == 0 || head[0] != '{' {
		q.Target = dossier.ArchivePrefix + q.Target
		return readImage(ctx, c, q)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fail(dossier.KindStorage, err)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxScannedBill+1))
	if err != nil {
		return fail(dossier.KindStorage, err)
	}
	listed, err := bill.Parse(b, bill.Limits{Document: maxScannedBill})
	if err != nil {
		return fail(dossier.KindOf(err), err)
	}
	out := artifact{name: q.Target, packages: listed.Listed()}
	if listed.Unnamed > 0 {
		out.notes = append(out.notes, fmt.Sprintf("%d entries of the bill of materials have no package URL and were not judged", listed.Unnamed))
	}
	if len(out.packages) == 0 {
		out.notes = append(out.notes, "the bill of materials lists no packages")
	}
	return out, nil
}

// readImage reads an image into the store, or finds it there.
func readImage(ctx context.Context, c Config, q ScanQuery) (out artifact, err error) {
	e, err := Open(ctx, c)
	if err != nil {
		return artifact{}, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	stale, err := e.Refresh(ctx, q.Target)
	if err != nil {
		return artifact{}, err
	}
	if stale != nil && q.Stale != nil {
		q.Stale(stale)
	}
	var d dossier.Digest
	if dossier.IsLocal(q.Target) {
		if d, err = e.digestOf(ctx, q.Target, dossier.Times{}); err != nil {
			return artifact{}, err
		}
	}
	held, err := e.Inventory(ctx, dossier.SBOMQuery{Ref: q.Target, Platform: q.Platform}, d)
	if err != nil {
		return artifact{}, err
	}
	out = artifact{name: q.Target, digest: held.Digest, missed: held.Missed, subject: SubjectOf(q.Target, held), bases: map[dossier.Digest]string{}}
	var problems []string
	if out.vex, problems, err = e.VEX(ctx, []dossier.Digest{held.Manifest, held.Digest}); err != nil {
		return artifact{}, err
	}
	out.notes = append(out.notes, problems...)
	for _, l := range held.Layers {
		if l.Base != "" {
			out.bases[l.Digest] = l.Base
		}
	}
	for _, p := range held.Packages {
		out.packages = append(out.packages, p.PackageAt)
	}
	return out, nil
}

// SubjectOf is an image as VEX documents may name it.
func SubjectOf(target string, s dossier.SBOM) vex.Subject {
	out := vex.Subject{Digests: []dossier.Digest{s.Digest, s.Manifest}, Platforms: []string{s.Platform}}
	for _, name := range []string{target, s.Name} {
		ref, err := dossier.ParseReference(name)
		if err != nil || dossier.IsLocal(name) {
			continue
		}
		out.Names = append(out.Names, ref.Name())
		if ref.Tag != "" {
			out.Tags = append(out.Tags, ref.Tag)
		}
	}
	return out
}
