// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
)

// FilePrefix is how the ID of a cluster begins that files stand for.
const FilePrefix = "file:"

// Stdin is the path that stands for standard input.
const Stdin = "-"

// The limits that hold when Limits does not say otherwise.
const (
	DefaultFiles         = 10_000
	DefaultDocuments     = 100_000
	DefaultDocumentBytes = 32 << 20
	DefaultTotalBytes    = 1 << 30
	DefaultDepth         = 200
	DefaultAliasValues   = 100_000
)

// Limits bound what is read from files. Zero fields stand for the defaults.
// Documents and bytes count in all files together; beyond these, or Files,
// nothing is returned. A document beyond one of the others is a Problem.
type Limits struct {
	Files         int
	Documents     int   // objects; the items of a list count each
	TotalBytes    int64 // of all files
	DocumentBytes int   // of a YAML document, of a JSON object, of an item in a JSON list
	Depth         int   // levels of lists and objects
	AliasValues   int   // values that the aliases of a YAML document may stand for
}

// FileOptions say how ReadFiles reads. The zero value is fine.
type FileOptions struct {
	Scope  Scope
	Limits Limits
	Now    func() time.Time // nil: time.Now
}

// ReadFiles reads the objects in manifest files as if they were a cluster. A
// path is a file of any name, a directory, in which all files named *.yaml,
// *.yml and *.json are read, at any depth, or Stdin.
//
// Files hold YAML documents or JSON objects one after the other: as written for
// kubectl apply, as rendered by Helm, as printed by kubectl get. Pods with a
// status say what runs; a pod template is a place without Pod, unless the
// snapshot has pods of its workload. An object of a kind that Kubernetes does
// not define is searched for pod templates. An object without a namespace is in
// the only one of the scope, else in "default".
//
// The cluster's ID is "file:" and a hash of the absolute paths; its name is the
// paths as given.
//
// Documents that cannot be read are Problems of the snapshot. Errors:
// KindNotFound for a path that is not there, KindDenied for one that may not be
// read, KindInvalid for no path or a malformed selector, KindLimit for too much.
func ReadFiles(ctx context.Context, paths []string, stdin io.Reader, opt FileOptions) (Snapshot, error) {
	if len(paths) == 0 {
		return Snapshot{}, dossier.Errorf(dossier.KindInvalid, "reading", "manifests", "no file is named")
	}
	match, err := ParseSelector(opt.Scope.Selector)
	if err != nil {
		return Snapshot{}, err
	}
	now := opt.Now
	if now == nil {
		now = time.Now
	}
	limits := opt.Limits.withDefaults()
	s := &scanner{limits: limits, namespace: "default", bytes: limits.TotalBytes}
	if len(opt.Scope.Namespaces) == 1 && opt.Scope.Namespaces[0] != "" {
		s.namespace = opt.Scope.Namespaces[0]
	}
	snapshot := Snapshot{Scope: opt.Scope, At: dossier.Instant(now())}
	if snapshot.Cluster, err = fileCluster(paths); err != nil {
		return Snapshot{}, err
	}
	for _, path := range paths {
		if err := s.path(ctx, path, stdin); err != nil {
			return Snapshot{}, err
		}
	}
	everywhere := slices.Contains(opt.Scope.Namespaces, "") || len(opt.Scope.Namespaces) == 0
	snapshot.Pins = slices.DeleteFunc(templatePins(snapshot.Cluster.ID, s.objects), func(p dossier.Pin) bool {
		return !everywhere && !slices.Contains(opt.Scope.Namespaces, p.Namespace)
	})
	all := assemble(snapshot.Cluster.ID, s.objects)
	snapshot.Places = slices.DeleteFunc(all, func(p dossier.Place) bool {
		return !everywhere && !slices.Contains(opt.Scope.Namespaces, p.Namespace) || !match(p.Labels)
	})
	sortPlaces(snapshot.Places)
	snapshot.Problems = s.problems
	return snapshot, nil
}

