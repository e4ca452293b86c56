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
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/store"
)

const opExport = "exporting"

// Selection is what is exported of a repository: all of it when Tag and Digest are
// empty. What refers to it, such as signatures, comes along.
type Selection struct {
	Repository string // path
	Tag        string
	Digest     dossier.Digest
}

// ExportConfig says what is exported.
type ExportConfig struct {
	Registry registry.Local
	// Select is what to export; nothing: every repository. One selection makes a
	// layout of the directory; otherwise each repository gets one, under its path.
	Select   []Selection
	Progress func(Report) // told how far it has come; nil: nobody is
}

// Export writes OCI image layouts into a directory, which is made when it is not
// there. Blobs that are there already are not written again; the index of a
// layout comes last, and replaces one that was there.
// KindNotFound: there is no such repository, tag or manifest. KindCorrupt: bytes of
// the registry do not match their digest. KindStorage: the directory refuses writes.
func Export(ctx context.Context, dir string, c ExportConfig) (Report, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Report{}, exportError(dir, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Report{}, exportError(dir, err)
	}
	defer root.Close()
	ex := &exporter{config: c, files: root, base: dir, written: map[dossier.Digest]string{}}
	switch len(c.Select) {
	case 0:
		err = ex.all(ctx)
	case 1:
		err = ex.layout(ctx, ".", c.Select[0].Repository, c.Select)
	default:
		byPath := map[string][]Selection{}
		for _, s := range c.Select {
			byPath[s.Repository] = append(byPath[s.Repository], s)
		}
		for _, p := range slices.Sorted(maps.Keys(byPath)) {
			if err = ex.layout(ctx, p, p, byPath[p]); err != nil {
				break
			}
		}
	}
	return ex.report, err
}

// exportError says that the directory cannot be written.
func exportError(name string, err error) error {
	if e, ok := errors.AsType[*dossier.Error](err); ok {
		return e
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e := &dossier.Error{Kind: dossier.KindStorage, Op: opExport, Subject: name, Err: err, Hint: "Make the directory writable, or choose another."}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		e.Hint = "Free some space there."
	}
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		e.Err = p.Err
	}
	return e
}

// exporter is an export under way.
type exporter struct {
	config  ExportConfig
	files   *os.Root
	base    string                    // its name
	written map[dossier.Digest]string // where the bytes of large blobs lie already, to be linked
	report  Report
}

func (ex *exporter) count(change func(*Report)) {
	change(&ex.report)
	if ex.config.Progress != nil {
		ex.config.Progress(ex.report)
	}
}

// page is how much is read from the database at a time.
const page = 500

// all exports every repository.
func (ex *exporter) all(ctx context.Context) error {
	for after := ""; ; {
		var list []store.Repository
		err := ex.view(ctx, func(r store.Reader) (err error) {
			list, err = r.Repositories(ctx, after, page)
			return err
		})
		if err != nil {
			return err
		}
		for _, r := range list {
			if err := ex.layout(ctx, r.Path, r.Path, []Selection{{Repository: r.Path}}); err != nil {
				return err
			}
			after = r.Path
		}
		if len(list) < page {
			return nil
		}
	}
}

func (ex *exporter) view(ctx context.Context, f func(store.Reader) error) error {
	return ex.config.Registry.Store().View(ctx, f)
}

// layout is one on its way out.
type layoutOut struct {
	*exporter
	dir     string // within the directory
	path    string // of the repository
	entries []outEntry
	done    map[dossier.Digest]bool // manifests that are written
	within  map[dossier.Digest]bool // those that lie in an index
}

