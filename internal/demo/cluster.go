// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"dossier.dev/dossier"
)

// object is a Kubernetes object, as far as a manifest needs it.
type object map[string]any

// deployment is a workload of the sample cluster.
type deployment struct {
	namespace, kind, name string
	image                 string   // as the spec names it, without the registry
	pods                  []string // for each pod, the key of World.images that it runs; "" is still pulling
	nodes                 []string // where they run, in turn
	policy                string
}

// Manifests writes the cluster as kubectl would print it: nodes, workloads and
// their pods with what they run.
func (w *World) Manifests() ([]byte, error) {
	var items []object
	for _, node := range [][2]string{{"node-a", "amd64"}, {"node-b", "arm64"}} {
		items = append(items, object{"apiVersion": "v1", "kind": "Node", "metadata": object{"name": node[0],
			"labels": object{"kubernetes.io/os": "linux", "kubernetes.io/arch": node[1]}}})
	}
	for _, d := range workloads() {
		objects, err := w.objects(d)
		if err != nil {
			return nil, err
		}
		items = append(items, objects...)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	err := enc.Encode(object{"apiVersion": "v1", "kind": "List", "items": items})
	return b.Bytes(), err
}

func workloads() []deployment {
	web, old := "shop/web:1.4.2", "shop/worker:stable before"
	return []deployment{
		{namespace: "shop", kind: "Deployment", name: "web", image: web, pods: []string{web, web, web}, nodes: []string{"node-a", "node-b"}},
		{namespace: "shop", kind: "Deployment", name: "api", image: "shop/api:2.0.1", pods: []string{"shop/api:2.0.1"}},
		{namespace: "shop", kind: "Deployment", name: "worker", image: "shop/worker:stable", pods: []string{old, old, "shop/worker:stable"}, policy: "IfNotPresent"},
		{namespace: "shop", kind: "StatefulSet", name: "cart", image: "shop/cart:3.1", pods: []string{"shop/cart:3.1"}},
		{namespace: "edge", kind: "DaemonSet", name: "proxy", image: "vendor/nginx:1.27", pods: []string{"vendor/nginx:1.27", "vendor/nginx:1.27"}},
		{namespace: "tools", kind: "Deployment", name: "debug", image: "base/alpine:3.20", pods: []string{"base/alpine:3.20"}},
		{namespace: "tools", kind: "Deployment", name: "fetch", image: "tools/fetch:0.3.0", pods: []string{"tools/fetch:0.3.0"}},
		{namespace: "legacy", kind: "Deployment", name: "batch", image: "legacy/batch", pods: []string{"legacy/batch:latest"}},
		{namespace: "legacy", kind: "Deployment", name: "report", image: "legacy/report:7", pods: []string{""}},
	}
}

// objects are a workload, and its pods.
func (w *World) objects(d deployment) ([]object, error) {
	image := Registry + "/" + d.image
	container := object{"name": d.name, "image": image}
	if d.policy != "" {
		container["imagePullPolicy"] = d.policy
	}
	labels := object{"app": d.name}
	out := []object{{
		"apiVersion": "apps/v1", "kind": d.kind,
		"metadata": object{"name": d.name, "namespace": d.namespace, "uid": "uid-" + d.name},
		"spec": object{"selector": object{"matchLabels": labels},
			"template": object{"metadata": object{"labels": labels}, "spec": object{"containers": []object{container}}}},
	}}
	for i, runs := range d.pods {
		node := "node-a"
		if len(d.nodes) > 0 {
			node = d.nodes[i%len(d.nodes)]
		}
		status := object{"name": d.name, "image": image, "imageID": ""}
		phase := "Pending"
		if runs != "" {
			digest, err := w.digest(runs)
			if err != nil {
				return nil, err
			}
			repository, _, _ := strings.Cut(d.image, ":")
			status["imageID"] = Registry + "/" + repository + "@" + string(digest)
			phase = "Running"
		}
		name := fmt.Sprintf("%s-%d", d.name, i)
		out = append(out, object{
			"apiVersion": "v1", "kind": "Pod",
			"metadata": object{"name": name, "namespace": d.namespace, "uid": "uid-" + name, "labels": labels,
				"ownerReferences": []object{{"apiVersion": "apps/v1", "kind": d.kind, "name": d.name, "uid": "uid-" + d.name, "controller": true}}},
			"spec":   object{"nodeName": node, "containers": []object{container}},
			"status": object{"phase": phase, "containerStatuses": []object{status}},
		})
	}
	return out, nil
}

// digest returns what was pushed under a name. "NAME before" is what the tag
// pointed at before it moved; as long as it has not, that is the same.
func (w *World) digest(name string) (dossier.Digest, error) {
	if d, ok := w.images[name]; ok {
		return d, nil
	}
	if d, ok := w.images[strings.TrimSuffix(name, " before")]; ok {
		return d, nil
	}
	return "", fmt.Errorf("the sample cluster runs %s, which was never pushed", name)
}
