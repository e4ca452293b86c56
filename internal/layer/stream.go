// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"dossier.dev/dossier"
)

// maxWindow bounds the memory that a zstd frame may ask for, in bytes. It is
// what the zstd command accepts without being asked.
const maxWindow = 128 << 20

// Decompress undoes the compression that the first bytes tell: gzip, zstd, or
// none. KindInvalid: the first bytes are broken. KindUnsupported: bzip2, xz.
func Decompress(r io.Reader) (io.ReadCloser, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	head, err := b.Peek(6)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := newGunzip(b)
		if err != nil {
			return nil, invalid(err)
		}
		return z, nil
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}), isSkippableFrame(head):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, invalid(err)
		}
		return z.IOReadCloser(), nil
	case bytes.HasPrefix(head, []byte("BZh")), bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		return nil, dossier.Errorf(dossier.KindUnsupported, "reading archive", "", "its compression is neither gzip nor zstd")
	}
	return io.NopCloser(b), nil
}

// isSkippableFrame recognises the zstd frames that hold no data, with which a
// layer may begin.
func isSkippableFrame(head []byte) bool {
	return len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18})
}

// readerFunc is an io.Reader made of a function.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// counting adds what is read from r to n.
func counting(n *int64, r io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		got, err := r.Read(p)
		*n += int64(got)
		return got, err
	})
}

// atMost reads from r and fails with KindLimit once more than limit bytes came.
func atMost(limit int64, what string, r io.Reader) io.Reader {
	left := limit
	return readerFunc(func(p []byte) (int, error) {
		if left < 0 {
			return 0, dossier.Errorf(dossier.KindLimit, "reading", "", fmt.Sprintf("the %s exceed %d bytes", what, limit))
		}
		p = p[:min(int64(len(p)), left+1)]
		n, err := r.Read(p)
		left -= int64(n)
		if left < 0 {
			return n - 1, nil
		}
		return n, err
	})
}

// until reads from r until ctx is done. An error stays: what follows a failed
// read is not taken for the rest of the file.
func until(ctx context.Context, r io.Reader) io.Reader {
	var failed error
	return readerFunc(func(p []byte) (n int, err error) {
		if failed == nil {
			failed = ctx.Err()
		}
		if failed != nil {
			return 0, failed
		}
		n, err = r.Read(p)
		failed = err
		return n, err
	})
}
