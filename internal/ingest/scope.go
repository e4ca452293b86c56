// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"slices"
	"strconv"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/cluster"
)

// covers reports whether a place would be in the snapshot if it still existed:
// it lies in the scope, whose selector match is, and its namespace, or its file,
// could be read.
func covers(s cluster.Snapshot, match func(labels string) bool, p dossier.Place) bool {
	if len(s.Scope.Namespaces) > 0 && !slices.Contains(s.Scope.Namespaces, p.Namespace) {
		return false
	}
	for _, problem := range s.Problems {
		if problem.Where == "" || problem.Where == p.Namespace || p.Source != "" && fileOf(problem.Where) == fileOf(p.Source) {
			return false
		}
	}
	return match(p.Labels)
}

// fileOf returns the file of "file:line".
func fileOf(source string) string {
	if i := strings.LastIndexByte(source, ':'); i >= 0 {
		if _, err := strconv.Atoi(source[i+1:]); err == nil {
			return source[:i]
		}
	}
	return source
}
