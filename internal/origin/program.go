// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"path"
	"slices"
	"strings"
)

// Programs returns the absolute paths at which the program that an image starts
// may lie, of which the first that is there counts; none when there is none, or
// when it cannot be one that was built by Go.
//
// The program is the first word of entrypoint and command, or what follows an
// init such as tini. Shells, interpreters and scripts are recognised by name. A
// word without slash is looked up in PATH. Images for Windows have none.
func Programs(c Config) []string {
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
	maxWords  = 200  // of a command
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

// Words returns the words of entrypoint and command; those that a shell is given
// as one are taken apart.
func Words(c Config) []string {
	words := slices.Concat(c.Entrypoint, c.Cmd)
	var out []string
	for i, w := range words {
		if i > 0 && words[i-1] == "-c" {
			out = append(out, strings.Fields(w)...)
		} else {
			out = append(out, w)
		}
	}
	return out[:min(len(out), maxWords)]
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
