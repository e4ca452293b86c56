// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"runtime"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dossier.dev/dossier/e2e/kube"
)

// Image returns an image of linux and the machine's architecture, in OCI form, that runs until it is told to end. Images of
// different titles share no layer but the first, and images of the same title are equal.
func Image(t testing.TB, binaries kube.Binaries, title string) v1.Image {
	t.Helper()
	return ImageFor(t, binaries, title, runtime.GOARCH)
}

// ImageFor is Image for another architecture: the program in it is still the machine's own.
func ImageFor(t testing.TB, binaries kube.Binaries, title, architecture string) v1.Image {
	t.Helper()
	program, err := os.ReadFile(binaries.Pause)
	if err != nil {
		t.Fatal(err)
	}
	image := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	image = mutate.ConfigMediaType(image, types.OCIConfigJSON)
	image, err = mutate.AppendLayers(image, layer(t, "app", program), layer(t, "title", []byte(title)))
	if err != nil {
		t.Fatal(err)
	}
	image, err = mutate.ConfigFile(image, configFile(t, image, title, architecture))
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func configFile(t testing.TB, image v1.Image, title, architecture string) *v1.ConfigFile {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", architecture
	config.Created = v1.Time{Time: time.Unix(1700000000, 0).UTC()}
	config.Config.Entrypoint = []string{"/app"}
	config.Config.Labels = map[string]string{"org.opencontainers.image.title": title}
	return config
}

// Index returns an OCI index of images, each under the platform of its configuration.
func Index(t testing.TB, images ...v1.Image) v1.ImageIndex {
	t.Helper()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, image := range images {
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: config.Platform()}})
	}
	return index
}

// layer returns a compressed layer with one file, the same bytes each time.
func layer(t testing.TB, file string, content []byte) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	header := &tar.Header{Name: file, Mode: 0o755, Size: int64(len(content)), ModTime: time.Unix(1700000000, 0)}
	if err := w.WriteHeader(header); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	return l
}
