// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"dossier.dev/dossier"
)

// recorder remembers what was answered, and gives the client time for each part.
type recorder struct {
	http.ResponseWriter
	control *http.ResponseController
	time    time.Duration // for each part
	status  int
	bytes   int64
	digest  dossier.Digest // of what is sent or came, where it has one
}

func newRecorder(w http.ResponseWriter, each time.Duration) *recorder {
	rec := &recorder{ResponseWriter: w, control: http.NewResponseController(w), time: each}
	rec.extend()
	return rec
}

// WriteHeader implements http.ResponseWriter.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *recorder) Write(p []byte) (int, error) {
	w.extend()
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// pieceSize is how much of a file is sent within one Config.WriteTimeout.
const pieceSize = 16 << 20

// ReadFrom implements io.ReaderFrom, by which the kernel can send a file without
// copying it.
func (w *recorder) ReadFrom(src io.Reader) (total int64, err error) {
	to, ok := w.ResponseWriter.(io.ReaderFrom)
	if !ok {
		return io.Copy(struct{ io.Writer }{w}, src)
	}
	left := &io.LimitedReader{R: src, N: 1<<63 - 1}
	if limited, ok := src.(*io.LimitedReader); ok {
		left = limited
	}
	for left.N > 0 {
		w.extend()
		piece := min(left.N, pieceSize)
		n, err := to.ReadFrom(&io.LimitedReader{R: left.R, N: piece})
		left.N -= n
		total += n
		w.bytes += n
		if err != nil || n < piece {
			return total, err
		}
	}
	return total, nil
}

// part is where http.ServeContent writes. A range that cannot be had is refused in
// the form of all errors here.
type part struct {
	*recorder
	r       *http.Request
	refused bool
}

// WriteHeader implements http.ResponseWriter.
func (p *part) WriteHeader(status int) {
	if status != http.StatusRequestedRangeNotSatisfiable {
		p.recorder.WriteHeader(status)
		return
	}
	p.refused = true
	p.Header().Del("Content-Type")
	respond(p.recorder, p.r, status, map[string][]problem{"errors": {{Code: CodeRangeInvalid, Message: "there is no such part: " + p.r.Header.Get("Range")}}})
}

// Write implements http.ResponseWriter.
func (p *part) Write(b []byte) (int, error) {
	if p.refused { // this is the text of the other form
		return len(b), nil
	}
	return p.recorder.Write(b)
}

// Unwrap lets http.ResponseController reach the writer.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// extend moves the deadline of the connection. A writer that has none, in a
// test, does without.
func (w *recorder) extend() { _ = w.control.SetWriteDeadline(time.Now().Add(w.time)) }

// rest takes the deadline back: what follows is not up to the client. Writing
// sets it anew.
func (w *recorder) rest() { _ = w.control.SetWriteDeadline(time.Time{}) }

// body is the body of a request: bounded, and read under a deadline for each
// part. Who sends a byte now and then does not hold a place for ever: on average it must
// be MinRate. It remembers its own error, so that a failure of the client is told from
// one of the disk.
type body struct {
	io.ReadCloser
	control *http.ResponseController
	time    time.Duration // for each part
	left    int64
	n       int64
	ended   bool  // io.EOF was read
	err     error // other than io.EOF
	beat    func() error
	waited  time.Duration // for the client, all told
}

var (
	errBlobTooLarge = errors.New("the blob is larger than the registry takes")
	errTooSlow      = fmt.Errorf("fewer than %d bytes a second came: the upload stays as it is, go on from there", MinRate)
)

// newBody wraps the body of a request. Its first deadline begins now, for the
// server itself reads on when a method has left something.
func newBody(r *http.Request, control *http.ResponseController, limit int64, each time.Duration) *body {
	b := &body{ReadCloser: r.Body, control: control, time: each, left: limit, beat: func() error { return nil }}
	if r.ContentLength != 0 {
		b.extend()
	}
	return b
}

// extend gives the client time for the next part.
func (b *body) extend() { _ = b.control.SetReadDeadline(time.Now().Add(b.time)) }

// rest takes the deadline back: what follows is not up to the client.
func (b *body) rest() { _ = b.control.SetReadDeadline(time.Time{}) }

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if err := b.beat(); err != nil {
		b.err = err
		return 0, err
	}
	b.extend()
	begin := time.Now()
	n, err := b.ReadCloser.Read(p)
	b.waited += time.Since(begin)
	b.n += int64(n)
	switch b.left -= int64(n); {
	case b.left < 0:
		err = errBlobTooLarge
	case err == nil && b.waited > ReadTimeout && b.n < int64(b.waited.Seconds()*MinRate):
		err = errTooSlow
	}
	switch {
	case err == io.EOF:
		b.ended = true
		b.rest()
	case err != nil:
		b.err = err
	}
	return n, err
}

// smallRest is how much of a body is read although it was refused: a client
// that still sends may not read the answer.
const smallRest = 2 * MaxManifest

// leave reads what is left of a body, under one deadline. When that is much, or
// nobody knows how much, it has the connection closed instead: the answer must
// not wait for it.
func (b *body) leave(w http.ResponseWriter, r *http.Request) {
	rest := r.ContentLength - b.n
	switch {
	case b.ended || rest == 0:
	case r.ContentLength < 0 || rest > smallRest:
		w.Header().Set("Connection", "close")
	default:
		b.extend()
		if n, _ := io.CopyN(io.Discard, b.ReadCloser, rest); n < rest { // it has left, or is too slow
			w.Header().Set("Connection", "close")
		}
	}
}
