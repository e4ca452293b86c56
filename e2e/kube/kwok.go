// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

//go:embed kwok.yaml
var kwokConfig []byte

// StartKwok adds fake nodes, fake-1 to fake-N of linux/amd64, and runs kwok until the end of the test. Pods on fake nodes
// become Running without anything running. What their status says:
//
//   - The imageID of each container, init container and ephemeral container is the value of the pod's annotation
//     imageid.test/CONTAINER, else REPOSITORY@DIGEST with the digest of the image reference when that has one, else with the
//     SHA-256 of the reference. The same holds for image volumes, by the volume's name, when the API server keeps their status
//     (feature gate ImageVolumeWithDigest).
//   - The status follows when an ephemeral container is added or an image changed.
//   - A pod ends only with the annotation exit.test, whose value is the exit status. Without it Jobs run forever.
//
// Nodes carry the label type=fake and no taint.
func (c *Cluster) StartKwok(t testing.TB, nodes int) {
	t.Helper()
	for i := range nodes {
		c.AddFakeNode(t, fmt.Sprintf("fake-%d", i+1), "amd64")
	}
	config := c.file("kwok.yaml")
	if err := os.WriteFile(config, kwokConfig, 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := c.start("kwok", c.Binaries.Kwok, "--kubeconfig="+c.Kubeconfig, "--config="+config)
	if err != nil {
		t.Fatal(err)
	}
	Wait(t, time.Minute, "fake nodes ready", func(ctx context.Context) error {
		list, err := c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: "type=fake"})
		if err != nil {
			return err
		}
		for _, n := range list.Items {
			if len(n.Status.Conditions) == 0 || len(n.Spec.Taints) > 0 {
				return fmt.Errorf("node %s has conditions %v and taints %v", n.Name, n.Status.Conditions, n.Spec.Taints)
			}
		}
		return p.Err()
	})
}

// AddFakeNode adds one more node that kwok looks after, of linux and the given architecture.
func (c *Cluster) AddFakeNode(t testing.TB, name, architecture string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	room := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("1k"),
		corev1.ResourceMemory: resource.MustParse("1Ti"),
		corev1.ResourcePods:   resource.MustParse("100k"),
	}
	node := corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Annotations: map[string]string{"e2e.test/fake": "true"},
			Labels: map[string]string{
				"type":                 "fake",
				corev1.LabelHostname:   name,
				corev1.LabelOSStable:   "linux",
				corev1.LabelArchStable: architecture,
			},
		},
		Status: corev1.NodeStatus{
			Capacity:    room,
			Allocatable: room,
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: "10.246.0.1"},
				{Type: corev1.NodeHostName, Address: name},
			},
			NodeInfo: corev1.NodeSystemInfo{Architecture: architecture, OperatingSystem: "linux", KubeletVersion: version},
		},
	}
	// The API server keeps the status of a new node: no second call is needed.
	if _, err := c.Client.CoreV1().Nodes().Create(ctx, &node, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}