// outEntry is an entry of index.json.
type outEntry struct {
	MediaType    string            `json:"mediaType"`
	Digest       dossier.Digest    `json:"digest"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// layout writes the layout of one repository.
func (ex *exporter) layout(ctx context.Context, dir, repository string, list []Selection) error {
	out := &layoutOut{exporter: ex, dir: dir, path: repository, done: map[dossier.Digest]bool{}, within: map[dossier.Digest]bool{}}
	var repo store.Repository
	err := ex.view(ctx, func(r store.Reader) (err error) {
		repo, err = r.Repository(ctx, repository)
		return err
	})
	if err != nil {
		return err
	}
	ex.count(func(r *Report) { r.Repositories++ })
	for _, s := range list {
		switch {
		case s.Tag != "":
			err = out.tag(ctx, repo, s.Tag)
		case s.Digest != "":
			err = out.include(ctx, repo, s.Digest, nil)
		default:
			err = out.whole(ctx, repo)
		}
		if err != nil {
			return err
		}
	}
	return out.finish()
}

// tag writes what a tag points at.
func (o *layoutOut) tag(ctx context.Context, repo store.Repository, tag string) error {
	var open []dossier.TagInterval
	err := o.view(ctx, func(r store.Reader) (err error) {
		open, err = r.TagsAt(ctx, []store.NameTag{{Name: repo.Name, Tag: tag}}, time.Time{})
		return err
	})
	if err == nil && len(open) == 0 {
		err = dossier.Errorf(dossier.KindNotFound, opExport, repo.Name+":"+tag, "it points at nothing")
	}
	if err != nil {
		return err
	}
	return o.include(ctx, repo, open[0].Digest, &open[0])
}

// whole writes all tags and manifests.
func (o *layoutOut) whole(ctx context.Context, repo store.Repository) error {
	for after := ""; ; {
		var tags []dossier.TagInterval
		err := o.view(ctx, func(r store.Reader) (err error) {
			tags, err = r.TagPage(ctx, store.TagQuery{Name: repo.Name, After: store.NameTag{Tag: after}, Limit: page})
			return err
		})
		if err != nil {
			return err
		}
		for _, t := range tags {
			if err := o.include(ctx, repo, t.Digest, &t); err != nil {
				return err
			}
			after = t.Tag
		}
		if len(tags) < page {
			break
		}
	}
	var loose []store.Manifest
	for after := dossier.Digest(""); ; {
		var list []store.Manifest
		err := o.view(ctx, func(r store.Reader) (err error) {
			list, err = r.Manifests(ctx, o.path, after, page)
			return err
		})
		if err != nil {
			return err
		}
		for _, m := range list {
			after = m.Digest
			if o.done[m.Digest] {
				continue
			}
			if err := o.manifest(ctx, m.Digest, 0); err != nil {
				return err
			}
			loose = append(loose, m)
		}
		if len(list) < page {
			break
		}
	}
	for _, m := range loose {
		if !o.within[m.Digest] {
			o.add(m, nil)
		}
	}
	return nil
}

// include writes a manifest with what it needs and what refers to it, as an entry
// of the index.
func (o *layoutOut) include(ctx context.Context, repo store.Repository, d dossier.Digest, tag *dossier.TagInterval) error {
	var m store.Manifest
	err := o.view(ctx, func(r store.Reader) (err error) {
		m, err = r.Manifest(ctx, o.path, d)
		return err
	})
	if err != nil {
		return err
	}
	known := o.done[d]
	if err := o.manifest(ctx, d, 0); err != nil {
		return err
	}
	o.add(m, tag)
	if known {
		return nil
	}
	if err := o.referrers(ctx, d, 0); err != nil {
		return err
	}
	return o.companions(ctx, repo, d)
}

// companions writes what refers to a manifest by the name of its tag: the fallback of
// the distribution specification ("Referrers Tag Schema"), and what cosign does.
func (o *layoutOut) companions(ctx context.Context, repo store.Repository, d dossier.Digest) error {
	name := d.Algorithm() + "-" + d.Hex()
	var open []dossier.TagInterval
	err := o.view(ctx, func(r store.Reader) (err error) {
		var tags []store.NameTag
		for _, suffix := range []string{"", ".sig", ".att", ".sbom"} {
			tags = append(tags, store.NameTag{Name: repo.Name, Tag: name + suffix})
		}
		open, err = r.TagsAt(ctx, tags, time.Time{})
		return err
	})
	if err != nil {
		return err
	}
	for _, t := range open {
		if o.done[t.Digest] {
			continue
		}
		if err := o.include(ctx, repo, t.Digest, &t); err != nil {
			return err
		}
	}
	return nil
}

// referrers writes what refers to a manifest.
func (o *layoutOut) referrers(ctx context.Context, d dossier.Digest, depth int) error {
	if depth > MaxNesting {
		return nil
	}
	for q := (store.ReferrerQuery{Repository: o.path, Subject: d, Limit: page}); ; {
		var list []store.Manifest
		err := o.view(ctx, func(r store.Reader) (err error) {
			list, err = r.Referrers(ctx, q)
			return err
		})
		if err != nil {
			return err
		}
		for _, m := range list {
			q.After = m.Digest
			if o.done[m.Digest] {
				continue
			}
			if err := o.manifest(ctx, m.Digest, 0); err != nil {
				return err
			}
			o.add(m, nil)
			if err := o.referrers(ctx, m.Digest, depth+1); err != nil {
				return err
			}
		}
		if len(list) < page {
			return nil
		}
	}
}

// add puts an entry into the index.
func (o *layoutOut) add(m store.Manifest, tag *dossier.TagInterval) {
	e := outEntry{MediaType: m.MediaType, Digest: m.Digest, Size: m.Size}
	if tag != nil {
		e.Annotations = map[string]string{annotationRefName: tag.Tag, annotationFrom: tag.From.UTC().Format(time.RFC3339Nano)}
		o.count(func(r *Report) { r.Tags++ })
	}
	o.entries = append(o.entries, e)
}

// manifest writes a manifest and what it needs, as far as the repository holds it.
func (o *layoutOut) manifest(ctx context.Context, d dossier.Digest, depth int) error {
	if o.done[d] {
		return nil
	}
	if depth > MaxNesting {
		return dossier.Errorf(dossier.KindLimit, opExport, string(d), fmt.Sprintf("indexes lie in indexes deeper than MaxNesting, %d", MaxNesting))
	}
	o.done[d] = true
	var m store.Manifest
	err := o.view(ctx, func(r store.Reader) (err error) {
		m, err = r.Manifest(ctx, o.path, d)
		return err
	})
	if err != nil {
		return err
	}
	node, err := image.ParseManifest(image.Descriptor{MediaType: m.MediaType, Digest: d}, m.Body)
	if err != nil {
		return err
	}
	for _, need := range registry.Needs(node, true) {
		if need.Blob {
			err = o.blob(ctx, need.Digest)
		} else {
			o.within[need.Digest] = true
			err = o.manifest(ctx, need.Digest, depth+1)
		}
		if dossier.KindOf(err) == dossier.KindNotFound && need.Optional {
			err = nil // it lies elsewhere
		}
		if err != nil {
			return err
		}
	}
	if _, err := o.write(d, strings.NewReader(string(m.Body))); err != nil {
		return err
	}
	o.count(func(r *Report) { r.Manifests++ })
	return nil
}

// linked is from which size on the same bytes in several layouts are linked.
const linked = 64 << 10

// blob writes a blob.
func (o *layoutOut) blob(ctx context.Context, d dossier.Digest) error {
	name := o.name(d)
	if _, err := o.files.Stat(name); err == nil {
		return nil
	}
	if from, ok := o.written[d]; ok && o.files.MkdirAll(path.Dir(name), 0o755) == nil && o.files.Link(from, name) == nil {
		return nil
	}
	from, err := o.config.Registry.Blob(ctx, o.path, d)
	if err != nil {
		return err
	}
	n, err := o.write(d, from)
	if err = errors.Join(err, from.Close()); err != nil {
		return err
	}
	if n >= linked {
		o.written[d] = name
	}
	o.count(func(r *Report) {
		r.Blobs++
		r.Bytes += n
	})
	return nil
}

// name returns where the bytes of a digest go.
func (o *layoutOut) name(d dossier.Digest) string {
	return path.Join(o.dir, blobsDir, d.Algorithm(), d.Hex())
}

// write writes bytes under their digest, whole or not at all.
func (o *layoutOut) write(d dossier.Digest, from io.Reader) (int64, error) {
	name := o.name(d)
	h := d.NewHash()
	content := &watched{r: from}
	n, err := o.replace(name, io.TeeReader(content, h), func() error {
		if got := dossier.FromHash(d.Algorithm(), h); got != d {
			return dossier.Errorf(dossier.KindCorrupt, opExport, string(d), "its bytes are "+string(got))
		}
		return nil
	})
	if content.err != nil { // the directory is not to blame
		return n, fmt.Errorf("reading %s: %w", d, content.err)
	}
	return n, err
}

// replace writes a file under another name first, and moves it to its own when
// check finds it good.
func (o *layoutOut) replace(name string, from io.Reader, check func() error) (int64, error) {
	root := o.files
	fail := func(err error) error { return exportError(path.Join(o.base, name), err) }
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return 0, fail(err)
	}
	unfinished := name + ".unfinished"
	f, err := root.OpenFile(unfinished, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return 0, fail(err)
	}
	n, err := io.Copy(f, from)
	if err = errors.Join(err, f.Close()); err == nil {
		err = check()
	}
	if err == nil {
		err = root.Rename(unfinished, name)
	}
	if err != nil {
		return n, errors.Join(fail(err), root.Remove(unfinished))
	}
	return n, nil
}

// finish writes the files that make a layout of what was written.
func (o *layoutOut) finish() error {
	slices.SortStableFunc(o.entries, func(a, b outEntry) int {
		x, y := a.Annotations[annotationRefName], b.Annotations[annotationRefName]
		if x == "" || y == "" {
			return strings.Compare(y, x) // those without a name come last
		}
		return strings.Compare(x, y)
	})
	index, err := json.MarshalIndent(struct {
		SchemaVersion int        `json:"schemaVersion"`
		MediaType     string     `json:"mediaType"`
		Manifests     []outEntry `json:"manifests"`
	}{2, "application/vnd.oci.image.index.v1+json", append([]outEntry{}, o.entries...)}, "", "  ")
	if err != nil {
		return &dossier.Error{Kind: dossier.KindInternal, Op: opExport, Subject: o.path, Err: err}
	}
	ok := func() error { return nil }
	if _, err := o.replace(path.Join(o.dir, layoutFile), strings.NewReader(`{"imageLayoutVersion":"1.0.0"}`), ok); err != nil {
		return err
	}
	_, err = o.replace(path.Join(o.dir, indexFile), strings.NewReader(string(index)), ok)
	return err
}
