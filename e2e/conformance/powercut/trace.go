// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package powercut

import (
	"bufio"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
)

// maxLine is how long a line of strace may be: four characters a byte written.
const maxLine = 32 << 20

// Trace is what a program did to a directory that was empty when it began, and
// what it sent.
type Trace struct {
	dir  string // without symbolic links
	ops  []op
	sent []sent
}

// op is a change, or a sync that makes changes durable.
type op struct {
	kind   kind
	path   string // relative to the directory
	target string // of a rename or a link
	data   []byte
	offset int64 // of a write or a seek, negative: where the last write ended; size of a truncation
	covers int   // of a sync: the operations before this one
}

type kind int

const (
	makeFile kind = iota
	makeDir
	write
	truncate
	seek
	move
	link
	remove
	sync
)

// sent is what went to a socket.
type sent struct {
	at   int // operations that had ended when it began
	data []byte
}

// Read reads the notes of a strace with the flags that Calls names. What the
// program did outside the directory is left out.
func Read(from io.Reader, dir string) (*Trace, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	t := &Trace{dir: dir}
	r := reader{open: map[string]record{}}
	began := map[string]int{} // calls that had ended to operations that had
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		ended, begun, err := r.line(lines.Text())
		switch {
		case err != nil:
		case begun != nil:
			thread, _, _ := strings.Cut(lines.Text(), " ")
			began[thread] = len(t.ops)
		case ended != nil && !ended.failed():
			thread, _, _ := strings.Cut(lines.Text(), " ")
			at, ok := began[thread]
			if !ok {
				at = len(t.ops)
			}
			delete(began, thread)
			err = t.add(*ended, at)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	// A call that had not ended may have had its effect: that is luck, which
	// Restore leaves to others. What it sent may have arrived.
	for thread, c := range r.open {
		if c.name == "write" {
			c.args = split(c.args[0])
			if err := t.write(c, began[thread]); err != nil {
				return nil, err
			}
		}
	}
	slices.SortStableFunc(t.sent, func(a, b sent) int { return a.at - b.at })
	return t, lines.Err()
}

// inside returns a path relative to the directory, and whether it lies there.
func (t *Trace) inside(path string) (string, bool) {
	if path == t.dir {
		return ".", true
	}
	rel, ok := strings.CutPrefix(path, t.dir+"/")
	return rel, ok && !strings.HasSuffix(rel, " (deleted)")
}

// at returns the path that a directory's descriptor and a name mean, or a name alone.
func (t *Trace) at(args []string, dir, name int) (string, bool, error) {
	b, err := text(args[name])
	if err != nil {
		return "", false, err
	}
	path := string(b)
	if !filepath.IsAbs(path) && dir >= 0 {
		path = filepath.Join(file(args[dir]), path)
	}
	rel, ok := t.inside(filepath.Clean(path))
	return rel, ok, nil
}

// add adds what a call did. at is how many operations had ended when it began.
func (t *Trace) add(c record, at int) error {
	switch c.name {
	case "open", "openat", "creat":
		return t.open(c)
	case "write", "pwrite64":
		return t.write(c, at)
	case "fsync", "fdatasync":
		if path, ok := t.inside(file(c.args[0])); ok {
			t.ops = append(t.ops, op{kind: sync, path: path, covers: at})
		}
		return nil
	case "ftruncate":
		path, ok := t.inside(file(c.args[0]))
		size, err := number(c.args[1])
		if ok && err == nil {
			t.ops = append(t.ops, op{kind: truncate, path: path, offset: size})
		}
		return err
	case "lseek":
		path, ok := t.inside(file(c.args[0]))
		offset, err := number(c.result)
		if ok && err == nil {
			t.ops = append(t.ops, op{kind: seek, path: path, offset: offset})
		}
		return err
	case "rename", "renameat", "renameat2":
		return t.move(move, c, c.name != "rename")
	case "link", "linkat":
		return t.move(link, c, c.name != "link")
	case "unlink", "rmdir":
		return t.name(remove, c, -1, 0)
	case "unlinkat":
		return t.name(remove, c, 0, 1)
	case "mkdir":
		return t.name(makeDir, c, -1, 0)
	case "mkdirat":
		return t.name(makeDir, c, 0, 1)
	}
	return t.unknown(c)
}

// unknown fails when a call that is not understood may have changed a file.
func (t *Trace) unknown(c record) error {
	if c.name == "mmap" {
		path, ok := t.inside(file(c.args[4]))
		// The index of a write-ahead log is rebuilt from it.
		if !ok || strings.HasSuffix(path, "-shm") || !strings.Contains(c.args[2], "PROT_WRITE") || !strings.Contains(c.args[3], "MAP_SHARED") {
			return nil
		}
	}
	for i, arg := range c.args {
		if (c.name == "sendfile" || c.name == "splice") && i > 0 {
			break // the others are where it comes from, or plain numbers
		}
		path := file(arg)
		if b, err := text(arg); err == nil && path == "" {
			path = string(b)
		}
		if rel, ok := t.inside(path); ok {
			return fmt.Errorf("%s changes %s, which is not understood", c.name, rel)
		}
	}
	return nil
}

func (t *Trace) open(c record) error {
	path, ok := t.inside(file(c.result))
	flags := strings.Join(c.args, " ")
	if !ok || path == "." {
		return nil
	}
	if c.name == "creat" || strings.Contains(flags, "O_CREAT") {
		t.ops = append(t.ops, op{kind: makeFile, path: path})
	}
	if strings.Contains(flags, "O_APPEND") {
		return fmt.Errorf("%s is opened to append, which is not understood", path)
	}
	if strings.Contains(flags, "O_WRONLY") || strings.Contains(flags, "O_RDWR") {
		t.ops = append(t.ops, op{kind: seek, path: path})
	}
	if c.name == "creat" || strings.Contains(flags, "O_TRUNC") {
		t.ops = append(t.ops, op{kind: truncate, path: path})
	}
	return nil
}

// write adds a write to a file, or notes what was sent to a socket.
func (t *Trace) write(c record, at int) error {
	path := file(c.args[0])
	rel, ok := t.inside(path)
	socket := strings.HasPrefix(path, "socket:") || strings.HasPrefix(path, "TCP:")
	if !ok && !socket {
		return nil
	}
	b, err := text(c.args[1])
	if err != nil {
		return err
	}
	if socket {
		t.sent = append(t.sent, sent{at, b})
		return nil
	}
	o := op{kind: write, path: rel, data: b, offset: -1}
	if c.result != "" {
		n, err := number(c.result)
		if err != nil {
			return err
		}
		o.data = b[:n]
	}
	if c.name == "pwrite64" {
		if o.offset, err = number(c.args[3]); err != nil {
			return err
		}
	}
	t.ops = append(t.ops, o)
	return nil
}

// move adds a call that gives a file another name; at says whether its paths are
// relative to directories.
func (t *Trace) move(k kind, c record, at bool) error {
	from, to := [2]int{-1, 0}, [2]int{-1, 1}
	if at {
		from, to = [2]int{0, 1}, [2]int{2, 3}
	}
	old, okOld, err := t.at(c.args, from[0], from[1])
	if err != nil {
		return err
	}
	target, okTarget, err := t.at(c.args, to[0], to[1])
	switch {
	case err != nil || !okOld && !okTarget:
		return err
	case okOld != okTarget:
		return fmt.Errorf("%s leads out of the directory or into it, which is not understood", c.name)
	}
	t.ops = append(t.ops, op{kind: k, path: old, target: target})
	return nil
}

// name adds a call that makes or removes a name.
func (t *Trace) name(k kind, c record, dir, name int) error {
	path, ok, err := t.at(c.args, dir, name)
	if err == nil && ok {
		t.ops = append(t.ops, op{kind: k, path: path})
	}
	return err
}

// Len returns how many operations there are. The power may fail after any number
// of them, from 0 to Len.
func (t *Trace) Len() int { return len(t.ops) }

// Syncs returns the points right after the syncs: between two of them nothing
// becomes durable for sure.
func (t *Trace) Syncs() []int {
	var points []int
	for i, o := range t.ops {
		if o.kind == sync {
			points = append(points, i+1)
		}
	}
	return points
}

// Sent returns what the program had begun to send when the first operations had
// ended: its peers may have it.
func (t *Trace) Sent(point int) [][]byte {
	var all [][]byte
	for _, s := range t.sent {
		if s.at <= point {
			all = append(all, s.data)
		}
	}
	return all
}
