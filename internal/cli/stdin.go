// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"io"
	"sync"
)

// readerFunc is a function as an io.Reader.
type readerFunc func([]byte) (int, error)

// Read implements io.Reader.
func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// interruptible returns a reader of r that fails when ctx ends, although a read
// of a terminal or a pipe cannot be broken off. It takes nothing of r before it
// is read itself. The goroutine that is in such a read ends with it, or with
// the program.
func interruptible(ctx context.Context, r io.Reader) io.Reader {
	begin := sync.OnceValue(func() io.Reader {
		reader, writer := io.Pipe()
		go func() {
			_, err := io.Copy(writer, r)
			writer.CloseWithError(err)
		}()
		context.AfterFunc(ctx, func() { writer.CloseWithError(ctx.Err()) })
		return reader
	})
	return readerFunc(func(b []byte) (int, error) { return begin().Read(b) })
}
