// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"runtime"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dossier.dev/dossier/e2e/kube"
	"dossier.dev/dossier/e2e/node"
)

// TestNodeImages runs `dossier images` against a real node, whose imageIDs are the container runtime's own.
func TestNodeImages(t *testing.T) {
	dossierBinary(t)
	c := kube.Start(t, kube.Options{})
	n := node.Start(t, c, "real")
	b := c.Binaries

	single, singleDigest := n.Push(t, "team/single:1", node.Image(t, b, "single"))
	multi := node.Image(t, b, "multi")
	index, indexDigest := n.Push(t, "team/multi:1", node.Index(t, multi, node.ImageFor(t, b, "multi", "riscv64")))
	moved, movedDigest := n.Push(t, "team/moved:1", node.Image(t, b, "before"))
	known, knownDigest := n.Push(t, "team/known:1", node.Image(t, b, "known"))
	n.Import(t, known, node.Image(t, b, "known"))
	stranger := node.Image(t, b, "stranger")
	n.Import(t, nowhere+"/stranger:1", stranger)
	static, staticDigest := n.Push(t, "team/static:1", node.Image(t, b, "static"))

	c.Apply(t, deployment("default", "single", 2, single))
	for name, p := range map[string][2]string{
		"multi":    {index, ""},
		"moved":    {moved, ""},
		"known":    {known, "Never"},
		"stranger": {nowhere + "/stranger:1", "Never"},
	} {
		c.Apply(t, pod(name, p[0], p[1]))
		waitPod(t, c, name)
	}
	n.AddStaticPod(t, "static.yaml", pod("static", static, ""))
	waitPod(t, c, "static-real")
	waitRunning(t, c, "default", "app=single", 2)
	n.Push(t, "team/moved:1", node.Image(t, b, "after"))

	l := listImages(t, "-A", "--kubeconfig", c.Kubeconfig, "--data", t.TempDir())
	if err := differ(l.rows(), []string{
		row("default", "Deployment/single", "container", "main", singleDigest, 2),
		row("default", "Pod/multi", "container", "main", indexDigest, 1),
		// What runs is what the tag pointed at when the node pulled it.
		row("default", "Pod/moved", "container", "main", movedDigest, 1),
		// For an imported image the runtime says the digest of its configuration. The registry knows the one, nobody the other.
		row("default", "Pod/known", "container", "main", knownDigest, 1),
		row("default", "Pod/stranger", "container", "main", configDigest(t, stranger), 1),
		row("default", "Pod/static-real", "container", "main", staticDigest, 1),
	}); err != nil {
		t.Error(err)
	}
	checkAnswers(t, l)

	manifest, err := multi.Digest()
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(l.Images, func(i image) bool { return i.Digest != nil && *i.Digest == indexDigest })
	if at < 0 {
		t.Fatal("the index is not in the list")
	}
	platforms := l.Images[at].Platforms
	if len(platforms) != 1 || platforms[0].Platform != "linux/"+runtime.GOARCH || platforms[0].Manifest != manifest.String() || platforms[0].Pods != 1 {
		t.Errorf("platforms of the index = %+v, want the one that runs, with manifest %s and 1 pod", platforms, manifest)
	}
}

func configDigest(t *testing.T, image v1.Image) string {
	t.Helper()
	digest, err := image.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}
