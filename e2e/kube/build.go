// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// version is the release that go.mod pins: a build from modules has no other way to know it.
const version = "v1.37.2"

// Binaries are the paths of the programs that clusters and nodes are made of.
type Binaries struct {
	Hyperkube string // etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kubectl: the first argument picks
	Kwok      string
	Pause     string // the program in sample images, statically linked
}

// sources are the files that the binaries follow from; a change of one of them makes a new cache directory.
var sources = []string{"go.mod", "go.sum", "cmd/hyperkube/main.go", "cmd/pause/main.go"}

// CacheDir returns the directory that outlives test runs, for everything that the end-to-end tests build.
func CacheDir() (string, error) {
	dir := os.Getenv("DOSSIER_CACHE")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(user, "dossier")
	}
	return filepath.Abs(filepath.Join(dir, "e2e"))
}

// Build returns the programs, built when the cache doesn't hold them yet: about seven minutes on two cores with nothing
// cached, milliseconds afterwards. Processes that build at the same time wait for each other. It fails when the module's
// own directory can't be found, when a build fails, and when ctx ends.
func Build(ctx context.Context, log *slog.Logger) (Binaries, error) {
	root, err := moduleDir()
	if err != nil {
		return Binaries{}, fmt.Errorf("build Kubernetes: %w", err)
	}
	cache, err := CacheDir()
	if err != nil {
		return Binaries{}, fmt.Errorf("build Kubernetes: %w", err)
	}
	sum, err := hash(root)
	if err != nil {
		return Binaries{}, fmt.Errorf("build Kubernetes: %w", err)
	}
	dir := filepath.Join(cache, sum)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Binaries{}, fmt.Errorf("build Kubernetes: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(cache, "lock"))
	if err != nil {
		return Binaries{}, fmt.Errorf("build Kubernetes: %w", err)
	}
	defer unlock()
	b := Binaries{
		Hyperkube: filepath.Join(dir, "hyperkube"),
		Kwok:      filepath.Join(dir, "kwok"),
		Pause:     filepath.Join(dir, "pause"),
	}
	for _, target := range []struct{ file, pkg string }{
		{b.Pause, "./cmd/pause"},
		{b.Hyperkube, "./cmd/hyperkube"},
		{b.Kwok, "sigs.k8s.io/kwok/cmd/kwok"},
	} {
		if err := goBuild(ctx, log, root, target.pkg, target.file); err != nil {
			return Binaries{}, err
		}
	}
	now := time.Now()
	if err := os.Chtimes(dir, now, now); err != nil {
		return Binaries{}, fmt.Errorf("build Kubernetes: %w", err)
	}
	prune(cache, log)
	return b, nil
}

// goBuild builds one package of the module into file, unless the file is there. The file appears whole or not at all.
func goBuild(ctx context.Context, log *slog.Logger, root, pkg, file string) error {
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	log.Info("building, which takes minutes when nothing is cached", "package", pkg)
	start := time.Now()
	flags := []string{"-s", "-w"}
	for _, p := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		flags = append(flags, "-X", p+".gitVersion="+version, "-X", p+".gitMajor=1", "-X", p+".gitMinor=37")
	}
	part := file + ".part"
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-ldflags", strings.Join(flags, " "), "-o", part, pkg)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	if err := os.Rename(part, file); err != nil {
		return fmt.Errorf("build %s: %w", pkg, err)
	}
	log.Info("built", "package", pkg, "seconds", int(time.Since(start).Seconds()))
	return nil
}

// moduleDir finds the directory of the e2e module from the test's working directory upwards.
func moduleDir() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, sources[2])); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no %s in %s or above it: run the tests from the e2e module", sources[2], start)
		}
	}
}

// hash names the state of the sources and the toolchain.
func hash(root string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH, version)
	for _, name := range sources {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n%s", name, len(b), b)
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8]), nil
}

// lock waits until no other process holds the lock file.
func lock(ctx context.Context, file string) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", file, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", file, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// prune removes builds that no test has used for a week: each is some 200 MB. The caller holds the lock.
func prune(cache string, log *slog.Logger) {
	entries, err := os.ReadDir(cache)
	if err != nil {
		return // nothing to remove
	}
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) || !e.IsDir() || time.Since(info.ModTime()) < 7*24*time.Hour {
			continue
		}
		if err := os.RemoveAll(filepath.Join(cache, e.Name())); err != nil {
			log.Warn("old build not removed", "error", err)
		}
	}
}
