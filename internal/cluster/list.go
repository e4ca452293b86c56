// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"net/http"
	"slices"

	"dossier.dev/dossier"
)

// List reads what runs in a scope. Pods that have ended do not run.
//
// A namespace of the scope that may not be read is a Problem whose Where is its
// name: what runs there is unknown, not gone. Owners and nodes that may not be
// read leave places with the last owner, or without a platform.
//
// Errors: KindInvalid, a malformed selector; KindDenied, the user may not list
// the pods of all namespaces; KindUnavailable, the server does not answer.
func (l *Live) List(ctx context.Context, scope Scope) (Snapshot, error) {
	if _, err := ParseSelector(scope.Selector); err != nil {
		return Snapshot{}, err
	}
	ctx = l.context(ctx)
	s := Snapshot{Cluster: l.cluster, Scope: scope, At: dossier.Instant(l.now())}
	var pods []*pod
	for _, namespace := range scope.each() {
		list, _, err := l.listPods(ctx, namespace, scope.Selector)
		if err != nil {
			err = l.podsError(namespace, err)
			if namespace == "" || dossier.KindOf(err) != dossier.KindDenied {
				l.health.failed(err, l.now())
				return Snapshot{}, err
			}
			s.Problems = append(s.Problems, Problem{Where: namespace, Err: err})
			continue
		}
		for i := range list {
			pods = append(pods, &list[i])
		}
	}
	r := newResolver(l, scope)
	if err := r.prepare(ctx, pods); err != nil {
		l.health.failed(err, l.now())
		return Snapshot{}, err
	}
	r.fill(&s, pods)
	return s, nil
}

// each returns the namespaces to list, each once; "" stands for all.
func (s Scope) each() []string {
	if len(s.Namespaces) == 0 || slices.Contains(s.Namespaces, "") {
		return []string{""}
	}
	return slices.Compact(slices.Sorted(slices.Values(s.Namespaces)))
}

// fill adds the places of prepared pods to a snapshot.
func (r *resolver) fill(s *Snapshot, pods []*pod) {
	for _, p := range pods {
		s.Places = append(s.Places, r.places(p)...)
	}
	sortPlaces(s.Places)
	s.Problems = append(s.Problems, r.allProblems()...)
}

// podsError is why the pods of a namespace cannot be listed.
func (l *Live) podsError(namespace string, err error) error {
	if statusCode(err) != http.StatusForbidden {
		return l.apiError("listing pods of", err)
	}
	e := &dossier.Error{Kind: dossier.KindDenied, Op: "listing pods in", Subject: "namespace " + namespace, Err: err}
	e.Hint = "Ask for a role in it that may list and watch pods."
	if namespace == "" {
		e.Subject = "all namespaces"
		e.Hint = "Name namespaces that you may read with -n, or ask for a cluster role that may list and watch pods."
	}
	return e
}
