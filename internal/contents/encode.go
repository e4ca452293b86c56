// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

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

func decode(b []byte, limit int64) (LayerResult, error) {
	const op = "reading contents of layer"
	var r LayerResult
	z, err := decoder()
	if err != nil {
		return r, &dossier.Error{Kind: dossier.KindInternal, Op: op, Err: err}
	}
	defer decoders.Put(z)
	if err := z.Reset(bytes.NewReader(b)); err != nil {
		return r, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: err}
	}
	text := bounded{limit: limit}
	text.b.Grow(int(min(limit, int64(len(b))*4, 16<<20)))
	if _, err = z.WriteTo(&text); text.over {
		return r, dossier.Errorf(dossier.KindLimit, op, "", fmt.Sprintf("it has more than %d bytes", limit))
	}
	if err == nil {
		var ok bool
		if r, ok = scan(text.b.String()); ok {
			return r, nil
		}
		r = LayerResult{}
		err = json.Unmarshal([]byte(text.b.String()), &r)
	}
	if err != nil {
		return LayerResult{}, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: err}
	}
	return r, nil
}

// bounded is a text of limit bytes at most.
type bounded struct {
	b     strings.Builder
	limit int64
	over  bool // there was more
}

func (t *bounded) Write(b []byte) (int, error) {
	if int64(t.b.Len()+len(b)) > t.limit {
		t.over = true
		return 0, io.ErrShortWrite
	}
	return t.b.Write(b)
}

// decoders keeps what zstd needs to unpack: a window, above all.
var decoders sync.Pool

func decoder() (*zstd.Decoder, error) {
	if z, ok := decoders.Get().(*zstd.Decoder); ok {
		return z, nil
	}
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(64<<20), zstd.WithDecoderLowmem(true))
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
