// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/client"
	"dossier.dev/dossier/internal/render"
	"dossier.dev/dossier/internal/translog"
)

// monitorFlags are those of log monitor.
type monitorFlags struct {
	key   string
	state string
	every time.Duration
	once  bool
}

// maxState is how large the file of a monitor may be.
const maxState = 1 << 20 // bytes

// monitorState is what a monitor keeps.
type monitorState struct {
	Key         string   `json:"key"`
	Checkpoints []string `json:"checkpoints"` // signed notes: the first, and the newest
}

func (p *program) monitor(ctx context.Context, url string, flags monitorFlags) error {
	log, err := translog.ParseLog(flags.key)
	if err != nil {
		return usageError{err}
	}
	c, err := client.New(url, client.Options{Token: p.global.token})
	if err != nil {
		return usageError{err}
	}
	state, err := readState(flags)
	if err != nil {
		return err
	}
	var before []translog.Checkpoint
	for _, signed := range state.Checkpoints {
		known, err := translog.OpenCheckpoint([]byte(signed), log)
		if err != nil {
			return fmt.Errorf("%s: %w", flags.state, err)
		}
		before = append(before, known)
	}
	m := translog.Monitor{Log: log, Fetch: func(ctx context.Context, path string) ([]byte, error) {
		b, err := c.Log(ctx, path)
		if err != nil { // whatever it is, it is no proof that the log lies
			err = &dossier.Error{Kind: dossier.KindUnavailable, Op: "reading the log", Subject: path, Err: err, Hint: dossier.HintOf(err)}
		}
		return b, err
	}}
	for {
		f, err := m.Follow(ctx, before...)
		switch kind := dossier.KindOf(err); {
		case kind == dossier.KindCorrupt || kind == dossier.KindDenied:
			_, err = fmt.Fprintf(p.stdout, "the log lies: %s\n%s", render.Clean(err.Error()), f.Signed)
			return errors.Join(err, errFound)
		case err != nil && (flags.once || ctx.Err() != nil):
			return err
		case err != nil:
			p.note("%s", render.Clean(err.Error()))
		case f.New > 0:
			if _, err := fmt.Fprintf(p.stdout, "%d entries about %d digests, root %s: entries, map and signature agree\n", f.Checkpoint.Size, f.Subjects, f.Checkpoint.Root); err != nil {
				return err
			}
			if err := state.add(flags.state, string(f.Signed)); err != nil {
				return err
			}
		}
		if before = nil; flags.once {
			return nil
		}
		select {
		case <-time.After(flags.every):
		case <-ctx.Done():
			return nil
		}
	}
}

func readState(flags monitorFlags) (monitorState, error) {
	s := monitorState{Key: flags.key}
	if flags.state == "" {
		return s, nil
	}
	if _, err := os.Stat(flags.state); errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	b, err := readLimited(flags.state, maxState)
	if err != nil {
		return s, err
	}
	fail := func(err error) error {
		return &dossier.Error{Kind: dossier.KindInvalid, Op: "reading the state of the monitor", Subject: flags.state, Err: err, Hint: "choose another file with --state"}
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fail(err)
	}
	if s.Key != flags.key {
		return s, fail(errors.New("it is of the log " + s.Key))
	}
	return s, nil
}

// add keeps a checkpoint, in a file that is there whole or as it was before.
func (s *monitorState) add(path, signed string) error {
	if len(s.Checkpoints) > 1 {
		s.Checkpoints = s.Checkpoints[:1]
	}
	s.Checkpoints = append(s.Checkpoints, signed)
	if path == "" {
		return nil
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = os.WriteFile(path+".new", append(b, '\n'), 0o644)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return &dossier.Error{Kind: dossier.KindStorage, Op: "keeping the state of the monitor", Subject: path, Err: err, Hint: "choose another file with --state"}
	}
	return nil
}
