// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"strings"

	"dossier.dev/dossier"
)

// MaxImageID is how many bytes an image ID may have.
const MaxImageID = 4096

// ImageID is what a container runtime says of the image that it runs.
type ImageID struct {
	Name   string         // registry and repository, normalised; empty when the runtime gives none
	Tag    string         // only in a name without digest
	Digest dossier.Digest // empty while the image is being pulled, or when only a name is known
}

// Local reports whether there is a digest without a name: that of an image
// configuration, or the runtime's own ID for an image that no registry knows.
func (id ImageID) Local() bool { return id.Digest != "" && id.Name == "" }

// ParseImageID reads status.containerStatuses[].imageID in the form of every
// runtime:
//
//	REPOSITORY@sha256:HEX                    containerd, CRI-O
//	docker-pullable://REPOSITORY@sha256:HEX  dockershim
//	docker://sha256:HEX, sha256:HEX, HEX     an image without repository
//	NAME[:TAG]                               a runtime that knows no digest
//	(empty)                                  not pulled yet: the zero ImageID
//
// Errors are KindInvalid, or KindLimit for more than MaxImageID bytes.
func ParseImageID(s string) (ImageID, error) {
	if len(s) > MaxImageID {
		return ImageID{}, dossier.Errorf(dossier.KindLimit, "parsing image ID", bound(s, 100)+"...", "it is too long")
	}
	rest := s
	if _, after, ok := strings.Cut(s, "://"); ok {
		rest = after
	}
	if rest == "" {
		if s != "" {
			return ImageID{}, dossier.Errorf(dossier.KindInvalid, "parsing image ID", s, "nothing follows the scheme")
		}
		return ImageID{}, nil
	}
	if d, err := dossier.ParseDigest(dossier.SHA256 + ":" + rest); err == nil {
		return ImageID{Digest: d}, nil
	}
	if strings.HasPrefix(rest, dossier.SHA256+":") || strings.HasPrefix(rest, dossier.SHA512+":") {
		d, err := dossier.ParseDigest(rest)
		if err != nil {
			return ImageID{}, &dossier.Error{Kind: dossier.KindInvalid, Op: "parsing image ID", Err: err}
		}
		return ImageID{Digest: d}, nil
	}
	ref, err := dossier.ParseReference(rest)
	if err != nil {
		return ImageID{}, &dossier.Error{Kind: dossier.KindInvalid, Op: "parsing image ID", Err: err}
	}
	id := ImageID{Name: ref.Name(), Tag: ref.Tag, Digest: ref.Digest}
	if id.Digest != "" {
		id.Tag = ""
	}
	return id, nil
}
