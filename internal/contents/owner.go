// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"bufio"
	"fmt"
	"io"
	"path"
	"strings"

	"dossier.dev/dossier"
)

// owners says which package of the distribution installed a file, by the hash
// of its path. Package managers list the files of each package beside their
// database.
type owners map[uint64]string

// maxOwned bounds owners, in files.
const maxOwned = 1_000_000

// of returns the owner of a path, or "". Lists may name files of merged
// directories by their old place, without "usr" in front.
func (o owners) of(p string) string {
	if name := o[nameHash(p)]; name != "" {
		return name
	}
	if old, ok := strings.CutPrefix(p, "usr/"); ok {
		return o[nameHash(old)]
	}
	return ""
}

// add notes the owner of a path, unless there are too many: then some language
// packages have no owner, and stand for themselves.
func (o owners) add(p, name string) {
	if len(o) < maxOwned {
		o[nameHash(cleanName(p))] = name
	}
}

const (
	dpkgInfo   = "var/lib/dpkg/info"
	dpkgStatus = "var/lib/dpkg/status.d"
)

// isOwnerList recognises the lists of dpkg, and their form in distroless images.
func isOwnerList(p string) bool {
	switch path.Dir(p) {
	case dpkgInfo:
		return path.Ext(p) == ".list"
	case dpkgStatus:
		return path.Ext(p) == ".md5sums"
	}
	return false
}

// takeOwnerList reads one: a path, or a checksum and a path, a line.
func (r *reader) takeOwnerList(p string, size int64, body io.Reader) error {
	if size > r.limits.Manifest {
		r.miss(p, dossier.MissedFileSize, errTooLarge(fmt.Sprintf("list of %d bytes", size), "Manifest", r.limits.Manifest).Error())
		return nil
	}
	base := path.Base(p)
	name, _, _ := strings.Cut(strings.TrimSuffix(base, path.Ext(base)), ":")
	name = printable(name)
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		line := lines.Text()
		if path.Ext(p) == ".md5sums" {
			_, line, _ = strings.Cut(line, " ")
			line = strings.TrimLeft(line, " *")
		}
		if line != "" {
			r.owners.add(line, name)
		}
	}
	if lines.Err() == bufio.ErrTooLong {
		return nil // no path is that long
	}
	return lines.Err()
}

// addAPK reads the paths in apk's database: P names the package, F a directory,
// R a file in it.
func (o owners) addAPK(db io.Reader) {
	name, dir := "", ""
	lines := bufio.NewScanner(db)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		switch key {
		case "P":
			name = printable(value)
		case "F":
			dir = value
		case "R":
			o.add(path.Join(dir, value), name)
		}
	}
}
