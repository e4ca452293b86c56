// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package durable makes directories, and the names in them, outlast a power cut.
//
// A directory is there for good only when the one that it lies in was synced: what
// is synced within it may be lost with it otherwise. The package does nothing about
// what lies in a directory; that is for who writes there.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// MkdirAll makes a directory and those that it lies in, as os.MkdirAll does, and
// returns when they are durable. One that was there may have been made a moment ago by
// another process: what it lies in is synced all the same, where that is allowed.
func MkdirAll(dir string, mode fs.FileMode) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	parent := filepath.Dir(dir)
	if parent == dir {
		return nil
	}
	if _, err := os.Stat(parent); errors.Is(err, fs.ErrNotExist) {
		if err := MkdirAll(parent, mode); err != nil {
			return err
		}
	}
	made := os.Mkdir(dir, mode)
	switch {
	case made == nil:
		return Sync(parent)
	case !errors.Is(made, fs.ErrExist):
		return made
	}
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
	}
	if err := Sync(parent); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

// Sync makes the names in a directory durable.
func Sync(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
