// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package disk keeps blobs as files of one directory.
//
// Finished blobs lie in blobs/KE/KEY, where KE are the first two characters of
// the key; those under way in uploads/KEY, from where Commit renames them. It
// promises that nothing outside the directory is touched, whatever links lie in
// it, that no file is readable by other users, and that a crash at any point
// leaves either a whole blob or an upload that Prune removes.
//
// Several processes on one machine may use a directory at a time. It does not
// suit file systems that are shared by machines.
package disk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
	"dossier.dev/dossier/internal/durable"
)

// The directories, and how many characters of a key name a shard.
const (
	blobsDir   = "blobs"
	uploadsDir = "uploads"
	shardSize  = 2
)

// Config says where the files lie.
type Config struct {
	Dir string // made with mode 0700 when it is not there
	// Boot names the run of the machine, another after each start. "": the
	// system is asked, and when it does not say, Suspend waits for the disk.
	Boot string
}

// Store keeps blobs in a directory. It implements [blob.Store].
type Store struct {
	root *os.Root
	boot string // Config.Boot; "": not known
	// buffers are what Append reads into, *[bufferSize]byte: made anew for each small
	// blob they would be most of the garbage of a push.
	buffers sync.Pool

	mu   sync.Mutex
	made map[string]bool // directories that this process knows to be durable
}

var _ blob.Store = (*Store)(nil)

// Open opens a directory of blobs. KindStorage: it cannot be made or written.
func Open(c Config) (*Store, error) {
	const op = "opening blobs"
	if c.Dir == "" {
		return nil, dossier.Errorf(dossier.KindInvalid, op, "", "no directory is given")
	}
	if err := durable.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fault(op, c.Dir, err)
	}
	root, err := os.OpenRoot(c.Dir)
	if err != nil {
		return nil, fault(op, c.Dir, err)
	}
	s := &Store{root: root, boot: cmp.Or(c.Boot, bootID()), made: map[string]bool{}}
	for _, dir := range []string{blobsDir, uploadsDir} {
		if err := s.makeDir(dir); err != nil {
			return nil, errors.Join(fault(op, c.Dir, err), root.Close())
		}
	}
	if err := s.makeShards(); err != nil {
		return nil, errors.Join(fault(op, c.Dir, err), root.Close())
	}
	return s, nil
}

// makeShards makes the directories for keys of blob.NewKey all at once, so that
// no upload waits until the name of one is durable.
func (s *Store) makeShards() error {
	var names []string
	for i := range 256 {
		name := path.Join(blobsDir, fmt.Sprintf("%02x", i))
		if err := s.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		names = append(names, name)
	}
	if err := s.syncDir(blobsDir); err != nil {
		return err
	}
	for _, name := range names {
		s.made[name] = true
	}
	return nil
}

// bootID returns what Linux calls this run of the machine (random(4)), or "".
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// Close releases the directory. Writers and readers end by themselves.
func (s *Store) Close() error {
	if err := s.root.Close(); err != nil {
		return fault("closing blobs", "", err)
	}
	return nil
}

// Ready returns nil while the directory is there. KindStorage.
func (s *Store) Ready(ctx context.Context) error {
	const op = "looking at the blobs"
	if err := ctx.Err(); err != nil {
		return fault(op, "", err)
	}
	for _, dir := range []string{blobsDir, uploadsDir} {
		if _, err := s.root.Stat(dir); err != nil {
			return fault(op, dir, err)
		}
	}
	return nil
}

// place returns where the finished blob of a key lies.
func place(key string) string { return path.Join(blobsDir, key[:shardSize], key) }

// upload returns where the blob of a key lies while it is written.
func upload(key string) string { return path.Join(uploadsDir, key) }

// begin checks what every method must.
func begin(ctx context.Context, op, key string) error {
	if err := ctx.Err(); err != nil {
		return fault(op, key, err)
	}
	return blob.CheckKey(key)
}

// Open implements [blob.Store].
func (s *Store) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	const op = "reading blob"
	if err := begin(ctx, op, key); err != nil {
		return nil, err
	}
	f, err := s.root.Open(place(key))
	if err != nil {
		return nil, fault(op, key, err)
	}
	info, err := f.Stat()
	if err == nil && (offset < 0 || offset > info.Size()) {
		err = &dossier.Error{Kind: dossier.KindInvalid, Op: op, Subject: key, Err: errors.New("the offset lies outside")}
	}
	if err == nil {
		_, err = f.Seek(offset, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fault(op, key, err), f.Close())
	}
	if length < 0 {
		return f, nil
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(f, length), f}, nil
}

