// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSpecAgrees holds docs/spec/api.md to the tables of the code.
func TestSpecAgrees(t *testing.T) {
	b, err := os.ReadFile("../../docs/spec/api.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	first := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|(.*)$")
	var paths []string
	kinds := map[string]string{}
	for _, row := range first.FindAllStringSubmatch(text, -1) {
		path, _, _ := strings.Cut(row[1], "?")
		switch {
		case strings.HasPrefix(path, "/"):
			paths = append(paths, path)
		case strings.Contains(row[2], " 4") || strings.Contains(row[2], " 5"):
			kinds[path] = strings.TrimSpace(row[2])[:3]
		}
	}
	var want []string
	for _, rt := range routes() {
		want = append(want, documented(rt.path))
	}
	slices.Sort(want)
	slices.Sort(paths)
	if diff := cmp.Diff(want, slices.Compact(paths)); diff != "" {
		t.Errorf("paths (-served +documented):\n%s", diff)
	}
	statusOfKind := map[string]string{}
	for kind, status := range statuses {
		statusOfKind[string(kind)] = fmt.Sprint(status)
	}
	if diff := cmp.Diff(statusOfKind, kinds); diff != "" {
		t.Errorf("statuses (-served +documented):\n%s", diff)
	}
	for name, limit := range map[string]int{
		"facts of one page": MaxFacts, "watches at the same time": MaxWatches, "failing jobs listed": maxJobsFailing,
	} {
		if row := fmt.Sprintf("| %s | %d", name, limit); !strings.Contains(text, row) {
			t.Errorf("there is no %q", row)
		}
	}
}
