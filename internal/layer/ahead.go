// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package layer

import "io"

// Reading ahead holds this many buffers of this many bytes.
const (
	aheadBuffers = 4
	aheadBytes   = 256 << 10
)

// ahead reads from r in a goroutine of its own, a few buffers ahead of who reads
// from it: decompression, which takes most of the time, goes on while the rest is
// being hashed and looked at. Only stop, which must be called, makes it safe to
// use r again: it ends the goroutine and waits for that.
func ahead(r io.Reader) (out io.Reader, stop func()) {
	type part struct {
		b   []byte
		err error
	}
	full, free := make(chan part, aheadBuffers), make(chan []byte, aheadBuffers)
	quit, done := make(chan struct{}), make(chan struct{})
	for range aheadBuffers {
		free <- make([]byte, aheadBytes)
	}
	go func() {
		defer close(done)
		for {
			var b []byte
			select {
			case b = <-free:
			case <-quit:
				return
			}
			b = b[:cap(b)]
			n, err := 0, error(nil)
			for n < len(b) && err == nil {
				var more int
				more, err = r.Read(b[n:])
				n += more
			}
			full <- part{b[:n], err}
			if err != nil {
				return
			}
		}
	}()
	var now part
	var rest []byte
	out = readerFunc(func(p []byte) (int, error) {
		for len(rest) == 0 {
			if now.err != nil {
				return 0, now.err
			}
			if now.b != nil {
				free <- now.b
			}
			now = <-full
			rest = now.b
		}
		n := copy(p, rest)
		rest = rest[n:]
		return n, nil
	})
	return out, func() {
		close(quit)
		<-done
	}
}
