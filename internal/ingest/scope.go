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
// it lies in the scope, and its namespace, or its file, could be read.
func covers(s cluster.Snapshot, p dossier.Place) bool {
	if len(s.Scope.Namespaces) > 0 && !slices.Contains(s.Scope.Namespaces, p.Namespace) {
		return false
	}
	for _, problem := range s.Problems {
		if problem.Where == "" || problem.Where == p.Namespace || p.Source != "" && fileOf(problem.Where) == fileOf(p.Source) {
			return false
		}
	}
	if s.Scope.Selector == "" {
		return true
	}
	match, err := cluster.MatchLabels(s.Scope.Selector, p.Labels)
	return err == nil && match
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
