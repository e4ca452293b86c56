// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dossier.dev/dossier/e2e/kube"
	"dossier.dev/dossier/e2e/node"
)

// TestRealNode checks the harness itself: imageIDs are what the container runtime says.
func TestRealNode(t *testing.T) {
	c := kube.Start(t, kube.Options{})
	n := node.Start(t, c, "real")
	b := c.Binaries

	t.Run("pulled", func(t *testing.T) {
		ref, digest := n.Push(t, "team/app:1", node.Image(t, b, "app"))
		c.Apply(t, deployment("default", "app", 2, ref))
		waitRunning(t, c, "default", "app=app", 2)
		want := n.Registry + "/team/app@" + digest
		for _, pod := range pods(t, c, "default", "app=app") {
			checkImageID(t, pod, want)
		}
	})
	t.Run("index", func(t *testing.T) {
		index := node.Index(t, node.Image(t, b, "multi"), node.ImageFor(t, b, "multi", "riscv64"))
		ref, digest := n.Push(t, "team/multi:1", index)
		c.Apply(t, pod("multi", ref, ""))
		checkImageID(t, waitPod(t, c, "multi"), n.Registry+"/team/multi@"+digest)
	})
	t.Run("imported", func(t *testing.T) {
		image := node.Image(t, b, "imported")
		n.Import(t, "imported.test/app:1", image)
		c.Apply(t, pod("imported", "imported.test/app:1", "Never"))
		config, err := image.ConfigName()
		if err != nil {
			t.Fatal(err)
		}
		checkImageID(t, waitPod(t, c, "imported"), config.String())
	})
	t.Run("static", func(t *testing.T) {
		ref, digest := n.Push(t, "team/static:1", node.Image(t, b, "static"))
		n.AddStaticPod(t, "static.yaml", pod("static", ref, ""))
		mirror := waitPod(t, c, "static-real")
		checkImageID(t, mirror, n.Registry+"/team/static@"+digest)
		if mirror.Annotations[corev1.MirrorPodAnnotationKey] == "" {
			t.Errorf("annotations %v, want that of a mirror pod", mirror.Annotations)
		}
	})
	t.Run("no way out", func(t *testing.T) {
		routes := n.Run(t, "ip", "route")
		for line := range strings.Lines(routes) {
			if fields := strings.Fields(line); !strings.Contains(line, "dev node0") && !strings.Contains(line, "dev pods0") {
				t.Errorf("route %v", fields)
			}
		}
	})
}

// pod returns the YAML of a pod in namespace default with one container, main.
func pod(name, image, pullPolicy string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: default}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: %q, imagePullPolicy: %q}]
`, name, image, pullPolicy)
}

// waitPod waits until a pod of namespace default runs, and returns it.
func waitPod(t *testing.T, c *kube.Cluster, name string) corev1.Pod {
	t.Helper()
	var pod *corev1.Pod
	kube.Wait(t, podTimeout, "running pod "+name, func(ctx context.Context) error {
		var err error
		if pod, err = c.Client.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{}); err != nil {
			return err
		}
		if pod.Status.Phase != corev1.PodRunning {
			return fmt.Errorf("phase %s, containers %+v", pod.Status.Phase, pod.Status.ContainerStatuses)
		}
		return nil
	})
	return *pod
}

func checkImageID(t *testing.T, pod corev1.Pod, want string) {
	t.Helper()
	if got := pod.Status.ContainerStatuses[0].ImageID; got != want {
		t.Errorf("pod %s: imageID = %q, want %q", pod.Name, got, want)
	}
}
