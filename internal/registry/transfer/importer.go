// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"sync"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/registry"
)

// ImportConfig says where an import goes.
type ImportConfig struct {
	Registry registry.Local
	// Repository is the repository of a layout whose images say none; of a tree and
	// of a storage root it comes before the path of each repository.
	Repository string
	Workers    int              // repositories at a time; 0: 4
	Now        func() time.Time // nil: time.Now

	// Progress is told how far it has come at every step, and Problem what could not be
	// taken, one call at a time. They must not wait. nil: nobody is.
	Progress func(Report)
	Problem  func(error)
}

// Report counts what was done.
type Report struct {
	Repositories int   `json:"repositories"`
	Manifests    int   `json:"manifests"` // that are new
	Blobs        int   `json:"blobs"`     // whose bytes were copied
	Bytes        int64 `json:"bytes"`     // of those
	Tags         int   `json:"tags"`      // of which something was recorded
	Known        int   `json:"known"`     // manifests and tags that were as they are already
	Dangling     int   `json:"dangling"`  // tags left out since their manifest is not there any more
	Problems     int   `json:"problems"`  // what could not be taken
}

const defaultWorkers = 4

// Import takes what lies in a directory into the registry. It returns what it did
// with an error too. Report.Problems counts what could not be taken; the error
// says why it did not go on: KindNotFound, KindInvalid: there is nothing to import
// in dir. Other errors are those of database and blobs.
func Import(ctx context.Context, dir string, c ImportConfig) (Report, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Workers = cmp.Or(c.Workers, defaultWorkers)
	d, err := openDirectory(dir)
	if err != nil {
		return Report{}, err
	}
	defer d.close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	im := &importer{config: c, cancel: cancel}
	from := source(findLayouts(d))
	layout := d.has(indexFile)
	if root := findRoot(d); root != nil && !layout {
		from = root
	}
	work := make(chan repository)
	var group sync.WaitGroup
	for range c.Workers {
		group.Go(func() {
			for r := range work {
				im.repository(ctx, r, layout)
			}
		})
	}
	found := false
	for r, err := range from.repositories(ctx) {
		if ctx.Err() != nil {
			break
		}
		found = true
		if err != nil {
			im.problem(err)
			continue
		}
		work <- r
	}
	close(work)
	group.Wait()
	if err := context.Cause(ctx); err != nil {
		return im.report, err
	}
	if !found {
		return im.report, &dossier.Error{Kind: dossier.KindNotFound, Op: opImport, Subject: dir, Err: errors.New("there is nothing to import in it"),
			Hint: "Name an OCI layout, a directory with layouts in it, or the root directory of a distribution registry."}
	}
	return im.report, nil
}

// importer is an import under way.
type importer struct {
	config ImportConfig
	cancel context.CancelCauseFunc // ends all, with why

	mu     sync.Mutex
	report Report
}

// count changes the report, and tells of it.
func (im *importer) count(change func(*Report)) {
	im.mu.Lock()
	defer im.mu.Unlock()
	change(&im.report)
	if im.config.Progress != nil {
		im.config.Progress(im.report)
	}
}

// problem tells of something that could not be taken.
func (im *importer) problem(err error) {
	im.mu.Lock()
	defer im.mu.Unlock()
	im.report.Problems++
	if im.config.Problem != nil {
		im.config.Problem(err)
	}
}

// failed sorts an error of the registry: what is the fault of the item is a
// problem, anything else ends the import.
func (im *importer) failed(ctx context.Context, file string, err error) {
	if ctx.Err() != nil {
		return
	}
	switch kind := dossier.KindOf(err); kind {
	case dossier.KindStorage, dossier.KindUnavailable, dossier.KindInternal:
		if _, ok := errors.AsType[*registry.Error](err); !ok {
			im.cancel(err)
			return
		}
	}
	if e, ok := errors.AsType[*dossier.Error](err); ok && e.Op == opImport {
		im.problem(err) // names its file
		return
	}
	im.problem(&dossier.Error{Kind: cmp.Or(dossier.KindOf(err), dossier.KindInvalid), Op: opImport, Subject: file, Hint: dossier.HintOf(err), Err: err})
}

