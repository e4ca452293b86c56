// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package demo_test

import (
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier/internal/cluster"
	"dossier.dev/dossier/internal/demo"
	"dossier.dev/dossier/internal/image"
)

// TestWorld reads the sample cluster as the product does, and every image in it.
func TestWorld(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	world, err := demo.New(t.Context(), []byte("#!/bin/sh\n"), now)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := world.Close(); err != nil {
			t.Error(err)
		}
	}()
	client := &image.Client{Dial: world.Dial, PlainHTTP: []string{demo.Registry}}
	const moving = demo.Registry + "/shop/worker:stable"
	before, err := client.Resolve(t.Context(), moving)
	if err != nil {
		t.Fatal(err)
	}
	if err := world.Advance(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after, err := client.Resolve(t.Context(), moving); err != nil || after.Digest == before.Digest {
		t.Errorf("%s is %s before and %s after a week, error %v; want it to move", moving, before.Digest, after.Digest, err)
	}
	manifests, err := world.Manifests()
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := cluster.ReadFiles(t.Context(), []string{cluster.Stdin}, strings.NewReader(string(manifests)), cluster.FileOptions{})
	if err != nil || len(snapshot.Problems) > 0 {
		t.Fatalf("reading the manifests: %v, problems %v", err, snapshot.Problems)
	}
	running := 0
	for _, p := range snapshot.Places {
		if p.Digest == "" {
			continue
		}
		running++
		if _, err := client.Read(t.Context(), p.ImageID, image.ReadOptions{}); err != nil {
			t.Errorf("what %s runs cannot be read: %v", p.Pod, err)
		}
		if p.Platform == "" {
			t.Errorf("the platform of the node of %s is not known", p.Pod)
		}
	}
	if running < 10 {
		t.Errorf("%d pods run, want at least 10", running)
	}
	if _, err := world.Dial(t.Context(), "tcp", "docker.io:443"); err == nil {
		t.Error("the demo reaches out of its world")
	}
}