// Stat implements [blob.Store].
func (s *Store) Stat(ctx context.Context, key string) (blob.Info, error) {
	const op = "finding blob"
	if err := begin(ctx, op, key); err != nil {
		return blob.Info{}, err
	}
	info, err := s.root.Stat(place(key))
	if err != nil {
		return blob.Info{}, fault(op, key, err)
	}
	return blob.Info{Key: key, Size: info.Size(), Time: info.ModTime().UTC()}, nil
}

// Delete implements [blob.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	const op = "deleting blob"
	if err := begin(ctx, op, key); err != nil {
		return err
	}
	if err := s.root.Remove(place(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault(op, key, err)
	}
	return nil
}

// List implements [blob.Store]. It has the names of one shard in memory at a time.
func (s *Store) List(ctx context.Context, after string) iter.Seq2[blob.Info, error] {
	const op = "listing blobs"
	return func(yield func(blob.Info, error) bool) {
		shards, err := s.readDir(blobsDir)
		if err != nil {
			yield(blob.Info{}, fault(op, "", err))
			return
		}
		for _, shard := range shards {
			if shard.Name() < after[:min(shardSize, len(after))] {
				continue
			}
			files, err := s.readDir(path.Join(blobsDir, shard.Name()))
			if err != nil {
				yield(blob.Info{}, fault(op, shard.Name(), err))
				return
			}
			for _, f := range files {
				key := f.Name()
				if key <= after || blob.CheckKey(key) != nil {
					continue
				}
				info, err := s.Stat(ctx, key)
				if dossier.KindOf(err) == dossier.KindNotFound {
					continue // deleted meanwhile
				}
				if !yield(info, err) || err != nil {
					return
				}
			}
		}
	}
}

// Prune implements [blob.Store].
func (s *Store) Prune(ctx context.Context, since time.Time) (int, error) {
	const op = "removing old uploads"
	files, err := s.readDir(uploadsDir)
	if err != nil {
		return 0, fault(op, "", err)
	}
	removed := 0
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return removed, fault(op, "", err)
		}
		ok, err := s.prune(path.Join(uploadsDir, f.Name()), since)
		if err != nil {
			return removed, fault(op, f.Name(), err)
		}
		if ok {
			removed++
		}
	}
	return removed, nil
}

// prune removes a file that is old and that nobody writes.
func (s *Store) prune(name string, since time.Time) (removed bool, err error) {
	f, err := s.root.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close() // and with it the lock
	info, err := f.Stat()
	if err != nil || !info.ModTime().Before(since) {
		return false, err
	}
	if locked, err := lock(f); err != nil || !locked {
		return false, err
	}
	if same, err := s.isAt(f, name); err != nil || !same {
		return false, err // committed meanwhile
	}
	return true, s.root.Remove(name)
}

// isAt reports whether an open file is still the one of that name.
func (s *Store) isAt(f *os.File, name string) (bool, error) {
	mine, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := s.root.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(mine, there), err
}

// readDir returns the entries of a directory by name.
func (s *Store) readDir(name string) ([]fs.DirEntry, error) {
	dir, err := s.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

// makeDir makes a directory that outlasts a crash. One that is there may have
// been made a moment ago by another process, and not be durable yet.
func (s *Store) makeDir(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made[name] {
		return nil
	}
	if err := s.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := s.syncDir(path.Dir(name)); err != nil {
		return err
	}
	s.made[name] = true
	return nil
}

// syncDir makes the names in a directory durable.
func (s *Store) syncDir(name string) error {
	dir, err := s.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// fault makes a dossier.Error of what the file system returned. It leaves alone
// what is one already.
func fault(op, subject string, err error) error {
	if _, ok := errors.AsType[*dossier.Error](err); ok {
		return err
	}
	e := &dossier.Error{Kind: dossier.KindInternal, Op: op, Subject: subject, Err: err}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, fs.ErrClosed):
		e.Kind = dossier.KindUnavailable
	case errors.Is(err, fs.ErrNotExist):
		e.Kind = dossier.KindNotFound
	case errors.Is(err, fs.ErrExist):
		e.Kind = dossier.KindConflict
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e.Kind, e.Hint = dossier.KindStorage, "Free some space on the disk of the blobs."
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR):
		e.Kind, e.Hint = dossier.KindStorage, "Make the directory of the blobs writable, or choose another."
	case errors.Is(err, syscall.EIO):
		e.Kind, e.Hint = dossier.KindStorage, "Check the disk of the blobs: it may be failing."
	}
	return e
}
