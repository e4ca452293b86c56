// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/cluster"
	"dossier.dev/dossier/internal/ingest"
)

// CollectOptions say how thoroughly to collect.
type CollectOptions struct {
	Layers bool                  // read layers too, for what they hold
	Report func(done, total int) // progress; may be nil
}

// kinds returns the jobs to wait for.
func (o CollectOptions) kinds() []string {
	if o.Layers {
		return ingest.Kinds()
	}
	return ingest.QuickKinds()
}

// ClusterOptions say which cluster, and what of it.
type ClusterOptions struct {
	Kubeconfig string
	Context    string
	Namespaces []string // none, or one that is empty: all
	Selector   string
}

// Scope is the part of the cluster that is meant.
func (c ClusterOptions) Scope() cluster.Scope {
	if slices.Contains(c.Namespaces, "") {
		c.Namespaces = nil
	}
	return cluster.Scope{Namespaces: c.Namespaces, Selector: c.Selector}
}

// Collected is what was collected, and what could not be.
type Collected struct {
	Cluster    dossier.Cluster
	Namespaces []string // that were read; empty: all
	Problems   []Problem
}

// Problem is a part of a cluster or file that could not be read.
type Problem struct{ cluster.Problem }

// Error says where and why.
func (p Problem) Error() string {
	if strings.Contains(p.Err.Error(), p.Where) {
		return p.Err.Error()
	}
	return p.Where + ": " + p.Err.Error()
}

// Unwrap returns the cause.
func (p Problem) Unwrap() error { return p.Err }

// Problem returns all problems as one error, or nil.
func (c Collected) Problem() error {
	var errs []error
	for _, p := range c.Problems {
		errs = append(errs, p)
	}
	return errors.Join(errs...)
}

// CollectFiles reads manifests, and the images that they name.
func (e *Engine) CollectFiles(ctx context.Context, paths []string, scope cluster.Scope, stdin io.Reader, opt CollectOptions) (Collected, error) {
	snapshot, err := cluster.ReadFiles(ctx, paths, stdin, cluster.FileOptions{Scope: scope, Now: e.config.Now})
	if err != nil {
		return Collected{}, err
	}
	return e.collect(ctx, snapshot, opt)
}

// CollectCluster lists a cluster, and reads the images that run there.
func (e *Engine) CollectCluster(ctx context.Context, c ClusterOptions, opt CollectOptions) (Collected, error) {
	live, scope, err := e.connect(ctx, c)
	if err != nil {
		return Collected{}, err
	}
	snapshot, err := live.List(ctx, scope)
	if err != nil {
		return Collected{}, err
	}
	collected, err := e.collect(ctx, snapshot, opt)
	if err == nil && nothingRead(snapshot) {
		err = collected.Problem() // an empty list would look as if nothing ran there
	}
	return collected, err
}

// nothingRead reports whether none of the namespaces asked for could be read.
func nothingRead(s cluster.Snapshot) bool {
	unread := func(namespace string) bool {
		return slices.ContainsFunc(s.Problems, func(p cluster.Problem) bool { return p.Where == namespace })
	}
	return len(s.Scope.Namespaces) > 0 && !slices.ContainsFunc(s.Scope.Namespaces, func(n string) bool { return !unread(n) })
}

func (e *Engine) connect(ctx context.Context, c ClusterOptions) (*cluster.Live, cluster.Scope, error) {
	if e.config.Offline {
		return nil, cluster.Scope{}, &dossier.Error{Kind: dossier.KindUnavailable, Op: "reaching the cluster",
			Err: errors.New("--offline allows no network"), Hint: "leave --offline out, or read manifests with -f"}
	}
	live, err := cluster.Connect(ctx, cluster.Options{Kubeconfig: c.Kubeconfig, Context: c.Context, Log: e.config.Logger, Now: e.config.Now})
	if err != nil {
		return nil, cluster.Scope{}, err
	}
	return live, c.Scope(), nil
}

// collect applies a snapshot and waits for the jobs that follow from it.
func (e *Engine) collect(ctx context.Context, s cluster.Snapshot, opt CollectOptions) (Collected, error) {
	out := Collected{Cluster: s.Cluster, Namespaces: s.Scope.Namespaces}
	for _, p := range s.Problems {
		out.Problems = append(out.Problems, Problem{p})
	}
	if _, err := e.ingest.Apply(ctx, s); err != nil {
		return out, err
	}
	if e.config.Offline {
		return out, nil
	}
	err := e.ingest.Drain(ctx, opt.kinds(), func(p ingest.Progress) {
		if opt.Report != nil {
			opt.Report(p.Done+p.Failed, p.Done+p.Failed+p.Waiting)
		}
	})
	if err != nil {
		return out, err
	}
	return out, e.Match(ctx)
}

// ImagesOf reads images by reference and lists them. Images that cannot be read
// are left out; the error says which and why.
func (e *Engine) ImagesOf(ctx context.Context, refs []string, at dossier.Times, opt CollectOptions) (dossier.ImageList, error) {
	list := dossier.ImageList{AsOf: dossier.Instant(e.config.Now()), Clusters: []dossier.Cluster{}, Images: []dossier.Dossier{}}
	var errs []error
	for i, ref := range refs {
		if opt.Report != nil {
			opt.Report(i, len(refs))
		}
		if _, err := e.Refresh(ctx, ref); err != nil {
			errs = append(errs, err)
			continue
		}
		d, err := e.Dossier(ctx, ref, at)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if len(d.Requested) == 0 {
			d.Requested = []string{ref}
		}
		list.Images = append(list.Images, d)
	}
	return list, errors.Join(errs...)
}
