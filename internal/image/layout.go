// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"dossier.dev/dossier"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// annotationContainerdName is under which name containerd and docker save keep
// an image in a layout.
const annotationContainerdName = "io.containerd.image.name"

const opLayout = "reading OCI layout"

// files are the files of a layout, by name with slashes.
type files interface {
	// open returns a file and its size. An absent one is fs.ErrNotExist.
	open(ctx context.Context, name string) (io.ReadCloser, int64, error)
	close() error
}

// layout is a source: an OCI image layout (OCI image spec, "Image Layout").
type layout struct {
	location Location
	files    files
	limits   Limits
}

// openLayout opens a layout in a directory.
func openLayout(loc Location, limits Limits) (source, error) {
	root, err := os.OpenRoot(loc.Path)
	if err != nil {
		return nil, pathError(opLayout, loc.Path, err)
	}
	return &layout{location: loc, files: directory{root}, limits: limits}, nil
}

// pathError says that a path of the user's cannot be read.
func pathError(op, name string, err error) error {
	kind, hint := dossier.KindInvalid, ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kind, hint = dossier.KindNotFound, "Check the path."
	case errors.Is(err, fs.ErrPermission):
		kind = dossier.KindDenied
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err // the path is the subject
	}
	return &dossier.Error{Kind: kind, Op: op, Subject: name, Hint: hint, Err: err}
}

// directory is files in a directory, from which no link leads out.
type directory struct{ root *os.Root }

func (d directory) close() error { return d.root.Close() }

func (d directory) open(_ context.Context, name string) (io.ReadCloser, int64, error) {
	info, err := d.root.Stat(name)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for its other end
		return nil, 0, errors.New("it is not a regular file")
	}
	f, err := d.root.Open(name)
	if err != nil {
		return nil, 0, err
	}
	return f, info.Size(), nil
}

func (l *layout) name() string { return "" }
func (l *layout) close() error { return l.files.close() }

// open implements source.
func (l *layout) open(ctx context.Context, _ part, d dossier.Digest) (*body, error) {
	r, size, err := l.files.open(ctx, path.Join(ocispec.ImageBlobsDir, d.Algorithm(), d.Hex()))
	if err != nil {
		return nil, pathError(opLayout, l.location.Path+" blob "+string(d), err)
	}
	return &body{ReadCloser: r, size: size}, nil
}

// resolve implements source.
func (l *layout) resolve(ctx context.Context) (Descriptor, error) {
	if l.location.Digest != "" {
		return Descriptor{Digest: l.location.Digest}, nil
	}
	r, size, err := l.files.open(ctx, ocispec.ImageIndexFile)
	if errors.Is(err, fs.ErrNotExist) {
		return Descriptor{}, &dossier.Error{
			Kind: dossier.KindInvalid, Op: opLayout, Subject: l.location.Path,
			Hint: "Name a directory that a tool wrote as an OCI layout.",
			Err:  fmt.Errorf("it has no %s", ocispec.ImageIndexFile),
		}
	}
	if err != nil {
		return Descriptor{}, pathError(opLayout, l.location.Path, err)
	}
	b, err := readFile(opLayout, l.location.Path, r, size, ceiling{"Manifest", l.limits.Manifest})
	if err != nil {
		return Descriptor{}, err
	}
	entries, err := layoutEntries(l.location.Path, b, l.limits)
	if err != nil {
		return Descriptor{}, err
	}
	return choose(l.location, entries)
}

// readFile reads and closes a file that has no digest to check.
func readFile(op, subject string, r io.ReadCloser, size int64, most ceiling) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, most.n+1))
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, sourceError(op, subject, err)
	}
	if int64(len(b)) > most.n {
		return nil, limitError(op, subject, most.name, most.n, fmt.Sprintf("its index has %d bytes", max(size, int64(len(b)))))
	}
	return b, nil
}

// choice is an image that a layout or archive offers.
type choice struct {
	names []string // as people may write it, the best first
	root  Descriptor
}

// layoutEntries reads the index.json of a layout.
func layoutEntries(subject string, b []byte, limits Limits) ([]choice, error) {
	var index struct {
		Manifests []ocispec.Descriptor `json:"manifests"`
	}
	fail := func(err error) ([]choice, error) {
		return nil, &dossier.Error{Kind: dossier.KindCorrupt, Op: opLayout, Subject: subject, Err: fmt.Errorf("%s: %w", ocispec.ImageIndexFile, err)}
	}
	if err := unmarshalObject(b, &index); err != nil {
		return fail(err)
	}
	if n := len(index.Manifests); n > limits.IndexEntries {
		return nil, limitError(opLayout, subject, "IndexEntries", int64(limits.IndexEntries), fmt.Sprintf("its index has %d entries", n))
	}
	var entries []choice
	for _, d := range index.Manifests {
		id, err := dossier.ParseDigest(string(d.Digest))
		if err != nil {
			return fail(err)
		}
		if d.Annotations[annotationReferenceType] == attestationManifest {
			continue
		}
		c := choice{root: Descriptor{MediaType: d.MediaType, Digest: id, Size: d.Size}}
		for _, key := range []string{ocispec.AnnotationRefName, annotationContainerdName} {
			if s := d.Annotations[key]; s != "" && !slices.Contains(c.names, s) {
				c.names = append(c.names, s)
			}
		}
		entries = append(entries, c)
	}
	return entries, nil
}

const maxChoices = 10 // that an error lists

// choose finds the one image that a location means.
func choose(loc Location, entries []choice) (Descriptor, error) {
	var found []choice
	var offered []string
	for _, e := range entries {
		if loc.Digest == e.root.Digest || loc.Digest == "" && (loc.Name == "" || e.answersTo(loc.Name)) {
			if !slices.ContainsFunc(found, func(f choice) bool { return f.root.Digest == e.root.Digest }) {
				found = append(found, e)
			}
		}
		offered = append(offered, e.offer())
	}
	if len(found) == 1 {
		return found[0].root, nil
	}
	kind, why := dossier.KindInvalid, fmt.Sprintf("%d images answer to it", len(found))
	switch {
	case len(entries) == 0:
		return Descriptor{}, dossier.Errorf(dossier.KindNotFound, opRead, loc.String(), "there is no image in it")
	case len(found) == 0:
		kind, why = dossier.KindNotFound, "there is no such image in it"
	}
	more := ""
	if n := len(offered) - maxChoices; n > 0 {
		offered, more = offered[:maxChoices], fmt.Sprintf(" and %d more", n)
	}
	return Descriptor{}, &dossier.Error{
		Kind: kind, Op: opRead, Subject: loc.String(),
		Hint: "Write " + string(loc.Scheme) + ":" + loc.Path + " followed by one of: " + strings.Join(offered, ", ") + more + ".",
		Err:  errors.New(why),
	}
}

// offer is how to choose the image: what to write after the path.
func (c choice) offer() string {
	if len(c.names) == 0 {
		return "@" + string(c.root.Digest)
	}
	return ":" + printable(c.names[0])
}

// answersTo reports whether a person who writes name means this image: by its
// whole name, in short form or not, or by its tag alone.
func (c choice) answersTo(name string) bool {
	want, wantErr := dossier.ParseReference(name)
	for _, n := range c.names {
		if n == name {
			return true
		}
		have, err := dossier.ParseReference(n)
		if err != nil {
			continue
		}
		if have.Tag != "" && have.Tag == name {
			return true
		}
		if wantErr == nil && strings.Contains(n, "/") && have.WithDefaultTag() == want.WithDefaultTag() {
			return true
		}
	}
	return false
}
