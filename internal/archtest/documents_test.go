// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

var (
	// pathWord finds words that begin with one of the top-level directories.
	pathWord = regexp.MustCompile(`(?:^|[\s` + "`" + `("'=>|])((?:\./)?(?:internal|cmd|client|docs|e2e|bench|deploy|testdata|changelog|ci|\.ci)/[\w./*-]*)`)
	// mdLink finds the targets of Markdown links.
	mdLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	// scheme begins a link that leads out of the repository.
	scheme = regexp.MustCompile(`^[a-z][a-z0-9+.-]*:`)
)

// checkPaths finds paths that the documents at the top name and that are not
// there, and links of any document that lead nowhere. NAME in a path stands for
// any word.
func checkPaths(r *repository) []string {
	var faults []string
	for _, name := range r.names() {
		if path.Ext(name) != ".md" {
			continue
		}
		if slices.Contains([]string{"ARCHITECTURE.md", "README.md", "CONTRIBUTING.md"}, name) {
			for _, word := range pathWord.FindAllStringSubmatchIndex(string(r.files[name]), -1) {
				named := string(r.files[name][word[2]:word[3]])
				named = strings.TrimRight(strings.TrimPrefix(strings.TrimSuffix(named, "..."), "./"), ".")
				if !r.exists(strings.ReplaceAll(named, "NAME", "*")) {
					faults = append(faults, fmt.Sprintf("%s:%d: names %s, which does not exist", name, lineAt(r.files[name], word[2]), named))
				}
			}
		}
		for _, link := range mdLink.FindAllSubmatchIndex(r.files[name], -1) {
			target, _, _ := strings.Cut(string(r.files[name][link[2]:link[3]]), "#")
			if target == "" || scheme.MatchString(target) {
				continue
			}
			if to := path.Join(path.Dir(name), target); !r.exists(to) {
				faults = append(faults, fmt.Sprintf("%s:%d: links to %s, which does not exist", name, lineAt(r.files[name], link[2]), to))
			}
		}
	}
	return faults
}

// lineAt returns the number of the line that holds a byte.
func lineAt(text []byte, offset int) int { return 1 + bytes.Count(text[:offset], []byte("\n")) }