// repository imports one repository.
func (im *importer) repository(ctx context.Context, from repository, layout bool) {
	w := &work{importer: im, from: from, states: map[dossier.Digest]state{}}
	switch w.to = from.path(); {
	case w.to == "" || layout && im.config.Repository != "":
		w.to = im.config.Repository
	default:
		w.to = path.Join(im.config.Repository, w.to)
	}
	if w.to == "" {
		im.problem(&dossier.Error{Kind: dossier.KindInvalid, Op: opImport, Subject: path.Dir(from.file("sha256:"+dossier.Digest(emptyHex), true)),
			Err: errors.New("its images say no repository"), Hint: "Give --repository NAME."})
		return
	}
	im.count(func(r *Report) { r.Repositories++ })
	list, err := from.manifests(ctx)
	if err != nil {
		for _, err := range eachError(err) {
			im.failed(ctx, from.path(), err)
		}
	}
	slices.SortStableFunc(list, func(a, b manifest) int { return a.at.Compare(b.at) })
	w.listed = make(map[dossier.Digest]manifest, len(list))
	for _, m := range list {
		w.listed[m.Digest] = m
	}
	for _, m := range list {
		if ctx.Err() != nil {
			return
		}
		w.manifest(ctx, m, 0)
	}
	for t, err := range from.tags(ctx) {
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			im.failed(ctx, from.path(), err)
			continue
		}
		w.tag(ctx, t)
	}
}

