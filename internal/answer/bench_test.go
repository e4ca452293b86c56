// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/answer"
	"dossier.dev/dossier/internal/cluster"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/ingest"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/testimage"
)

// fleet is a store with n images in five pods each, all on a common base.
func fleet(b *testing.B, n int) (answer.Answerer, []dossier.Digest) {
	b.Helper()
	ctx := context.Background()
	db, err := sqlstore.Open(ctx, sqlstore.Config{Path: filepath.Join(b.TempDir(), "dossier.db")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	registry := testimage.NewRegistry(b, testimage.RegistryOptions{})
	g := ingest.New(ingest.Config{Store: db, Images: &image.Client{Limits: image.Limits{PerHost: 16}}})
	var places []dossier.Place
	var digests []dossier.Digest
	for i := range n {
		name := fmt.Sprintf("team%d/app%d", i%20, i)
		im := app("linux/amd64", fmt.Sprint(i))
		im.Labels["org.opencontainers.image.revision"] = fmt.Sprintf("%040x", i)
		for j := range 20 {
			im.Env = append(im.Env, fmt.Sprintf("SETTING_%d=value number %d of image %d", j, j, i))
		}
		c := testimage.MustPush(b, registry, name, "1.0", testimage.Of(im))
		digests = append(digests, c.Digest())
		for j := range 5 {
			places = append(places, dossier.Place{
				Workload: dossier.Workload{Namespace: fmt.Sprintf("ns%d", i%50), Kind: "Deployment", Name: fmt.Sprintf("app%d", i)},
				Pod:      fmt.Sprintf("app%d-%d", i, j), PodUID: fmt.Sprintf("uid-%d-%d", i, j),
				Container: "main", Type: dossier.Container, Platform: "linux/amd64",
				Requested: registry.Host + "/" + name + ":1.0", Digest: c.Digest(),
				ImageID: registry.Host + "/" + name + "@" + string(c.Digest()), PullPolicy: "IfNotPresent", Labels: "app=x",
			})
		}
	}
	begin := time.Now()
	if _, err := g.Apply(ctx, cluster.Snapshot{Cluster: dossier.Cluster{ID: "c", Name: "bench"}, Places: places}); err != nil {
		b.Fatal(err)
	}
	applied := time.Since(begin)
	if err := g.Drain(ctx, ingest.Kinds(), nil); err != nil {
		b.Fatal(err)
	}
	b.Logf("%d images: applied in %v, read in %v", n, applied, time.Since(begin)-applied)
	begin = time.Now()
	if _, err := g.Apply(ctx, cluster.Snapshot{Cluster: dossier.Cluster{ID: "c", Name: "bench"}, Places: places}); err != nil {
		b.Fatal(err)
	}
	b.Logf("applied again in %v", time.Since(begin))
	return answer.Answerer{Store: db}, digests
}

func BenchmarkImages(b *testing.B) {
	a, digests := fleet(b, 2000)
	b.ReportAllocs()
	for b.Loop() {
		list, err := a.Images(b.Context(), dossier.ImagesQuery{})
		if err != nil || len(list.Images) != len(digests) {
			b.Fatalf("%d images, %v", len(list.Images), err)
		}
	}
}

func BenchmarkDigest(b *testing.B) {
	a, digests := fleet(b, 2000)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := a.Digests(b.Context(), digests[i%len(digests):][:1], dossier.Times{}); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkWhere(b *testing.B) {
	a, digests := fleet(b, 2000)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		found, err := a.Where(b.Context(), fmt.Sprintf("%040x", i%len(digests)), 100)
		if err != nil || len(found.Found) != 1 {
			b.Fatalf("%d found, %v", len(found.Found), err)
		}
		i++
	}
}
