// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dossier.dev/dossier/e2e/kube"
)

// TestImages runs `dossier images` against a cluster with every kind of workload.
func TestImages(t *testing.T) {
	dossierBinary(t)
	c := kube.Start(t, kube.Options{})
	c.StartKwok(t, 2)
	data := t.TempDir()
	look := func(t *testing.T, args ...string) list {
		t.Helper()
		return listImages(t, append([]string{"-A", "--kubeconfig", c.Kubeconfig, "--data", data}, args...)...)
	}
	check := func(t *testing.T, l list, want []string) {
		t.Helper()
		if err := differ(l.rows(), want); err != nil {
			t.Error(err)
		}
		checkAnswers(t, l)
	}

	applyShop(t, c)
	// A pod that ended does not run.
	c.Apply(t, strings.NewReplacer("name: solo", "name: done, annotations: {exit.test: '0'}").Replace(soloPod))
	waitPhase(t, c, "shop", "done", "Succeeded")

	t.Run("lists exactly what runs", func(t *testing.T) {
		l := look(t)
		check(t, l, shopRows("1"))
		system, err := c.Client.CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(l.Clusters) != 1 || l.Clusters[0].ID != string(system.UID) {
			t.Errorf("clusters = %v, want one, %s", l.Clusters, system.UID)
		}
	})
	t.Run("namespace", func(t *testing.T) {
		l := listImages(t, "-n", "kube-system", "--kubeconfig", c.Kubeconfig, "--data", data)
		check(t, l, []string{mirrorRow()})
	})
	t.Run("least privilege", func(t *testing.T) { testImagesLeastPrivilege(t, c) })
	t.Run("rollout", func(t *testing.T) {
		c.Kubectl(t, "", "-n", "shop", "set", "image", "deployment/web", "main="+nowhere+"/web:2")
		c.Kubectl(t, "", "-n", "shop", "rollout", "status", "deployment/web", "--timeout=60s")
		waitRunning(t, c, "shop", "app=web", 2)
		check(t, look(t), shopRows("2")) // the ephemeral container went with its pod
	})

	// Times on the command line are whole seconds: one that lies between what was seen and what comes.
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
	before := time.Now().UTC().Truncate(time.Second)
	time.Sleep(time.Second)

	t.Run("deleted namespace", func(t *testing.T) {
		deleteNamespace(t, c, "shop")
		check(t, look(t), []string{mirrorRow()})
	})
	t.Run("past", func(t *testing.T) {
		check(t, look(t, "--at", before.Format(time.RFC3339)), shopRows("2"))
	})
}

// testImagesLeastPrivilege lists one namespace with an account that may read pods and their owners there, and nothing else.
func testImagesLeastPrivilege(t *testing.T, c *kube.Cluster) {
	read := []string{"get", "list", "watch"}
	account := c.ServiceAccountKubeconfig(t, "shop",
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: read},
		rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"replicasets"}, Verbs: read},
		rbacv1.PolicyRule{APIGroups: []string{"batch"}, Resources: []string{"jobs"}, Verbs: read})
	l := listImages(t, "-n", "shop", "--kubeconfig", account, "--data", t.TempDir())
	var want []string
	for _, r := range shopRows("1") {
		if strings.HasPrefix(r, "shop ") {
			want = append(want, r)
		}
	}
	if err := differ(l.rows(), want); err != nil {
		t.Error(err)
	}
	_, stderr, code := runDossier(t, "images", "-n", "kube-system", "--kubeconfig", account, "--data", t.TempDir())
	if code != 1 || !strings.Contains(stderr, "error:") {
		t.Errorf("a namespace that may not be read: exit code %d, stderr %q, want 1 and an error", code, stderr)
	}
}

const soloPod = `
apiVersion: v1
kind: Pod
metadata: {name: solo, namespace: shop}
spec:
  containers: [{name: main, image: "127.0.0.1:9/solo@sha256:3333333333333333333333333333333333333333333333333333333333333333"}]
`

