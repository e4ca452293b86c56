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
func Decode(b []byte) (LayerResult, error) { return decode(b, unpacker) }

func decode(b []byte, unpacker func() (*zstd.Decoder, error)) (LayerResult, error) {
	const op = "reading contents of layer"
	z, err := unpacker()
	if err != nil {
		return LayerResult{}, &dossier.Error{Kind: dossier.KindInternal, Op: op, Err: err}
	}
	// All at once: as a stream it would take memory for the whole window of a frame, which
	// is larger than most results.
	text, err := z.DecodeAll(b, make([]byte, 0, min(usualRatio*len(b), 16<<20)))
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return LayerResult{}, dossier.Errorf(dossier.KindLimit, op, "", "it has more bytes than any result")
	}
	var r LayerResult
	if err == nil {
		// Nobody writes to text again: what is found in it may stay there.
		var ok bool
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

// usualRatio is by how much most results are compressed, or somewhat more.
const usualRatio = 6

// unpacker unpacks results, many at a time.
var unpacker = sync.OnceValues(func() (*zstd.Decoder, error) { return newUnpacker(maxEncoded) })

// newUnpacker returns one for texts of so many bytes at most.
func newUnpacker(limit uint64) (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxWindow(64<<20), zstd.WithDecoderMaxMemory(limit), zstd.WithDecoderLowmem(true))
}

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