func (l Limits) withDefaults() Limits {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&l.Files, DefaultFiles)
	set(&l.Documents, DefaultDocuments)
	set(&l.DocumentBytes, DefaultDocumentBytes)
	set(&l.Depth, DefaultDepth)
	set(&l.AliasValues, DefaultAliasValues)
	if l.TotalBytes <= 0 {
		l.TotalBytes = DefaultTotalBytes
	}
	return l
}

// fileCluster is the cluster that files stand for.
func fileCluster(paths []string) (dossier.Cluster, error) {
	absolute := make([]string, len(paths))
	for i, path := range paths {
		if absolute[i] = "stdin"; path == Stdin {
			continue
		}
		var err error
		if absolute[i], err = filepath.Abs(path); err != nil {
			return dossier.Cluster{}, fileError(path, err)
		}
	}
	sum := sha256.Sum256([]byte(strings.Join(absolute, "\n")))
	return dossier.Cluster{ID: FilePrefix + hex.EncodeToString(sum[:8]), Name: strings.Join(paths, ", ")}, nil
}

// path reads one path that was asked for.
func (s *scanner) path(ctx context.Context, path string, stdin io.Reader) error {
	s.strict = true
	if path == Stdin {
		if stdin == nil {
			return dossier.Errorf(dossier.KindInvalid, "reading", Stdin, "there is no standard input")
		}
		s.file = "stdin"
		return s.reader(ctx, stdin)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fileError(path, err)
	}
	if !info.IsDir() {
		return s.open(ctx, path)
	}
	s.strict = false
	before := s.files
	root := strings.TrimSuffix(path, string(filepath.Separator)) + string(filepath.Separator) // follows a link
	err = filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && entry.IsDir() && strings.HasPrefix(entry.Name(), "..") && name != root {
			return fs.SkipDir // the files of a mounted ConfigMap, which links lead to
		}
		if err == nil && !isManifest(name) {
			return nil
		}
		if err == nil {
			info, err = os.Stat(name)
		}
		switch {
		case err != nil && name == root:
			return fileError(path, err)
		case err != nil:
			s.problems = append(s.problems, Problem{Where: name, Err: fileError(name, err)})
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !info.Mode().IsRegular():
			return nil
		}
		if err := s.open(ctx, name); isFileError(err) {
			s.problems = append(s.problems, Problem{Where: name, Err: err})
		} else if err != nil {
			return err
		}
		return nil
	})
	if err == nil && s.files == before && len(s.problems) == 0 {
		return &dossier.Error{
			Kind: dossier.KindNotFound, Op: "reading", Subject: path, Err: errors.New("the directory has no manifests"),
			Hint: "Name a directory with *.yaml, *.yml or *.json files.",
		}
	}
	return err
}

// isManifest reports whether a file in a directory is read.
func isManifest(name string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(name)))
}

// open reads one file.
func (s *scanner) open(ctx context.Context, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fileError(name, err)
	}
	defer f.Close() // it was only read
	s.file = name
	return s.reader(ctx, f)
}

// reader reads one stream.
func (s *scanner) reader(ctx context.Context, r io.Reader) error {
	if s.files++; s.files > s.limits.Files {
		return dossier.Errorf(dossier.KindLimit, "reading", "manifests", fmt.Sprintf("there are more than %d files", s.limits.Files))
	}
	return s.scan(ctx, &input{src: r, line: 1, total: &s.bytes})
}

// fileError wraps an error of the file system.
func fileError(name string, err error) error {
	e := &dossier.Error{Kind: dossier.KindInternal, Op: "opening", Subject: name, Err: err}
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		e.Err = path.Err // the name is in Subject
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Kind = dossier.KindNotFound
		e.Hint = "Check the path; use - for standard input."
	case errors.Is(err, fs.ErrPermission):
		e.Kind = dossier.KindDenied
		e.Hint = "Run as somebody who may read it, or let this user read it."
	}
	return e
}

// isFileError reports whether err was made by fileError.
func isFileError(err error) bool {
	e, ok := errors.AsType[*dossier.Error](err)
	return ok && e.Op == "opening"
}
