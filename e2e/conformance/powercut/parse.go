// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package powercut

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Calls are the system calls that strace must note, for its flag -e trace=. The
// other flags are -f -y -xx -e signal=none and -s with more than the largest write.
const Calls = "open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync,ftruncate,truncate,fallocate," +
	"rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir," +
	"lseek,sendfile,splice,copy_file_range,mmap"

// record is one call as strace notes it.
type record struct {
	name   string
	args   []string
	result string // after the =
	began  int    // how many calls had ended when it began
}

// failed reports whether the call had no effect.
func (r record) failed() bool {
	return strings.HasPrefix(r.result, "-1") || strings.HasPrefix(r.result, "?")
}

// reader puts lines together: a call during which another thread made one is
// noted in two.
type reader struct {
	open map[string]record // by thread; args is the text so far
	n    int               // calls that ended
}

// line reads a line, and returns the call that ends with it, if one does; begun is a call
// that has begun and not ended.
func (r *reader) line(text string) (ended, begun *record, err error) {
	thread, text, ok := strings.Cut(text, " ")
	text = strings.TrimSpace(text)
	if !ok || strings.HasPrefix(text, "+++") || strings.HasPrefix(text, "---") {
		return nil, nil, nil
	}
	c := record{began: r.n}
	if rest, resumed := strings.CutPrefix(text, "<... "); resumed {
		name, rest, _ := strings.Cut(rest, " resumed>")
		if c, ok = r.open[thread]; !ok || c.name != name {
			return nil, nil, fmt.Errorf("%s ends and has not begun", name)
		}
		delete(r.open, thread)
		text = c.name + "(" + c.args[0] + rest
	}
	name, rest, ok := strings.Cut(text, "(")
	if !ok {
		return nil, nil, errors.New("it is no call")
	}
	c.name = name
	if rest, cut := strings.CutSuffix(rest, "<unfinished ...>"); cut {
		c.args = []string{strings.TrimRight(rest, " ")}
		r.open[thread] = c
		begun := c
		begun.args = split(c.args[0])
		return nil, &begun, nil
	}
	at := strings.LastIndex(rest, ") ")
	if at < 0 {
		return nil, nil, errors.New("the call has no end")
	}
	c.args = split(rest[:at])
	c.result = strings.TrimLeft(rest[at+1:], " =")
	r.n++
	return &c, nil, nil
}

// split separates arguments. Strings are in hexadecimal digits: a comma is one.
func split(args string) []string { return strings.Split(strings.TrimRight(args, ", "), ", ") }

// text decodes a quoted string. One that was cut is an error.
func text(arg string) ([]byte, error) {
	if strings.HasSuffix(arg, "...") {
		return nil, errors.New("strace cut a string: give a larger -s")
	}
	inner, ok := strings.CutPrefix(arg, `"`)
	inner, closed := strings.CutSuffix(inner, `"`)
	if !ok || !closed {
		return nil, fmt.Errorf("%.40q is no string", arg)
	}
	return hex.DecodeString(strings.ReplaceAll(inner, `\x`, ""))
}

// file returns the path of a descriptor, as in 7<\x2f\x74>; empty when strace knows none.
func file(arg string) string {
	_, inner, ok := strings.Cut(arg, "<")
	if !ok {
		return ""
	}
	path, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSuffix(inner, ">"), `\x`, ""))
	if err != nil {
		return ""
	}
	return string(path)
}

// number reads a decimal argument.
func number(arg string) (int64, error) { return strconv.ParseInt(arg, 10, 64) }
