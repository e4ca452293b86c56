// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"path"

	"dossier.dev/dossier"
)

// ParseLink lets tests read a link.
func ParseLink(b []byte) (dossier.Digest, error) { return parseLink(b) }

// ParseIndex lets tests read an index: it returns where the manifests would lie.
func ParseIndex(b []byte) ([]string, error) {
	entries, err := parseIndex(b)
	var paths []string
	for _, e := range entries {
		paths = append(paths, path.Join(blobsDir, e.Digest.Algorithm(), e.Digest.Hex()))
	}
	return paths, err
}
