// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"time"
)

var fuzzFunc = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)

// fuzzLane returns a lane with a step for each fuzz test of the main module.
func fuzzLane(root string, each time.Duration) (lane, error) {
	l := lane{name: "fuzz"}
	fsys := os.DirFS(root)
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return enter(fsys, name, d)
		}
		if !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		for _, match := range fuzzFunc.FindAllSubmatch(text, -1) {
			fuzz := string(match[1])
			l.steps = append(l.steps, step{
				name: path.Dir(name) + "." + fuzz,
				argv: []string{
					"go", "test", "-run=^$", "-fuzz=^" + fuzz + "$",
					"-fuzztime=" + each.String(), "./" + path.Dir(name),
				},
			})
		}
		return nil
	})
	if err != nil {
		return lane{}, fmt.Errorf("looking for fuzz tests: %w", err)
	}
	return l, nil
}

// enter returns fs.SkipDir for directories that hold no tests of the main module.
func enter(fsys fs.FS, name string, d fs.DirEntry) error {
	if name == "." {
		return nil
	}
	if strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" {
		return fs.SkipDir
	}
	if _, err := fs.Stat(fsys, path.Join(name, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}
