// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"dossier.dev/dossier/e2e/kube"
)

const podTimeout = 2 * time.Minute // for pods to reach a state

// TestControlPlane checks the harness itself: what the product scenarios rely on.
func TestControlPlane(t *testing.T) {
	c := kube.Start(t, kube.Options{})
	c.StartKwok(t, 2)
	c.Apply(t, deployment("default", "web", 5, "registry.test:5000/team/web:1.2.3"))
	wantImageID := fmt.Sprintf("registry.test:5000/team/web@sha256:%x", sha256.Sum256([]byte("registry.test:5000/team/web:1.2.3")))
	waitRunning(t, c, "default", "app=web", 5)
	for _, pod := range pods(t, c, "default", "app=web") {
		if got := pod.Status.ContainerStatuses[0].ImageID; got != wantImageID {
			t.Errorf("imageID = %q, want %q", got, wantImageID)
		}
	}

	t.Run("restart", func(t *testing.T) {
		c.RestartAPIServer(t)
		c.Apply(t, deployment("default", "web", 7, "registry.test:5000/team/web:1.2.3"))
		waitRunning(t, c, "default", "app=web", 7)
	})
	t.Run("gone", func(t *testing.T) { testGone(t, c) })
	t.Run("least privilege", func(t *testing.T) { testLeastPrivilege(t, c) })
	t.Run("gate", func(t *testing.T) { testGate(t, c) })
	t.Run("pod status", func(t *testing.T) { testPodStatus(t, c) })
}

// testGone checks that a watch from a forgotten revision gets 410 Gone.
func testGone(t *testing.T, c *kube.Cluster) {
	ctx, cancel := context.WithTimeout(t.Context(), podTimeout)
	defer cancel()
	list, err := c.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.Kubectl(t, "", "create", "namespace", "later")
	c.Apply(t, deployment("later", "late", 1, "late:1"))
	waitRunning(t, c, "later", "app=late", 1)
	c.CompactEtcd(t)
	c.RestartAPIServer(t)
	w, err := c.Client.CoreV1().Pods("").Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err == nil {
		defer w.Stop()
		if event := <-w.ResultChan(); event.Type == watch.Error {
			err = apierrors.FromObject(event.Object)
		} else {
			t.Fatalf("first event = %v, want an error", event.Type)
		}
	}
	if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
		t.Errorf("watch from revision %s: %v, want 410 Gone", list.ResourceVersion, err)
	}
}

func testLeastPrivilege(t *testing.T, c *kube.Cluster) {
	read := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}
	for _, test := range []struct {
		account, ask string
		allowed      bool
	}{
		{"default", "default", true},
		{"default", "kube-system", false},
		{"default", "", false},
		{"", "", true},
	} {
		client := client(t, c.ServiceAccountKubeconfig(t, test.account, read))
		_, err := client.CoreV1().Pods(test.ask).List(t.Context(), metav1.ListOptions{})
		if test.allowed != (err == nil) || !test.allowed && !apierrors.IsForbidden(err) {
			t.Errorf("account of %q lists pods of %q: %v, want allowed: %v", test.account, test.ask, err, test.allowed)
		}
	}
}

func testGate(t *testing.T, c *kube.Cluster) {
	gate := c.Gate(t, c.Kubeconfig)
	client := client(t, gate.Kubeconfig)
	ask := func() error {
		_, err := client.CoreV1().Namespaces().Get(t.Context(), "default", metav1.GetOptions{})
		return err
	}
	if err := ask(); err != nil {
		t.Errorf("open: %v", err)
	}
	gate.Shut()
	if err := ask(); err == nil {
		t.Error("shut: no error")
	}
	gate.Open()
	kube.Wait(t, podTimeout, "open again", func(context.Context) error { return ask() })
}

