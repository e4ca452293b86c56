// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"dossier.dev/dossier"
)

// listThreshold is how many unknown objects of one kind are fetched one by one;
// more are fetched by listing all there are.
const listThreshold = 16

// resolver knows, or finds out, who owns the owners of pods and what nodes are.
// What it was told once it does not ask again. It is not for concurrent use.
type resolver struct {
	live  *Live
	scope Scope

	owners    map[string]*owner // by UID: the controller; nil: none, or none that can be known
	platforms map[string]string // by node
	kinds     map[schema.GroupVersion]map[string]metav1.APIResource
	denied    map[deniedKey]bool
	problems  map[string]error // by resource
}

// deniedKey says where a resource may not be read.
type deniedKey struct {
	schema.GroupVersionResource
	namespace string
}

func newResolver(live *Live, scope Scope) *resolver {
	return &resolver{
		live:      live,
		scope:     scope,
		owners:    map[string]*owner{},
		platforms: map[string]string{},
		kinds:     map[schema.GroupVersion]map[string]metav1.APIResource{},
		denied:    map[deniedKey]bool{},
		problems:  map[string]error{},
	}
}

// asked is an owner in a namespace that must be found out about.
type asked struct {
	owner
	namespace string
}

// kind is what asked owners are grouped by.
type kind struct{ apiVersion, kind string }

// prepare finds out what the places of pods need, level by level: few objects
// one by one, many by a list. What the server refuses stays unknown; the error
// is that it does not answer.
func (r *resolver) prepare(ctx context.Context, pods []*pod) error {
	nodes := map[string]bool{}
	level := make([]asked, 0, len(pods))
	for _, p := range pods {
		if _, ok := r.platforms[p.Node]; !ok && p.Node != "" {
			nodes[p.Node] = true
		}
		if p.Owner != nil {
			level = append(level, asked{*p.Owner, p.Namespace})
		}
	}
	if err := r.findNodes(ctx, slices.Sorted(maps.Keys(nodes))); err != nil {
		return err
	}
	for range maxOwners {
		unknown := map[kind]map[string]asked{}
		for _, a := range level {
			if _, ok := r.owners[a.UID]; !ok {
				k := kind{a.APIVersion, a.Kind}
				if unknown[k] == nil {
					unknown[k] = map[string]asked{}
				}
				unknown[k][a.UID] = a
			}
		}
		for k, group := range unknown {
			if err := r.findOwners(ctx, k, group); err != nil {
				return err
			}
		}
		// Equal owners are one on the next level.
		next := map[string]asked{}
		for _, a := range level {
			if above := r.owners[a.UID]; above != nil {
				next[above.UID] = asked{*above, a.namespace}
			}
		}
		if len(next) == 0 {
			return nil
		}
		level = slices.Collect(maps.Values(next))
	}
	return nil
}

// workload is the top owner of p, as far as prepare could find out.
func (r *resolver) workload(p *pod) dossier.Workload {
	w := p.workload(r.live.cluster.ID)
	o := p.Owner
	for range maxOwners {
		if o == nil {
			break
		}
		w.Kind, w.Name = o.Kind, o.Name
		o = r.owners[o.UID]
	}
	return w
}

// places are those of a pod that was prepared.
func (r *resolver) places(p *pod) []dossier.Place {
	return p.places(r.workload(p), r.platforms[p.Node], "")
}

// findNodes finds out the platforms of nodes.
func (r *resolver) findNodes(ctx context.Context, names []string) error {
	resource := corev1.SchemeGroupVersion.WithResource("nodes")
	take := func(m *metav1.PartialObjectMetadata) {
		r.platforms[m.Name] = platform(m.Labels[osLabel], m.Labels[archLabel])
	}
	if len(names) > listThreshold {
		if err := r.list(ctx, resource, "", take); err != nil {
			return err
		}
	}
	for _, name := range names {
		if _, ok := r.platforms[name]; ok {
			continue
		}
		if m, err := r.get(ctx, resource, "", name); err != nil {
			return err
		} else if m != nil {
			take(m)
		} else {
			r.platforms[name] = ""
		}
	}
	return nil
}

// findOwners finds out who controls the owners of one kind.
func (r *resolver) findOwners(ctx context.Context, k kind, group map[string]asked) error {
	resource, namespaced, err := r.resource(ctx, k)
	if err != nil {
		return err
	}
	take := func(m *metav1.PartialObjectMetadata) {
		r.owners[string(m.UID)] = controller(m.Annotations, m.OwnerReferences)
	}
	if resource.Resource == "" {
		for uid := range group {
			r.owners[uid] = nil
		}
		return nil
	}
	if len(group) > listThreshold {
		for _, ns := range r.namespaces(group, namespaced) {
			if err := r.list(ctx, resource, ns, take); err != nil {
				return err
			}
		}
	}
	for _, uid := range slices.Sorted(maps.Keys(group)) {
		if _, ok := r.owners[uid]; ok {
			continue
		}
		r.owners[uid] = nil
		a := group[uid]
		if !namespaced {
			a.namespace = ""
		}
		m, err := r.get(ctx, resource, a.namespace, a.Name)
		if err != nil {
			delete(r.owners, uid)
			return err
		}
		if m != nil {
			take(m) // under its own UID: it may be another of that name
		}
	}
	return nil
}

