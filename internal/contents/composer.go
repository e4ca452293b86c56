// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// isComposer recognises the two files in which PHP's composer keeps packages:
// what is installed, and what was asked for.
func isComposer(p string, _ fs.FileInfo) bool {
	base := path.Base(p)
	return base == "composer.lock" || base == "installed.json" && path.Base(path.Dir(p)) == "composer"
}

// composerPackage is what both files say of a package.
type composerPackage struct {
	Name    string   `json:"name"`
	Version string   `json:"version"`
	License licenses `json:"license"`
}

// licenses is a list of strings or a single one; anything else is none.
type licenses []string

// UnmarshalJSON never fails on JSON: a licence is not worth a package.
func (l *licenses) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*l = licenses{one}
		return nil
	}
	var many []string
	if json.Unmarshal(b, &many) == nil {
		*l = many
	}
	return nil
}

// extractComposer reads both files: an object with "packages" (and, in a lock
// file, "packages-dev"), or the bare list of composer 1. Development packages of
// a lock file are left out: whether they were installed, the other file says.
func extractComposer(_ context.Context, in input) ([]Package, error) {
	var file struct {
		Packages []composerPackage `json:"packages"`
	}
	b := make([]byte, in.body.Size())
	if _, err := in.body.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("reading composer's packages: %w", err)
	}
	if err := json.Unmarshal(b, &file); err != nil {
		if json.Unmarshal(b, &file.Packages) != nil {
			return nil, fmt.Errorf("reading composer's packages: %w", err)
		}
	}
	var out []Package
	for _, p := range file.Packages {
		if name := printable(p.Name); name != "" {
			out = append(out, Package{
				Type:    "composer",
				Name:    name,
				Version: strings.TrimPrefix(printable(p.Version), "v"),
				License: printable(strings.Join(p.License, " OR ")),
			})
		}
	}
	return out, nil
}