// testPodStatus checks what kwok writes for every kind of container, and that the status follows changes.
func testPodStatus(t *testing.T, c *kube.Cluster) {
	c.Apply(t, `
apiVersion: v1
kind: Pod
metadata:
  name: all
  annotations: {imageid.test/main: "sha256:1111111111111111111111111111111111111111111111111111111111111111"}
spec:
  initContainers:
  - {name: setup, image: "setup:1"}
  - {name: sidecar, image: "sidecar:1", restartPolicy: Always}
  containers:
  - {name: main, image: "main:1"}
  - {name: pinned, image: "r.test:5000/p:v@sha256:2222222222222222222222222222222222222222222222222222222222222222"}
`)
	status := func(want string) {
		t.Helper()
		kube.Wait(t, podTimeout, "status", func(ctx context.Context) error {
			pod, err := c.Client.CoreV1().Pods("default").Get(ctx, "all", metav1.GetOptions{})
			if err != nil {
				return err
			}
			got := string(pod.Status.Phase)
			for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses} {
				for _, s := range list {
					state := "running"
					if s.State.Terminated != nil {
						state = fmt.Sprintf("exited %d", s.State.Terminated.ExitCode)
					}
					got += fmt.Sprintf("\n%s %s %s", s.Name, s.ImageID, state)
				}
			}
			if got != want {
				return fmt.Errorf("status is\n%s\nwant\n%s", got, want)
			}
			return nil
		})
	}
	id := func(image string) string { return fmt.Sprintf("@sha256:%x", sha256.Sum256([]byte(image))) }
	before := "setup setup" + id("setup:1") + " exited 0\nsidecar sidecar" + id("sidecar:1") + " running"
	pinned := "\npinned r.test:5000/p@sha256:2222222222222222222222222222222222222222222222222222222222222222"
	main := "\nmain sha256:1111111111111111111111111111111111111111111111111111111111111111"
	status("Running\n" + before + main + " running" + pinned + " running")

	debug(t, c, "default", "all", "debugger", "debug:1")
	status("Running\n" + before + main + " running" + pinned + " running\ndebugger debug" + id("debug:1") + " running")

	c.Kubectl(t, "", "annotate", "pod", "all", "imageid.test/main-")
	c.Kubectl(t, "", "set", "image", "pod/all", "main=main:2")
	main = "\nmain main" + id("main:2")
	status("Running\n" + before + main + " running" + pinned + " running\ndebugger debug" + id("debug:1") + " running")

	c.Kubectl(t, "", "annotate", "pod", "all", "exit.test=3")
	status("Failed\n" + before + main + " exited 3" + pinned + " exited 3\ndebugger debug" + id("debug:1") + " running")
}

// deployment returns the YAML of a Deployment with one container, main.
func deployment(namespace, name string, replicas int, image string) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  replicas: %[3]d
  selector: {matchLabels: {app: %[2]s}}
  template:
    metadata: {labels: {app: %[2]s}}
    spec:
      containers: [{name: main, image: %[4]q}]
`, namespace, name, replicas, image)
}

// debug adds an ephemeral container to a pod.
func debug(t *testing.T, c *kube.Cluster, namespace, pod, name, image string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), podTimeout)
	defer cancel()
	p, err := c.Client.CoreV1().Pods(namespace).Get(ctx, pod, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, corev1.EphemeralContainer{
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: name, Image: image},
	})
	if _, err := c.Client.CoreV1().Pods(namespace).UpdateEphemeralContainers(ctx, pod, p, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func client(t *testing.T, kubeconfig string) kubernetes.Interface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.Timeout = 5 * time.Second
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// pods returns the pods with a label that nobody is deleting.
func pods(t *testing.T, c *kube.Cluster, namespace, label string) []corev1.Pod {
	t.Helper()
	list, err := c.Client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: label})
	if err != nil {
		t.Fatal(err)
	}
	var live []corev1.Pod
	for _, p := range list.Items {
		if p.DeletionTimestamp == nil {
			live = append(live, p)
		}
	}
	return live
}

// waitRunning waits until exactly n pods with a label are there and all run.
func waitRunning(t *testing.T, c *kube.Cluster, namespace, label string, n int) {
	t.Helper()
	kube.Wait(t, podTimeout, fmt.Sprintf("%d running pods %s", n, label), func(ctx context.Context) error {
		list, err := c.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: label})
		if err != nil {
			return err
		}
		running := 0
		for _, p := range list.Items {
			if p.Status.Phase == corev1.PodRunning {
				running++
			}
		}
		if running != n || len(list.Items) != n {
			return fmt.Errorf("%d of %d pods run", running, len(list.Items))
		}
		return nil
	})
}

// TestWithoutControllers checks the smallest cluster, which speed tests use, and the status of image volumes.
func TestWithoutControllers(t *testing.T) {
	c := kube.Start(t, kube.Options{
		NoControllerManager: true,
		NoScheduler:         true,
		APIServerFlags:      []string{"--feature-gates=ImageVolumeWithDigest=true"},
	})
	c.StartKwok(t, 1)
	const count = 100
	start := time.Now()
	for i := range count {
		volume := corev1.Volume{Name: "content", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "content:1"}}}
		_, err := c.Client.CoreV1().Pods("default").Create(t.Context(), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("p%d", i), Labels: map[string]string{"app": "many"}},
			Spec: corev1.PodSpec{
				NodeName: "fake-1",
				Volumes:  []corev1.Volume{volume},
				Containers: []corev1.Container{{
					Name: "main", Image: "many:1", VolumeMounts: []corev1.VolumeMount{{Name: "content", MountPath: "/content"}},
				}},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	waitRunning(t, c, "default", "app=many", count)
	t.Logf("%d pods in %v", count, time.Since(start).Round(time.Millisecond))
	want := fmt.Sprintf("content@sha256:%x", sha256.Sum256([]byte("content:1")))
	for _, p := range pods(t, c, "default", "app=many") {
		mounts := p.Status.ContainerStatuses[0].VolumeMounts
		if len(mounts) != 1 || mounts[0].VolumeStatus == nil || mounts[0].VolumeStatus.Image.ImageRef != want {
			t.Fatalf("volume mounts of %s: %+v, want one with image %s", p.Name, mounts, want)
		}
	}
}
