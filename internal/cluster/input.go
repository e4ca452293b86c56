// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"errors"
	"io"

	"dossier.dev/dossier"
)

// input is a file that is read document by document. It knows the line.
type input struct {
	src   io.Reader
	buf   []byte // read from src, not yet used
	line  int    // of the first byte of buf, from 1
	total *int64 // bytes that may still be read, of all files together
	err   error  // of src
}

// chunk is how many bytes are read at a time.
const chunk = 32 << 10

// fill reads more into buf. It returns false at the end of the file or after an
// error, which in.err keeps.
func (in *input) fill() bool {
	if in.err != nil {
		return false
	}
	if *in.total <= 0 {
		// A file may end exactly at the limit.
		var one [1]byte
		n, err := io.ReadFull(in.src, one[:])
		switch {
		case n > 0:
			in.err = errTotal
		case errors.Is(err, io.EOF):
			in.err = io.EOF
		default:
			in.err = err
		}
		return false
	}
	free := make([]byte, min(chunk, *in.total))
	n, err := in.src.Read(free)
	*in.total -= int64(n)
	in.buf = append(in.buf, free[:n]...)
	in.err = err
	return n > 0 || err == nil
}

// errTotal is returned by readers when all files together are too long.
var errTotal = dossier.Errorf(dossier.KindLimit, "reading", "manifests", "there are too many bytes in all files together")

// failure returns what went wrong with the file itself, if anything.
func (in *input) failure() error {
	if in.err == nil || errors.Is(in.err, io.EOF) {
		return nil
	}
	return in.err
}

// nextLine returns the next line with its end, without using it; at the end of the
// file it is empty. Of a line longer than limit only that much is returned.
func (in *input) nextLine(limit int) []byte {
	searched := 0
	for {
		if i := bytes.IndexByte(in.buf[searched:], '\n'); i >= 0 {
			return in.buf[:min(searched+i+1, limit)]
		}
		searched = len(in.buf)
		if searched >= limit || !in.fill() {
			return in.buf[:min(len(in.buf), limit)]
		}
	}
}

// peek returns the next n bytes, or as many as there are, without using them.
func (in *input) peek(n int) []byte {
	for len(in.buf) < n && in.fill() {
	}
	return in.buf[:min(len(in.buf), n)]
}

// use drops n bytes.
func (in *input) use(n int) {
	in.line += bytes.Count(in.buf[:n], []byte{'\n'})
	in.buf = in.buf[n:]
}

// dropLine drops the rest of the line.
func (in *input) dropLine() {
	for {
		line := in.nextLine(chunk)
		in.use(len(line))
		if len(line) == 0 || line[len(line)-1] == '\n' {
			return
		}
	}
}

// skipBlank drops empty lines, comments, directives and document markers up to
// the next document, or to the end of the file: then it returns false.
func (in *input) skipBlank() bool {
	for {
		line := in.nextLine(chunk)
		if len(line) == 0 {
			return false
		}
		if bytes.HasPrefix(line, byteOrderMark) {
			in.use(len(byteOrderMark))
			continue
		}
		if s := bytes.TrimSpace(line); len(s) > 0 && s[0] != '#' && s[0] != '%' && !isMarker(line) {
			return true
		}
		in.dropLine()
	}
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// isMarker reports whether a line is nothing but a document marker.
func isMarker(line []byte) bool {
	if !isSeparator(line) && !bytes.HasPrefix(line, []byte("...")) {
		return false
	}
	rest := bytes.TrimSpace(line[3:])
	return len(rest) == 0 || rest[0] == '#'
}

// isSeparator reports whether a new YAML document begins at this line.
func isSeparator(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("---"))
	return ok && (len(rest) == 0 || bytes.ContainsAny(rest[:1], " \t\r\n"))
}

// yamlDocument uses and returns the next YAML document, up to the next separator or
// the end. Of a document longer than limit it returns none of it, and tooLong.
func (in *input) yamlDocument(limit int) (doc []byte, tooLong bool) {
	first, begins := true, true // whether line is the first, and the beginning of one
	for {
		line := in.nextLine(chunk)
		if len(line) == 0 || begins && !first && (isSeparator(line) || isMarker(line)) {
			return doc, tooLong
		}
		first, begins = false, line[len(line)-1] == '\n'
		if tooLong = tooLong || len(doc)+len(line) > limit; tooLong {
			doc = nil
		} else {
			doc = append(doc, line...)
		}
		in.use(len(line))
	}
}
