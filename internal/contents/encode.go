// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"github.com/klauspost/compress/zstd"

	"dossier.dev/dossier"
)

// maxEncoded bounds the JSON of a result, in bytes.
const maxEncoded = 512 << 20

// Encode writes a result as the body of a dossier.FactLayer: JSON, compressed
// by zstd. Equal results give equal bytes. A result that does not fit into the
// body of a fact is written without what it found: it says so in Missed.
func Encode(r LayerResult) ([]byte, error) {
	b, err := encode(r)
	if err != nil || len(b) <= dossier.MaxFactBody {
		return b, err
	}
	return encode(LayerResult{
		Version: r.Version, Digest: r.Digest, DiffID: r.DiffID, Size: r.Size, Unpacked: r.Unpacked, Entries: r.Entries,
		Missed: []dossier.Missed{{Reason: dossier.MissedLayer, Detail: fmt.Sprintf("what was found in it takes %d bytes, which is too much to keep", len(b))}},
	})
}

func encode(r LayerResult) ([]byte, error) {
	const op = "writing contents of layer"
	var b bytes.Buffer
	// One goroutine: several cut the stream elsewhere.
	z, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInternal, Op: op, Subject: string(r.Digest), Err: err}
	}
	if err := errors.Join(json.NewEncoder(z).Encode(r), z.Close()); err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInternal, Op: op, Subject: string(r.Digest), Err: err}
	}
	return b.Bytes(), nil
}

// Decode is the inverse of Encode. KindInvalid: b is not what Encode writes.
// KindLimit: it unfolds into more than half a GiB.
func Decode(b []byte) (LayerResult, error) { return decode(b, maxEncoded) }

func decode(b []byte, limit int) (LayerResult, error) {
	const op = "reading contents of layer"
	room, ok := unfolded(b)
	if !ok {
		return LayerResult{}, dossier.Errorf(dossier.KindInvalid, op, "", "it is no frame of zstd")
	}
	if room > limit {
		return LayerResult{}, dossier.Errorf(dossier.KindLimit, op, "", fmt.Sprintf("it may have more than %d bytes", limit))
	}
	z, err := unpacker()
	if err != nil {
		return LayerResult{}, &dossier.Error{Kind: dossier.KindInternal, Op: op, Err: err}
	}
	// All at once: as a stream it would take memory for the whole window of the frame, which
	// is larger than most results.
	text, err := z.DecodeAll(b, make([]byte, 0, room))
	var r LayerResult
	if err == nil {
		// Nobody writes to text again: what is found in it may stay there.
		if r, ok = scan(unsafe.String(unsafe.SliceData(text), len(text))); ok {
			return r, nil
		}
		r = LayerResult{}
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return LayerResult{}, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: err}
	}
	return r, nil
}

// unfolded returns how many bytes a frame of zstd has at most, by the heads of its blocks (RFC
// 8878, section 3.1.1.2). ok: it is one frame, and nothing else.
func unfolded(b []byte) (room int, ok bool) {
	const (
		blockHead = 3
		checksum  = 4
		largest   = 128 << 10 // bytes of a block
	)
	var head zstd.Header
	if err := head.Decode(b); err != nil || head.Skippable {
		return 0, false
	}
	b = b[head.HeaderSize:]
	for last := false; !last; {
		if len(b) < blockHead {
			return 0, false
		}
		word := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
		kind, size := word>>1&3, word>>3
		last = word&1 == 1
		inFrame := size
		switch kind {
		case 0: // as it is
			room += size
		case 1: // one byte many times
			room += size
			inFrame = 1
		case 2:
			room += largest
		default:
			return 0, false
		}
		if b = b[blockHead:]; size > largest || len(b) < inFrame {
			return 0, false
		}
		b = b[inFrame:]
	}
	if head.HasCheckSum {
		if len(b) < checksum {
			return 0, false
		}
		b = b[checksum:]
	}
	if head.HasFCS {
		if head.FrameContentSize > uint64(room) {
			return 0, false
		}
		room = int(head.FrameContentSize)
	}
	return room, len(b) == 0
}

// unpacker unpacks results, many at a time.
var unpacker = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxWindow(64<<20), zstd.WithDecoderMaxMemory(maxEncoded), zstd.WithDecoderLowmem(true))
})

// Serial returns the number that a Version begins with, by which one tells which
// of two is newer; 0 when it has none.
func Serial(version string) int {
	number, _, _ := strings.Cut(version, "+")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 {
		return 0
	}
	return n
}
