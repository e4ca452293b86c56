// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"encoding/json"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// objectEvent is a change of an object with a pod template, in the form of the
// watch protocol.
type objectEvent struct {
	version   int
	typ, path string
	object    map[string]any
}

// apply adds or changes an object with a pod template, given as JSON under the
// path of its resource.
func (f *fakeAPI) apply(t *testing.T, resource, text string) {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	f.set(func() {
		name := objectPath(resource, o)
		typ := "MODIFIED"
		if f.objects[name] == nil {
			typ = "ADDED"
		}
		f.tellObject(typ, name, o)
		f.objects[name] = o
	})
}

// drop deletes an object with a pod template.
func (f *fakeAPI) drop(resource, namespace, name string) {
	f.set(func() {
		key := objectPath(resource, map[string]any{"metadata": map[string]any{"namespace": namespace, "name": name}})
		f.tellObject("DELETED", key, f.objects[key])
		delete(f.objects, key)
	})
}

// tellObject keeps and tells a change. The lock is held.
func (f *fakeAPI) tellObject(typ, name string, o map[string]any) {
	f.version++
	m := maps.Clone(o["metadata"].(map[string]any))
	m["resourceVersion"] = strconv.Itoa(f.version)
	o = maps.Clone(o)
	o["metadata"] = m
	f.told = append(f.told, objectEvent{f.version, typ, name, o})
	f.tellWatches()
}

func objectPath(resource string, o map[string]any) string {
	m := o["metadata"].(map[string]any)
	dir, kind := path.Split(resource)
	return dir + "namespaces/" + m["namespace"].(string) + "/" + kind + "/" + m["name"].(string)
}

// in reports whether an object lies in the list that is asked for.
func in(list, object string) bool {
	dir, kind := path.Split(list)
	rest, ok := strings.CutPrefix(object, dir)
	return ok && strings.HasPrefix(object, list+"/") ||
		ok && strings.HasPrefix(rest, "namespaces/") && strings.Contains(rest, "/"+kind+"/")
}

// listObjects answers with the objects of a kind, a page at a time. A group
// that was refused altogether is unknown.
func (f *fakeAPI) listObjects(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	items := []any{}
	for _, key := range slices.Sorted(maps.Keys(f.objects)) {
		if in(r.URL.Path, key) {
			items = append(items, f.objects[key])
		}
	}
	meta := map[string]any{"resourceVersion": strconv.Itoa(f.version)}
	items, meta["continue"] = pageOf(items, r.URL.Query().Get("continue"), r.URL.Query().Get("limit"))
	kinds := map[string]string{}
	for _, k := range templateKinds() {
		kinds[k.resource] = k.name
	}
	kind, ok := kinds[path.Base(r.URL.Path)]
	if !ok {
		writeStatus(w, 404)
		return
	}
	writeJSON(w, 200, map[string]any{"apiVersion": apiVersion(r.URL.Path), "kind": kind + "List", "metadata": meta, "items": items})
}

// apiVersion is that of the objects under a path.
func apiVersion(p string) string {
	parts := strings.Split(strings.Trim(p, "/"), "/")
	if parts[0] == "api" {
		return parts[1]
	}
	return parts[1] + "/" + parts[2]
}

// watchObjects answers with what changes since a version.
func (f *fakeAPI) watchObjects(w http.ResponseWriter, r *http.Request) {
	since, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(200)
	encoder := json.NewEncoder(w)
	for {
		f.mu.Lock()
		changed, down := f.changed, f.down
		events := slices.Clone(f.told)
		f.mu.Unlock()
		if down {
			panic(http.ErrAbortHandler)
		}
		for _, e := range events {
			if e.version > since && in(r.URL.Path, e.path) {
				_ = encoder.Encode(map[string]any{"type": e.typ, "object": e.object})
			}
			since = max(since, e.version)
		}
		w.(http.Flusher).Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}
