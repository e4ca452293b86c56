// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"io"

	"dossier.dev/dossier"
)

// maxSettings is how many build settings of a Go program are kept.
const maxSettings = 200

// extractGo notes the build information of Go programs. Their modules are for
// osv-scalibr's extractor; of what the program itself is, that one tells too
// little.
func (r *reader) extractGo(_ context.Context, in input) ([]Package, error) {
	watched := &watchedReader{ReaderAt: in.body}
	info, err := buildinfo.Read(watched)
	if watched.err != nil {
		return nil, fmt.Errorf("reading Go build information: %w", watched.err)
	}
	if err != nil {
		return nil, nil // debug/buildinfo has no error of its own for "not Go"
	}
	g := dossier.GoBuild{
		GoVersion: printable(info.GoVersion),
		Main:      printable(info.Path),
		Module:    printable(info.Main.Path),
		Version:   printable(info.Main.Version),
		Deps:      len(info.Deps),
	}
	for _, s := range info.Settings[:min(len(info.Settings), maxSettings)] {
		if g.Settings == nil {
			g.Settings = map[string]string{}
		}
		g.Settings[printable(s.Key)] = printable(s.Value)
	}
	if r.files[in.path] == nil {
		r.files[in.path] = &File{Path: in.path}
	}
	r.files[in.path].Go = &g
	return nil, nil
}

// watchedReader remembers an error that is not the end of the file, so that a
// disk that fails is not taken for a program that is not Go.
type watchedReader struct {
	io.ReaderAt
	err error
}

func (r *watchedReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.ReaderAt.ReadAt(p, off)
	if err != nil && err != io.EOF && off >= 0 {
		r.err = err
	}
	return n, err
}