// namespaces are those in which to list the owners of a group; "" stands for all.
func (r *resolver) namespaces(group map[string]asked, namespaced bool) []string {
	distinct := map[string]bool{}
	for _, a := range group {
		distinct[a.namespace] = true
	}
	if !namespaced || r.scope.each()[0] == "" && len(distinct) > 1 {
		return []string{""}
	}
	return slices.Sorted(maps.Keys(distinct))
}

// resource finds the resource of a kind, or an empty one when the server has none.
func (r *resolver) resource(ctx context.Context, k kind) (resource schema.GroupVersionResource, namespaced bool, err error) {
	gv, err := schema.ParseGroupVersion(k.apiVersion)
	if err != nil || gv.Version == "" {
		return schema.GroupVersionResource{}, false, nil
	}
	if name := knownResource(gv, k.kind); name != "" {
		return gv.WithResource(name), true, nil
	}
	if r.kinds[gv] == nil {
		list, err := r.live.resources(ctx, gv)
		if err != nil && statusCode(err) == 0 {
			return schema.GroupVersionResource{}, false, r.live.apiError("asking", err)
		}
		r.kinds[gv] = map[string]metav1.APIResource{}
		for _, a := range list {
			if a.Name != "" && !strings.Contains(a.Name, "/") {
				r.kinds[gv][a.Kind] = a
			}
		}
	}
	a, ok := r.kinds[gv][k.kind]
	if !ok {
		return schema.GroupVersionResource{}, false, nil
	}
	return gv.WithResource(a.Name), a.Namespaced, nil
}

// knownResource is the resource of the kinds that nearly every pod has above
// it, so that the server need not be asked.
func knownResource(gv schema.GroupVersion, kind string) string {
	switch gv.String() + "/" + kind {
	case "apps/v1/ReplicaSet":
		return "replicasets"
	case "apps/v1/Deployment":
		return "deployments"
	case "apps/v1/StatefulSet":
		return "statefulsets"
	case "apps/v1/DaemonSet":
		return "daemonsets"
	case "batch/v1/Job":
		return "jobs"
	case "batch/v1/CronJob":
		return "cronjobs"
	case "v1/ReplicationController":
		return "replicationcontrollers"
	}
	return ""
}

// list lists the metadata of a resource, if it may.
func (r *resolver) list(ctx context.Context, resource schema.GroupVersionResource, namespace string, take func(*metav1.PartialObjectMetadata)) error {
	err := r.live.listMeta(ctx, resource, namespace, take)
	return r.refused(resource, err)
}

// get gets the metadata of one object, or nil when it cannot be had. A resource
// that is forbidden in a namespace is not asked for again.
func (r *resolver) get(ctx context.Context, resource schema.GroupVersionResource, namespace, name string) (*metav1.PartialObjectMetadata, error) {
	key := deniedKey{resource, namespace}
	if r.denied[key] {
		return nil, nil
	}
	m, err := r.live.getMeta(ctx, resource, namespace, name)
	if err == nil {
		return m, nil
	}
	if statusCode(err) == http.StatusForbidden {
		r.denied[key] = true
	}
	return nil, r.refused(resource, err)
}

// refused notes what the server refuses, where that can be seen in places, and
// returns the error of a server that does not answer.
func (r *resolver) refused(resource schema.GroupVersionResource, err error) error {
	code := statusCode(err)
	switch {
	case err == nil, code == http.StatusNotFound:
		return nil
	case code == 0, isBuiltIn(resource.Group) && (code == http.StatusTooManyRequests || code >= 500):
		return r.live.apiError("asking", err)
	}
	switch resource.Resource {
	case "replicasets", "jobs", "nodes":
		r.problems[resource.Resource] = &dossier.Error{
			Kind: dossier.KindOf(r.live.apiError("", err)), Op: "reading " + resource.Resource + " of", Subject: r.live.host, Err: err,
			Hint: "Without them some workloads or platforms stay unknown; see the roles in the installation guide.",
		}
	}
	return nil
}

// isBuiltIn reports whether the API server itself serves a group. The server
// behind another may be gone for good and must hold up nothing.
func isBuiltIn(group string) bool { return group == "" || group == "apps" || group == "batch" }

// allProblems gives the problems in order.
func (r *resolver) allProblems() []Problem {
	var all []Problem
	for _, name := range slices.Sorted(maps.Keys(r.problems)) {
		all = append(all, Problem{Where: name, Err: r.problems[name]})
	}
	return all
}
