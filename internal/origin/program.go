// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"context"
	"io"
	"path"
	"slices"
	"strings"

	"dossier.dev/dossier"
)

// Layer is a layer that can be read.
type Layer struct {
	Descriptor
	// Open returns the bytes that Descriptor names, compressed as they are. It
	// may be called more than once.
	Open func(context.Context) (io.ReadCloser, error)
}

// Limits bound what GoProgram reads. A zero field means its default.
type Limits struct {
	Layer    int64  // compressed bytes of one layer; 2 GiB
	Unpacked int64  // decompressed bytes of one layer; 8 GiB
	Entries  int    // entries of all layers together; 1,000,000
	Program  int64  // bytes of the program; 1 GiB
	TempDir  string // where the program is kept while it is read; os.TempDir()
}

// The defaults of Limits.
const (
	DefaultLayer    = 2 << 30
	DefaultUnpacked = 8 << 30
	DefaultEntries  = 1_000_000
	DefaultProgram  = 1 << 30
)

func (l Limits) orDefault() Limits {
	set := func(v *int64, standard int64) {
		if *v == 0 {
			*v = standard
		}
	}
	set(&l.Layer, DefaultLayer)
	set(&l.Unpacked, DefaultUnpacked)
	set(&l.Program, DefaultProgram)
	if l.Entries == 0 {
		l.Entries = DefaultEntries
	}
	return l
}

// GoProgram returns the Go build information of the program that the image
// starts, or nil when that is no Go program or there is none: then nothing can
// be said, which is no error. Layers are the image's, base first.
//
// The program is the first word of entrypoint and command, or what follows an
// init such as tini. Shells, interpreters and scripts are recognised by name
// and no layer is read for them. A word without slash is looked up in PATH.
// Symbolic links, hard links, whiteouts and opaque directories are followed
// within the image. Entry names are taken as they are written: a layer whose
// entries lie beneath a symbolic link of a lower layer is not rearranged.
//
// Layers are read from the top down, no more than it takes to find the
// program, and each to its end, so that its digest is checked: what is
// returned is a property of checked bytes. Images for Windows are not read.
//
// It fails with KindCorrupt when the bytes are not those of their digest,
// KindInvalid when a layer is no archive, KindUnsupported for an unknown
// compression, KindLimit when limits are exceeded, or as Open does.
func GoProgram(ctx context.Context, c Config, layers []Layer, limits Limits) (*dossier.GoBuild, error) {
	candidates := programPaths(c)
	if len(candidates) == 0 || len(layers) == 0 {
		return nil, nil
	}
	t := newTree(layers, limits.orDefault())
	defer t.close()
	t.want(candidates...)
	for _, p := range candidates {
		f, err := t.find(ctx, p)
		if err != nil {
			return nil, err
		}
		if f == nil || !f.executable() {
			continue
		}
		return t.goBuild(ctx, f)
	}
	return nil, nil
}

// programPaths returns the absolute paths at which the program that c starts
// may lie, the first that exists counts; none when it cannot be a Go program.
func programPaths(c Config) []string {
	if c.Platform.OS == "windows" {
		return nil // its layers have another form
	}
	words := slices.Concat(c.Entrypoint, c.Cmd)
	for len(words) > 0 && isInit(words[0]) {
		words = afterInit(words[1:])
	}
	if len(words) == 0 || words[0] == "" || isInterpreted(words[0]) {
		return nil
	}
	name := words[0]
	switch {
	case len(name) > maxPath || strings.ContainsRune(name, 0):
		return nil
	case strings.HasPrefix(name, "/"):
		return []string{path.Clean(name)}
	case strings.Contains(name, "/"):
		return []string{path.Join("/", c.WorkingDir, name)}
	}
	var out []string
	for dir := range strings.SplitSeq(searchPath(c.Env), ":") {
		if p := path.Join(dir, name); strings.HasPrefix(dir, "/") && !slices.Contains(out, p) && len(out) < maxSearch {
			out = append(out, p)
		}
	}
	return out
}

const (
	maxPath   = 4096 // bytes of a path
	maxSearch = 64   // directories in PATH
)

// searchPath returns PATH; runtimes set a default when the image has none.
func searchPath(env []string) string {
	for _, e := range slices.Backward(env) {
		if p, ok := strings.CutPrefix(e, "PATH="); ok {
			return p
		}
	}
	return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
}

// isInit reports whether a word names a small init that starts what follows.
func isInit(word string) bool {
	return slices.Contains([]string{"tini", "tini-static", "dumb-init", "docker-init", "catatonit"}, path.Base(word))
}

// afterInit drops the options of an init: up to "--", or all that begin with "-".
func afterInit(words []string) []string {
	if i := slices.Index(words, "--"); i >= 0 {
		return words[i+1:]
	}
	i := slices.IndexFunc(words, func(w string) bool { return !strings.HasPrefix(w, "-") })
	if i < 0 {
		return nil
	}
	return words[i:]
}

// isInterpreted reports whether a word names a shell, an interpreter, a
// virtual machine or a script: whatever runs, it was not built by Go.
func isInterpreted(word string) bool {
	base := strings.ToLower(path.Base(word))
	switch path.Ext(base) {
	case ".sh", ".bash", ".py", ".rb", ".pl", ".js", ".mjs", ".php", ".jar", ".lua", ".cmd", ".bat", ".ps1":
		return true
	}
	base = strings.TrimRight(base, "0123456789.") // python3.12, php8
	return slices.Contains([]string{
		"sh", "bash", "dash", "ash", "zsh", "ksh", "fish", "csh", "busybox", "env", "cmd.exe", "cmd", "powershell", "pwsh",
		"python", "pypy", "node", "nodejs", "deno", "bun", "npm", "npx", "yarn", "pnpm", "java", "ruby", "bundle", "rails",
		"perl", "php", "php-fpm", "lua", "luajit", "erl", "elixir", "iex", "dotnet", "mono", "guile", "tclsh", "rscript",
		"gunicorn", "uvicorn", "celery", "pip", "su", "sudo", "gosu", "su-exec",
	}, base)
}
