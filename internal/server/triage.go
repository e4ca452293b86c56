// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/answer"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/store"
)

// triageEvery is how often files of what does not count are looked at.
const triageEvery = 10 * time.Second

// maxTriageFiles bounds the files of one directory.
const maxTriageFiles = 10_000

// triage keeps what the configuration says of findings.
type triage struct {
	config config.Triage
	engine *Engine
	every  time.Duration // between two looks at the files
	seen   string        // names, sizes and times of the files that were read
}

func (c ServeConfig) validateTriage(fault func(subject, why, hint string)) {
	if a := c.Triage.Attached; a != "" && !slices.Contains([]answer.Attached{answer.AttachedNone, answer.AttachedLimited, answer.AttachedAll}, answer.Attached(a)) {
		fault("triage.attached", fmt.Sprintf("%q is no way", a), "write none, limited or all")
	}
}

// openTriage reads what the configuration says of findings, and lets the engine
// answer by it.
func openTriage(c ServeConfig, e *Engine) (*triage, error) {
	t := &triage{config: c.Triage, engine: e, every: cmp.Or(c.TriageEvery, triageEvery)}
	e.Triage = &answer.Triage{Attached: answer.Attached(c.Triage.Attached)}
	_, err := t.read()
	return t, err
}

// files returns the files there are, and what tells them from others.
func (t *triage) files() (documents, ignores []string, seen string, err error) {
	var all strings.Builder
	list := func(paths []string, extensions ...string) ([]string, error) {
		var out []string
		for _, path := range paths {
			info, err := os.Stat(path)
			if err != nil {
				return nil, &dossier.Error{Kind: dossier.KindNotFound, Op: "reading", Subject: path, Err: err}
			}
			if !info.IsDir() {
				out = append(out, path)
				continue
			}
			entries, err := os.ReadDir(path)
			if err != nil {
				return nil, &dossier.Error{Kind: dossier.KindStorage, Op: "reading", Subject: path, Err: err}
			}
			if len(entries) > maxTriageFiles {
				return nil, dossier.Errorf(dossier.KindLimit, "reading", path, fmt.Sprintf("it has more than %d files", maxTriageFiles))
			}
			for _, e := range entries {
				if !e.IsDir() && slices.Contains(extensions, filepath.Ext(e.Name())) && !strings.HasPrefix(e.Name(), ".") {
					out = append(out, filepath.Join(path, e.Name()))
				}
			}
		}
		for _, path := range out {
			info, err := os.Stat(path)
			if err != nil {
				return nil, &dossier.Error{Kind: dossier.KindNotFound, Op: "reading", Subject: path, Err: err}
			}
			fmt.Fprintln(&all, path, info.Size(), info.ModTime().UnixNano())
		}
		return out, nil
	}
	if documents, err = list(t.config.VEX, ".json"); err != nil {
		return nil, nil, "", err
	}
	ignores, err = list(t.config.Ignore, ".yaml", ".yml")
	return documents, ignores, all.String(), err
}

// read reads the files when they changed.
func (t *triage) read() (changed bool, err error) {
	documents, ignores, seen, err := t.files()
	if err != nil || seen == t.seen {
		return false, err
	}
	rules, err := ReadRules(documents, ignores)
	if err != nil {
		return false, err
	}
	for i := range rules.Documents {
		rules.Documents[i].Where = t.short(rules.Documents[i].Where)
	}
	for i := range rules.Ignores {
		rules.Ignores[i].File = t.short(rules.Ignores[i].File)
	}
	t.engine.Triage.Set(rules)
	t.seen = seen
	return true, nil
}

// short is how answers name a file: where it lies on this machine is nobody's
// business.
func (t *triage) short(path string) string { return filepath.Base(path) }

// run reads the files again as they change, until ctx ends. What cannot be read
// changes nothing: what was said before goes on to count.
func (t *triage) run(ctx context.Context) {
	ticker := time.NewTicker(t.every)
	defer ticker.Stop()
	said := ""
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		changed, err := t.read()
		switch {
		case err != nil && err.Error() != said:
			said = err.Error()
			t.engine.config.Logger.ErrorContext(ctx, "what does not count could not be read; what was read before goes on to count", "error", err)
		case err != nil:
		case changed:
			said = ""
			t.engine.config.Logger.InfoContext(ctx, "what does not count was read anew")
			if err := t.engine.store.Update(ctx, func(tx store.Tx) error { return t.engine.config.outbox().All(ctx, tx) }); err != nil && !errors.Is(err, context.Canceled) {
				t.engine.config.Logger.ErrorContext(ctx, "that cannot be told", "error", err)
			}
		}
	}
}
