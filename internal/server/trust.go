// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/form"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/trust"
)

// trustEvery is how often the trust policy and the files that it names are looked at.
const trustEvery = 10 * time.Second

// Limits of the files of a trust policy, in bytes.
const (
	maxTrust      = 1 << 20
	maxTrustNamed = 16 << 20
)

// ReadTrust reads a trust policy. Paths in it are relative to its directory.
func ReadTrust(name string) (*trust.Policy, error) {
	policy, _, err := readTrust(name)
	return policy, err
}

// readTrust returns also which files were read.
func readTrust(name string) (policy *trust.Policy, files []string, err error) {
	b, err := readLimited(name, maxTrust)
	if err != nil {
		return nil, nil, err
	}
	named := &trustFiles{dir: filepath.Dir(name), read: []string{name}}
	policy, err = trust.ParsePolicy(b, named)
	files = named.read
	if err != nil {
		return nil, files, form.In(name, err)
	}
	return policy, files, nil
}

// trustFiles reads what a policy names, and notes it.
type trustFiles struct {
	dir  string
	read []string // files and directories
}

func (f *trustFiles) note(path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(f.dir, path)
	}
	f.read = append(f.read, path)
	return path
}

// ReadFile implements trust.Files.
func (f *trustFiles) ReadFile(path string) ([]byte, error) {
	return readLimited(f.note(path), maxTrustNamed)
}

// ReadDir implements trust.Files.
func (f *trustFiles) ReadDir(path string) ([]fs.DirEntry, error) {
	path = f.note(path)
	entries, err := os.ReadDir(path)
	if err == nil {
		return entries, nil
	}
	e := &dossier.Error{Kind: dossier.KindInternal, Op: "reading directory", Subject: path, Err: err}
	if errors.Is(err, os.ErrNotExist) {
		e.Kind, e.Err, e.Hint = dossier.KindNotFound, os.ErrNotExist, "check the path"
	}
	return nil, e
}

// openTrust reads a policy, or nil when none is named.
func openTrust(name string) (*trust.Policy, error) {
	if name == "" {
		return nil, nil
	}
	return ReadTrust(name)
}

// readLimited reads a file that is not larger than a limit.
func readLimited(name string, limit int64) ([]byte, error) {
	const op = "reading file"
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, &dossier.Error{Kind: dossier.KindNotFound, Op: op, Subject: name, Err: os.ErrNotExist, Hint: "check the path"}
	}
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInternal, Op: op, Subject: name, Err: err}
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInternal, Op: op, Subject: name, Err: err}
	}
	if int64(len(b)) > limit {
		return nil, dossier.Errorf(dossier.KindLimit, op, name, fmt.Sprintf("it has more than %d bytes", limit))
	}
	return b, nil
}

// trustWatch keeps the policy that the engine judges by as the files say.
type trustWatch struct {
	engine *Engine
	name   string
	every  time.Duration
	files  []string
	seen   string // sizes and times of the files when they were read; empty: read them again
	failed string // the error of the last time, which is not told again
}

func newTrustWatch(e *Engine, every time.Duration) *trustWatch {
	w := &trustWatch{engine: e, name: e.config.TrustFile, every: every, files: []string{e.config.TrustFile}}
	if every <= 0 {
		w.every = trustEvery
	}
	return w
}

// state tells the files from what they are at another time, and whether that can be relied
// on: file systems count time in steps.
func (w *trustWatch) state() (state string, quiet bool) {
	var all strings.Builder
	quiet = true
	for _, path := range w.files {
		info, err := os.Stat(path)
		if err != nil {
			fmt.Fprintln(&all, path, err)
			continue
		}
		fmt.Fprintln(&all, path, info.Size(), info.ModTime().UnixNano())
		quiet = quiet && time.Since(info.ModTime()) > settled
	}
	return all.String(), quiet
}

// read reads the policy when files changed, and reports what is different by it. What is
// written while it reads, it reads the next time.
func (w *trustWatch) read() (changes []string, err error) {
	state, quiet := w.state()
	if state == w.seen {
		return nil, nil
	}
	policy, files, err := readTrust(w.name)
	same := slices.Equal(files, w.files)
	if len(files) > 0 {
		w.files = files
	}
	w.seen = ""
	if quiet && same {
		w.seen = state
	}
	if err != nil {
		if err.Error() == w.failed {
			return nil, nil
		}
		w.failed = err.Error()
		return nil, err
	}
	w.failed = ""
	before, _, _ := w.engine.Trusted.Policy()
	if before.Digest == policy.Digest {
		return nil, nil
	}
	w.engine.Trusted.Set(policy, w.engine.config.Now())
	return trust.AllChanges(before, policy), nil
}

// run reads the policy again as it changes, until ctx ends. All that is judged by it is
// judged anew when it is next asked for, and those who watch or are told are told. What
// cannot be read changes nothing: the policy that was read before goes on to count.
func (w *trustWatch) run(ctx context.Context) {
	ticker := time.NewTicker(w.every)
	defer ticker.Stop()
	for {
		changes, err := w.read()
		switch {
		case err != nil:
			w.engine.config.Logger.ErrorContext(ctx, "the trust policy could not be read; the one that was read before goes on to count", "error", err)
		case len(changes) > 0:
			policy, _, _ := w.engine.Trusted.Policy()
			w.engine.config.Logger.InfoContext(ctx, "the trust policy changed: what depends on it is judged again", "policy", policy.Digest, "changes", changes)
			w.engine.changed.raise()
			if err := w.engine.store.Update(ctx, func(tx store.Tx) error { return w.engine.config.outbox().All(ctx, tx) }); err != nil && !errors.Is(err, context.Canceled) {
				w.engine.config.Logger.ErrorContext(ctx, "that cannot be told", "error", err)
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