const emptyHex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// eachError returns the errors that were joined to one.
func eachError(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// state is how far a manifest has come.
type state int

const (
	underway state = iota + 1
	taken
	refused
)

// work is the import of one repository.
type work struct {
	*importer
	from   repository
	to     string // path here
	listed map[dossier.Digest]manifest
	states map[dossier.Digest]state
}

// manifest takes a manifest and all that it needs, and reports whether it is here.
func (w *work) manifest(ctx context.Context, m manifest, depth int) bool {
	if s := w.states[m.Digest]; s != 0 {
		return s == taken
	}
	w.states[m.Digest] = underway
	ok := w.take(ctx, m, depth)
	w.states[m.Digest] = refused
	if ok {
		w.states[m.Digest] = taken
	}
	return ok
}

func (w *work) take(ctx context.Context, m manifest, depth int) bool {
	file := w.from.file(m.Digest, true)
	has, err := w.config.Registry.HasManifest(ctx, w.to, m.Digest)
	if err != nil {
		w.failed(ctx, file, err)
		return false
	}
	if has {
		w.count(func(r *Report) { r.Known++ })
		return true
	}
	node, err := w.read(m.Descriptor, file)
	if err == nil && depth > MaxNesting {
		err = &dossier.Error{Kind: dossier.KindLimit, Op: opImport, Subject: file, Err: fmt.Errorf("indexes lie in indexes deeper than MaxNesting, %d", MaxNesting)}
	}
	if err != nil {
		w.failed(ctx, file, err)
		return false
	}
	for _, child := range w.config.Registry.Needs(node) {
		if ctx.Err() != nil || !w.child(ctx, child, node, file, depth) {
			return false
		}
	}
	at := w.time(m.at)
	if err := w.config.Registry.PutManifest(ctx, w.to, node.Descriptor, node.Bytes, at); err != nil {
		w.failed(ctx, file, err)
		return false
	}
	w.count(func(r *Report) { r.Manifests++ })
	return true
}

// read reads a manifest and checks its digest.
func (w *work) read(d image.Descriptor, file string) (image.Node, error) {
	f, err := w.from.open(d.Digest, true)
	if err != nil {
		return image.Node{}, fileError(file, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, registry.MaxManifest+1))
	switch {
	case err != nil:
		return image.Node{}, fileError(file, err)
	case len(b) > registry.MaxManifest:
		return image.Node{}, &dossier.Error{Kind: dossier.KindLimit, Op: opImport, Subject: file, Err: fmt.Errorf("a manifest has at most %d bytes", registry.MaxManifest)}
	case !d.Digest.Matches(b):
		return image.Node{}, &dossier.Error{Kind: dossier.KindCorrupt, Op: opImport, Subject: file, Err: errors.New("its bytes have another digest")}
	}
	return image.ParseManifest(d, b)
}

// fileError says that a file cannot be read.
func fileError(file string, err error) error {
	if e, ok := errors.AsType[*dossier.Error](err); ok && e.Op == opImport {
		return err
	}
	kind := dossier.KindInvalid
	if errors.Is(err, fs.ErrNotExist) {
		kind, err = dossier.KindNotFound, errors.New("it is not there")
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return &dossier.Error{Kind: kind, Op: opImport, Subject: file, Err: err}
}

// child takes what a manifest needs, and reports whether the manifest can be taken.
func (w *work) child(ctx context.Context, c registry.Need, parent image.Node, file string, depth int) bool {
	if !c.Blob {
		m, listed := w.listed[c.Digest]
		if !listed {
			m = manifest{Descriptor: image.Descriptor{Digest: c.Digest, MediaType: c.MediaType}, at: w.listed[parent.Digest].at}
			if c.Optional && !w.holds(c.Digest, true) {
				return true
			}
		}
		return w.manifest(ctx, m, depth+1) || c.Optional
	}
	has, err := w.config.Registry.HasBlob(ctx, w.to, c.Digest)
	if err != nil {
		w.failed(ctx, file, err)
		return false
	}
	if has || c.Optional && !w.holds(c.Digest, false) {
		return true
	}
	return w.blob(ctx, c.Digest)
}

// holds reports whether the repository that is imported holds a digest.
func (w *work) holds(d dossier.Digest, manifest bool) bool {
	f, err := w.from.open(d, manifest)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	return f.Close() == nil
}

// blob copies the bytes of a blob.
func (w *work) blob(ctx context.Context, d dossier.Digest) bool {
	file := w.from.file(d, false)
	f, err := w.from.open(d, false)
	if err != nil {
		w.failed(ctx, file, fileError(file, err))
		return false
	}
	defer f.Close()
	content := &watched{r: f}
	err = w.config.Registry.PutBlob(ctx, w.to, d, content)
	switch {
	case content.err != nil:
		w.failed(ctx, file, fileError(file, content.err))
		return false
	case err != nil:
		w.failed(ctx, file, err)
		return false
	}
	w.count(func(r *Report) {
		r.Blobs++
		r.Bytes += content.n
	})
	return true
}

// watched counts what is read, and remembers a failure.
type watched struct {
	r   io.Reader
	n   int64
	err error
}

// Read implements io.Reader.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.n += int64(n)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

// tag takes a tag, with where it pointed.
func (w *work) tag(ctx context.Context, t tag) {
	current := t.points[len(t.points)-1].Digest
	switch w.states[current] {
	case taken:
	case refused:
		return // said so already
	default: // the manifest was deleted, and the tag stayed
		w.count(func(r *Report) { r.Dangling++ })
		return
	}
	points := slices.Clone(t.points)
	for i := range points {
		points[i].From = w.time(points[i].From)
	}
	changed, err := w.config.Registry.Adopt(ctx, w.to, t.name, points)
	switch {
	case err != nil:
		w.failed(ctx, t.file, err)
	case changed:
		w.count(func(r *Report) { r.Tags++ })
	default:
		w.count(func(r *Report) { r.Known++ })
	}
}

// firstTime is before any registry of images: a file with an older time was given one
// that means nothing.
var firstTime = time.Date(2013, 3, 1, 0, 0, 0, 0, time.UTC)

// time returns a time that a directory tells, or now when that cannot be.
func (w *work) time(at time.Time) time.Time {
	now := w.config.Now()
	if at.Before(firstTime) || at.After(now) {
		at = now
	}
	return dossier.Instant(at)
}
