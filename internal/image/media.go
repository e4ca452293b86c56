// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"fmt"
	"mime"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/pattern"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of Docker's image manifest version 2, schema 2 and schema 1.
const (
	dockerManifest      = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList          = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig        = "application/vnd.docker.container.image.v1+json"
	dockerSchema1       = "application/vnd.docker.distribution.manifest.v1+json"
	dockerSchema1Signed = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

// acceptManifests is the Accept header of a request for a manifest.
var acceptManifests = strings.Join([]string{
	ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, dockerList, dockerManifest,
}, ", ")

// Descriptor says what bytes are and how to check them. A size or media type
// that is not known is zero.
type Descriptor struct {
	MediaType string
	Digest    dossier.Digest
	Size      int64
}

func isIndexType(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == dockerList
}

func isManifestType(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageManifest || mediaType == dockerManifest
}

func isConfigType(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageConfig || mediaType == dockerConfig
}

func isSchema1(mediaType string) bool {
	return mediaType == dockerSchema1 || mediaType == dockerSchema1Signed
}

// knownType returns the media type of a Content-Type header when it is one of a
// manifest or index, else "": registries also send application/json.
func knownType(contentType string) string {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil || !isIndexType(mediaType) && !isManifestType(mediaType) && !isSchema1(mediaType) {
		return ""
	}
	return mediaType
}

// unknownPlatform is what BuildKit writes where there is no platform.
const unknownPlatform = "unknown/unknown"

var platformPart = pattern.New(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// platformString returns "os/arch[/variant]", or "" when os or architecture is
// missing or no plain word.
func platformString(os, arch, variant string) string {
	if !platformPart.MatchString(os) || !platformPart.MatchString(arch) {
		return ""
	}
	s := os + "/" + arch
	if platformPart.MatchString(variant) {
		s += "/" + variant
	}
	return s
}

// quote quotes s for a message and cuts it when it is long.
func quote(s string) string {
	const limit = 200
	if len(s) > limit {
		return fmt.Sprintf("%q... (%d bytes)", s[:limit], len(s))
	}
	return fmt.Sprintf("%q", s)
}
