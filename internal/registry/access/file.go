// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"dossier.dev/dossier"
)

// checkEvery is how often a file is looked at for a change, while it is used.
const checkEvery = time.Second

// settled is how old a change must be before times alone say that there was no
// other: file systems keep them with a coarse grain.
const settled = 2 * time.Second

// File is the value that a file holds, read again when the file changes. When
// the file is gone or faulty, the last value that was good stays, and a warning
// says so.
type File[T any] struct {
	path  string
	limit int64
	parse func([]byte) (T, error)
	log   *slog.Logger
	now   func() time.Time

	mu      sync.Mutex
	value   T
	info    fs.FileInfo // of what was read last, good or not
	readAt  time.Time
	checked time.Time
	fault   error // of the last read
}

// OpenFile reads the file, of at most limit bytes, for the first time, when it must be
// good. The logger and the clock may be nil. Errors: that of parse; KindNotFound,
// KindStorage, KindLimit.
func OpenFile[T any](path string, limit int64, parse func([]byte) (T, error), log *slog.Logger, now func() time.Time) (*File[T], error) {
	w := &File[T]{path: path, limit: limit, parse: parse, log: orDiscard(log), now: orNow(now)}
	w.checked = w.now()
	if w.read(); w.fault != nil {
		return nil, w.fault
	}
	return w, nil
}

func orDiscard(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}

func orNow(now func() time.Time) func() time.Time {
	if now == nil {
		return time.Now
	}
	return now
}

// Get returns the value as of at most checkEvery ago.
func (w *File[T]) Get(ctx context.Context) T {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	if since := now.Sub(w.checked); since >= 0 && since < checkEvery {
		return w.value
	}
	w.checked = now
	if !w.changed() {
		return w.value
	}
	before := w.fault
	if w.read(); w.fault != nil && (before == nil || before.Error() != w.fault.Error()) {
		w.log.WarnContext(ctx, "a file cannot be read again; what it said before still holds", "file", w.path, "error", w.fault)
	} else if w.fault == nil {
		w.log.InfoContext(ctx, "a file was read again", "file", w.path)
	}
	return w.value
}

// changed reports whether the file may hold something else than was read.
func (w *File[T]) changed() bool {
	info, err := os.Stat(w.path)
	if err != nil || w.info == nil {
		return true
	}
	same := os.SameFile(info, w.info) && info.ModTime().Equal(w.info.ModTime()) && info.Size() == w.info.Size()
	return !same || w.readAt.Sub(info.ModTime()) < settled
}

func (w *File[T]) read() {
	w.readAt = w.now()
	info, err := os.Stat(w.path)
	w.info = info
	var text []byte
	if err == nil {
		text, err = readFile(w.path, w.limit)
	}
	if err != nil {
		w.info = nil
		w.fault = fileError(w.path, err)
		return
	}
	value, err := w.parse(text)
	if w.fault = err; err != nil {
		w.fault = fmt.Errorf("%s: %w", w.path, err)
		return
	}
	w.value = value
}

// Problem is what was wrong with the file when it was last read, or nil.
func (w *File[T]) Problem() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fault
}

// readFile reads a whole file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fileError(path, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fileError(path, err)
	}
	if int64(len(text)) > limit {
		return nil, dossier.Errorf(dossier.KindLimit, "reading", path, fmt.Sprintf("the file has more than %d bytes", limit))
	}
	return text, nil
}

func fileError(path string, err error) error {
	if ours, ok := errors.AsType[*dossier.Error](err); ok {
		return ours
	}
	kind := dossier.KindStorage
	if errors.Is(err, fs.ErrNotExist) {
		kind = dossier.KindNotFound
	}
	return &dossier.Error{Kind: kind, Op: "reading", Subject: path, Err: err, Hint: "check the path, and that the file may be read"}
}

// RulesFile are rules that are read again when their file changes.
type RulesFile struct{ file *File[*Rules] }

// OpenRulesFile reads rules. The logger and the clock may be nil. Errors: those
// of ParseRules; KindNotFound, KindStorage.
func OpenRulesFile(path string, log *slog.Logger, now func() time.Time) (*RulesFile, error) {
	file, err := OpenFile(path, MaxRulesBytes, ParseRules, log, now)
	if err != nil {
		return nil, err
	}
	return &RulesFile{file}, nil
}

// Rules returns the rules as the file had them at most a second ago, or as they
// were when it was last without faults.
func (f *RulesFile) Rules(ctx context.Context) *Rules { return f.file.Get(ctx) }

// Problem is what is wrong with the file, when Rules are no longer what it says.
func (f *RulesFile) Problem() error { return f.file.Problem() }
