// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// TestUpstreams joins what a process knows of its upstreams with what is kept.
func TestUpstreams(t *testing.T) {
	db := openStore(t)
	err := db.Update(t.Context(), func(tx store.Tx) error {
		for _, upstream := range []string{"docker.io", "old.example:5000"} {
			path := upstream[:3] + "/app"
			if err := tx.PutMirror(t.Context(), store.Repository{Path: path, Name: path, Upstream: upstream, CreatedAt: noon}); err != nil {
				return err
			}
			d := dossier.FromBytes([]byte(upstream))
			if _, err := tx.PutBlob(t.Context(), store.Blob{Digest: d, Key: "key of " + upstream, Size: 7}); err != nil {
				return err
			}
			if err := tx.LinkBlob(t.Context(), path, d, noon, noon); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	known := []dossier.Upstream{{Name: "docker.io", State: dossier.UpstreamOK, Requests: 3}, {Name: "quay.io", State: dossier.UpstreamUnknown}}
	_, url := start(t, Config{Store: db, Upstreams: func() []dossier.Upstream { return append([]dossier.Upstream(nil), known...) }})
	want := dossier.UpstreamList{AsOf: noon, Upstreams: []dossier.Upstream{
		{Name: "docker.io", State: dossier.UpstreamOK, Requests: 3, Repositories: 1, Blobs: 1, Bytes: 7},
		{Name: "old.example:5000", Prefix: "old.example_5000", State: dossier.UpstreamRemoved, Repositories: 1, Blobs: 1, Bytes: 7},
		{Name: "quay.io", State: dossier.UpstreamUnknown},
	}}
	if diff := cmp.Diff(want, decode[dossier.UpstreamList](t, url+"/api/v1/upstreams")); diff != "" {
		t.Errorf("upstreams (-want +got):\n%s", diff)
	}
	_, none := start(t, Config{Store: openStore(t)})
	if got := decode[dossier.UpstreamList](t, none+"/api/v1/upstreams"); got.Upstreams == nil || len(got.Upstreams) != 0 {
		t.Errorf("without upstreams: %+v", got)
	}
}
