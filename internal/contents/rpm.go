// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"context"
	"io/fs"
	"path"
	"slices"
	"strings"

	"dossier.dev/dossier/internal/contents/rpmdb"

	"dossier.dev/dossier"
)

// rpmLog is the write-ahead log of an rpm database in SQLite.
const rpmLog = "rpmdb.sqlite-wal"

// inRPM reports whether a path is in a directory in which rpm keeps its database.
func inRPM(p string) bool {
	return slices.Contains([]string{"var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm"}, path.Dir(p))
}

// isRPM recognises rpm's databases.
func isRPM(p string, _ fs.FileInfo) bool {
	return inRPM(p) && slices.Contains([]string{"Packages", "Packages.db", "rpmdb.sqlite", rpmLog}, path.Base(p))
}

// extractRPM reads one, and notes in owners which files the packages brought.
// It stands in for osv-scalibr's extractor: what that one builds on can be made
// to end the process by a broken database.
func (r *reader) extractRPM(_ context.Context, in input) ([]Package, error) {
	if path.Base(in.path) == rpmLog {
		if in.info.Size() == 0 {
			return nil, nil
		}
		return nil, &missedError{dossier.MissedBroken, "the last changes of the rpm database are in it, and were not read"}
	}
	var out []Package
	for p, err := range rpmdb.Read(in.body, in.body.Size(), rpmdb.Limits{Packages: r.limits.Packages}) {
		if err != nil {
			return out, err
		}
		if p.Name == "gpg-pubkey" {
			continue // a key that rpm trusts
		}
		source, sourceVersion := splitSourceRPM(p.SourceRPM)
		out = append(out, Package{
			Type: "rpm", Name: printable(p.Name), Version: printable(p.Version + "-" + p.Release), Epoch: p.Epoch,
			Arch: printable(p.Arch), Source: source, SourceVersion: sourceVersion, Module: printable(p.Module),
			Vendor: printable(p.Vendor), License: printable(p.License),
		})
		for _, f := range p.Files {
			r.owners.add(f, printable(p.Name))
		}
	}
	return out, nil
}

// splitSourceRPM splits "name-version-release.src.rpm".
func splitSourceRPM(s string) (name, version string) {
	s = strings.TrimSuffix(printable(s), ".rpm")
	if i := strings.LastIndexByte(s, '.'); i >= 0 {
		s = s[:i] // the architecture: src or nosrc
	}
	i := strings.LastIndexByte(s, '-')
	if i < 0 {
		return s, ""
	}
	if i = strings.LastIndexByte(s[:i], '-'); i < 0 {
		return s, ""
	}
	return s[:i], s[i+1:]
}
