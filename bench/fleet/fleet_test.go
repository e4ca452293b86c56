// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package fleet_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/bench/fleet"
	"dossier.dev/dossier/internal/server"
)

// TestRegistry reads an image with Dossier itself, and looks at the counts.
func TestRegistry(t *testing.T) {
	images, err := fleet.NewImages(3)
	if err != nil {
		t.Fatal(err)
	}
	again, err := fleet.NewImages(3)
	if err != nil {
		t.Fatal(err)
	}
	if images.List[2].Index != again.List[2].Index {
		t.Error("a second run has other digests")
	}
	s := httptest.NewServer(&fleet.Registry{Images: images})
	defer s.Close()
	engine, err := server.Open(t.Context(), server.Config{Data: filepath.Join(t.TempDir(), "data")})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	image := images.List[1]
	ref := strings.TrimPrefix(s.URL, "http://") + "/" + image.Repository + ":" + image.Tag
	if stale, err := engine.Refresh(t.Context(), ref); err != nil || stale != nil {
		t.Fatal(err, stale)
	}
	got, err := engine.Dossier(t.Context(), ref, dossier.Times{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest != image.Index || len(got.Platforms) != 2 || got.Answers.Origin.Status == dossier.StatusUnknown {
		t.Errorf("read %s with %d platforms, origin %s: %s", got.Digest, len(got.Platforms), got.Answers.Origin.Status, got.Answers.Origin.Summary)
	}
	counts := countsOf(t, s.URL)
	if counts.Tags != 1 || counts.Digests != 3 || counts.Blobs < 2 || counts.Missing != 0 {
		t.Errorf("the registry was asked for %+v", counts)
	}
	resp, err := http.Get(s.URL + "/v2/other/manifests/latest")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if after := countsOf(t, s.URL).Sub(counts); resp.StatusCode != http.StatusNotFound || after.Missing != 1 || after.Requests != 1 {
		t.Errorf("an unknown tag: %s, %+v", resp.Status, after)
	}
}

func countsOf(t *testing.T, url string) fleet.Counts {
	t.Helper()
	resp, err := http.Get(url + fleet.CountsPath)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var c fleet.Counts
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	return c
}