// applyShop makes a namespace with every kind of workload, and a mirror pod in kube-system, and waits until all of it runs.
func applyShop(t *testing.T, c *kube.Cluster) {
	t.Helper()
	c.Kubectl(t, "", "create", "namespace", "shop")
	kube.Wait(t, podTimeout, "service account", func(ctx context.Context) error {
		_, err := c.Client.CoreV1().ServiceAccounts("shop").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	c.Apply(t, strings.ReplaceAll(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers:
      - {name: setup, image: "NOWHERE/setup:1"}
      - {name: proxy, image: "NOWHERE/proxy:1", restartPolicy: Always}
      containers:
      - {name: main, image: "NOWHERE/web:1", volumeMounts: [{name: content, mountPath: /content}]}
      volumes:
      - {name: content, image: {reference: "NOWHERE/content:1"}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec:
  serviceName: db
  replicas: 1
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: main, image: "NOWHERE/db:1"}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: shop}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {containers: [{name: main, image: "NOWHERE/agent:1"}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: shop}
spec:
  schedule: "0 0 1 1 *"
  jobTemplate:
    spec:
      template:
        metadata: {labels: {app: nightly}}
        spec: {restartPolicy: Never, containers: [{name: main, image: "NOWHERE/nightly:1"}]}
---
`, "NOWHERE", nowhere)+soloPod)
	c.Kubectl(t, "", "-n", "shop", "create", "job", "--from=cronjob/nightly", "nightly-1")
	applyMirrorPod(t, c)
	for label, n := range map[string]int{"app=web": 2, "app=db": 1, "app=agent": 2, "app=nightly": 1} {
		waitRunning(t, c, "shop", label, n)
	}
	waitPhase(t, c, "shop", "solo", "Running")
	waitPhase(t, c, "kube-system", "static-fake-1", "Running")
	debug(t, c, "shop", pods(t, c, "shop", "app=web")[0].Name, "debugger", nowhere+"/debug:1")
	kube.Wait(t, podTimeout, "ephemeral container", func(context.Context) error {
		for _, p := range pods(t, c, "shop", "app=web") {
			if len(p.Status.EphemeralContainerStatuses) == 1 {
				return nil
			}
		}
		return fmt.Errorf("no pod has its status")
	})
}

// applyMirrorPod makes the API server's copy of a static pod, as the kubelet of a fake node would.
func applyMirrorPod(t *testing.T, c *kube.Cluster) {
	t.Helper()
	node, err := c.Client.CoreV1().Nodes().Get(t.Context(), "fake-1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.Apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata:
  name: static-fake-1
  namespace: kube-system
  annotations: {kubernetes.io/config.mirror: "1", kubernetes.io/config.hash: "1", kubernetes.io/config.source: file}
  ownerReferences: [{apiVersion: v1, kind: Node, name: fake-1, uid: %s, controller: true}]
spec:
  nodeName: fake-1
  containers: [{name: main, image: "%s/static:1"}]
`, node.UID, nowhere))
}

func mirrorRow() string {
	return row("kube-system", "Pod/static-fake-1", "container", "main", digestOf(nowhere+"/static:1"), 1)
}

// shopRows is what applyShop makes, with a version of the image web. Only the first has the ephemeral container.
func shopRows(version string) []string {
	of := func(workload, containerType, container, image string, pods int) string {
		return row("shop", workload, containerType, container, digestOf(nowhere+"/"+image), pods)
	}
	rows := []string{
		of("Deployment/web", "initContainer", "setup", "setup:1", 2),
		of("Deployment/web", "initContainer", "proxy", "proxy:1", 2),
		of("Deployment/web", "container", "main", "web:"+version, 2),
		// The status of a pod does not say which image a volume holds.
		row("shop", "Deployment/web", "imageVolume", "content", "unknown", 2),
		of("StatefulSet/db", "container", "main", "db:1", 1),
		of("DaemonSet/agent", "container", "main", "agent:1", 2),
		of("CronJob/nightly", "container", "main", "nightly:1", 1),
		row("shop", "Pod/solo", "container", "main", "sha256:"+strings.Repeat("3", 64), 1),
		mirrorRow(),
	}
	if version == "1" {
		rows = append(rows, of("Deployment/web", "ephemeralContainer", "debugger", "debug:1", 1))
	}
	return rows
}

func waitPhase(t *testing.T, c *kube.Cluster, namespace, pod, phase string) {
	t.Helper()
	kube.Wait(t, podTimeout, "pod "+pod+" "+phase, func(ctx context.Context) error {
		p, err := c.Client.CoreV1().Pods(namespace).Get(ctx, pod, metav1.GetOptions{})
		if err == nil && string(p.Status.Phase) != phase {
			err = fmt.Errorf("phase %s", p.Status.Phase)
		}
		return err
	})
}

// deleteNamespace deletes a namespace and waits until it is gone, with all that was in it.
func deleteNamespace(t *testing.T, c *kube.Cluster, namespace string) {
	t.Helper()
	c.Kubectl(t, "", "delete", "namespace", namespace, "--wait=false")
	kube.Wait(t, podTimeout, "namespace "+namespace+" gone", func(ctx context.Context) error {
		_, err := c.Client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("still there: %v", err)
	})
}

// TestImageVolumes lists what image volumes hold when pods' status says it.
func TestImageVolumes(t *testing.T) {
	dossierBinary(t)
	c := kube.Start(t, kube.Options{
		NoControllerManager: true,
		NoScheduler:         true,
		APIServerFlags:      []string{"--feature-gates=ImageVolumeWithDigest=true"},
	})
	c.StartKwok(t, 1)
	c.Apply(t, strings.ReplaceAll(`
apiVersion: v1
kind: Pod
metadata: {name: reader, namespace: default}
spec:
  nodeName: fake-1
  containers:
  - {name: main, image: "NOWHERE/reader:1", volumeMounts: [{name: content, mountPath: /content}]}
  volumes:
  - {name: content, image: {reference: "NOWHERE/content:1"}}
`, "NOWHERE", nowhere))
	waitPhase(t, c, "default", "reader", "Running")
	l := listImages(t, "-A", "--kubeconfig", c.Kubeconfig, "--data", t.TempDir())
	if err := differ(l.rows(), []string{
		row("default", "Pod/reader", "container", "main", digestOf(nowhere+"/reader:1"), 1),
		row("default", "Pod/reader", "imageVolume", "content", digestOf(nowhere+"/content:1"), 1),
	}); err != nil {
		t.Error(err)
	}
}
