// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// Sizes of buffers, in bytes.
const (
	historyBytes = 32 << 10  // that a distance can reach back
	outputBytes  = 256 << 10 // decompressed before they are given out
	inputBytes   = 64 << 10
	// headerBytes is more than the head of a block takes. So many zeros follow the end
	// of the input, so that whoever looks ahead needs no other way there.
	headerBytes = 1 << 10
	spare       = 16 // read or written at once beyond what is there
	maxMatch    = 258

	maxEmptyReads = 100 // in a row; it counts reads
)

var (
	errGzipHeader   = errors.New("gzip: the header is broken")
	errGzipChecksum = errors.New("gzip: the checksum or the size is wrong")
	errDeflate      = errors.New("gzip: the compressed data are broken")
)

// gunzip decompresses gzip (RFC 1952) of any number of members. It decodes deflate (RFC
// 1951) with wide tables, a word of input at a time, into a buffer that holds what
// distances reach: nearly all the time that a layer takes is spent here.
type gunzip struct {
	src    io.Reader
	srcErr error // of src; io.EOF when all of it is in the buffer
	in     []byte
	pos    int // the first byte that is not in word
	end    int // of what came from src
	word   uint64
	have   uint64 // bits of word that are not used yet

	out   []byte
	given int // up to here, given out
	to    int // up to here, decompressed
	start int // of the member, or of what is left of it

	step   func(*gunzip) error // what comes next
	err    error               // after what is in out
	last   bool                // the block is the member's last
	stored int                 // bytes of the stored block that are left
	sum    uint32
	size   uint32
	tables *codes // of the block
	own    codes
	fixed  *codes
}

// newGunzip reads the header of the first member.
func newGunzip(src io.Reader) (*gunzip, error) {
	z := &gunzip{src: src, in: make([]byte, inputBytes+headerBytes+spare), out: make([]byte, historyBytes+outputBytes+maxMatch+spare), step: (*gunzip).blockHead}
	if err := z.header(); err != nil {
		return nil, noEOF(err)
	}
	return z, nil
}

// Read implements io.Reader.
func (z *gunzip) Read(p []byte) (int, error) {
	for z.given == z.to {
		if z.err != nil {
			return 0, z.err
		}
		if z.to >= historyBytes+outputBytes {
			moved := z.to - historyBytes
			copy(z.out, z.out[moved:z.to])
			z.given, z.to, z.start = historyBytes, historyBytes, max(0, z.start-moved)
		}
		from := z.to
		z.err = z.step(z)
		z.sum = crc32.Update(z.sum, crc32.IEEETable, z.out[from:z.to])
		z.size += uint32(z.to - from)
	}
	n := copy(p, z.out[z.given:z.to])
	z.given += n
	return n, nil
}

// Close implements io.Closer.
func (z *gunzip) Close() error { return nil }

// noEOF is err, which is of the middle of a member.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// need sees to it that n bytes, at most headerBytes, can be read from pos on. Behind the
// end of the input they are zeros, and short tells when one of these was used. It fails
// as src does, and then too what came before can be read and is followed by zeros.
func (z *gunzip) need(n int) error {
	if z.end-z.pos >= n || z.srcErr == io.EOF {
		return nil
	}
	if z.srcErr != nil {
		return z.srcErr
	}
	kept := max(0, z.pos-8) // byteAligned may go back
	z.end = copy(z.in, z.in[kept:z.end])
	z.pos -= kept
	for empty := 0; z.end-z.pos < n && z.srcErr == nil; empty++ {
		var got int
		got, z.srcErr = z.src.Read(z.in[z.end:inputBytes])
		z.end += got
		if got > 0 {
			empty = 0
		} else if empty > maxEmptyReads && z.srcErr == nil {
			z.srcErr = io.ErrNoProgress
		}
	}
	if z.srcErr != nil {
		clear(z.in[z.end:])
	}
	if z.end-z.pos < n && z.srcErr != io.EOF {
		return z.srcErr
	}
	return nil
}

// short reports whether more bits were used than there are.
func (z *gunzip) short() bool { return 8*(z.end-z.pos)+int(z.have) < 0 }

// byteAligned gives back the bytes that are in word, and drops the rest of the one that
// was begun.
func (z *gunzip) byteAligned() {
	z.pos -= int(z.have >> 3)
	z.word, z.have = 0, 0
}

// readByte reads a byte when no bits are in word.
func (z *gunzip) readByte() (byte, error) {
	if err := z.need(1); err != nil {
		return 0, err
	}
	if z.pos >= z.end {
		return 0, io.EOF
	}
	z.pos++
	return z.in[z.pos-1], nil
}

// header reads the header of a member (RFC 1952, section 2.3). io.EOF: there is none.
func (z *gunzip) header() error {
	var head [10]byte
	for i := range head {
		b, err := z.readByte()
		if err != nil && i > 0 {
			err = noEOF(err)
		}
		if err != nil {
			return err
		}
		head[i] = b
	}
	if head[0] != 0x1f || head[1] != 0x8b || head[2] != 8 {
		return errGzipHeader
	}
	const hasSum, hasExtra, hasName, hasComment = 1 << 1, 1 << 2, 1 << 3, 1 << 4
	sum := crc32.ChecksumIEEE(head[:])
	next := func() (b byte, err error) {
		b, err = z.readByte()
		sum = crc32.Update(sum, crc32.IEEETable, []byte{b})
		return b, noEOF(err)
	}
	if head[3]&hasExtra != 0 {
		low, err := next()
		if err != nil {
			return err
		}
		high, err := next()
		if err != nil {
			return err
		}
		for range int(high)<<8 | int(low) {
			if _, err := next(); err != nil {
				return err
			}
		}
	}
	for _, flag := range []byte{hasName, hasComment} {
		for head[3]&flag != 0 {
			b, err := next()
			if err != nil {
				return err
			}
			if b == 0 {
				break
			}
		}
	}
	if head[3]&hasSum != 0 {
		want := uint16(sum)
		low, err := next()
		if err != nil {
			return err
		}
		high, err := next()
		if err != nil {
			return err
		}
		if want != uint16(high)<<8|uint16(low) {
			return errGzipHeader
		}
	}
	z.sum, z.size, z.start, z.last = 0, 0, z.to, false
	return nil
}

// trailer checks the sum and the size of a member, and goes to the next.
func (z *gunzip) trailer() error {
	z.byteAligned()
	if err := z.need(8); err != nil {
		return err
	}
	if z.end-z.pos < 8 {
		return io.ErrUnexpectedEOF
	}
	if binary.LittleEndian.Uint32(z.in[z.pos:]) != z.sum || binary.LittleEndian.Uint32(z.in[z.pos+4:]) != z.size {
		return errGzipChecksum
	}
	z.pos += 8
	z.step = (*gunzip).blockHead
	return z.header()
}

// take returns the next n bits, at most 32, of those that need was asked for.
func (z *gunzip) take(n uint64) uint64 {
	z.refill()
	v := z.word & (1<<n - 1)
	z.word >>= n
	z.have -= n
	return v
}

// refill fills word up to 56 bits or more.
func (z *gunzip) refill() {
	z.word |= binary.LittleEndian.Uint64(z.in[z.pos:]) << (z.have & 63)
	z.pos += int((63 - z.have) >> 3)
	z.have |= 56
}

// blockHead reads the head of a block (RFC 1951, section 3.2.3).
func (z *gunzip) blockHead() error {
	if z.last {
		z.step = (*gunzip).trailer
		return nil
	}
	failed := z.need(headerBytes)
	if failed == nil {
		failed = io.ErrUnexpectedEOF
	}
	z.last = z.take(1) == 1
	kind := z.take(2)
	var err error
	switch kind {
	case 0:
		z.byteAligned()
		n := int(binary.LittleEndian.Uint16(z.in[z.pos:]))
		if binary.LittleEndian.Uint16(z.in[z.pos+2:]) != ^uint16(n) {
			err = errDeflate
		}
		z.pos += 4
		z.stored, z.step = n, (*gunzip).copyStored
	case 1:
		if z.fixed == nil {
			z.fixed = fixedCodes()
		}
		z.tables, z.step = z.fixed, (*gunzip).inflate
	case 2:
		z.tables, z.step = &z.own, (*gunzip).inflate
		err = z.readCodes()
	default:
		err = errDeflate
	}
	if z.short() {
		return failed
	}
	return err
}

// fixedCodes are the codes of section 3.2.6.
func fixedCodes() *codes {
	var lengths [maxSymbols]uint8
	for i := range lengths {
		switch {
		case i < 144 || i >= 280:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		default:
			lengths[i] = 7
		}
	}
	c := &codes{}
	fill(c.symbols[:], symbolBits, lengths[:], symbolEntry)
	for i := range maxOffsets {
		lengths[i] = 5
	}
	fill(c.offsets[:], offsetBits, lengths[:maxOffsets], offsetEntry)
	return c
}

// readCodes reads the codes of a block that has its own (section 3.2.7).
func (z *gunzip) readCodes() error {
	symbols, offsets, n := int(z.take(5))+257, int(z.take(5))+1, int(z.take(4))+4
	if symbols > 286 || offsets > 30 {
		return errDeflate
	}
	var order [19]uint8
	for _, at := range codeOrder[:n] {
		order[at] = uint8(z.take(3))
	}
	var table [1 << lengthBits]uint32
	if !fill(table[:], lengthBits, order[:], func(symbol int) uint32 { return uint32(symbol) << 16 }) {
		return errDeflate
	}
	var lengths [286 + 30]uint8
	for i := 0; i < symbols+offsets; {
		z.refill()
		e := table[z.word&(1<<lengthBits-1)]
		if e&entryOther != 0 {
			return errDeflate
		}
		z.word >>= e & entryBits
		z.have -= uint64(e & entryBits)
		symbol := e >> 16
		if symbol < 16 {
			lengths[i] = uint8(symbol)
			i++
			continue
		}
		var what uint8
		times := 0
		switch symbol {
		case 16:
			if i == 0 {
				return errDeflate
			}
			what, times = lengths[i-1], 3+int(z.take(2))
		case 17:
			times = 3 + int(z.take(3))
		case 18:
			times = 11 + int(z.take(7))
		}
		if i+times > symbols+offsets {
			return errDeflate
		}
		for range times {
			lengths[i] = what
			i++
		}
	}
	if lengths[256] == 0 { // the block would have no end
		return errDeflate
	}
	if !fill(z.own.symbols[:], symbolBits, lengths[:symbols], symbolEntry) || !fill(z.own.offsets[:], offsetBits, lengths[symbols:symbols+offsets], offsetEntry) {
		return errDeflate
	}
	return nil
}

// copyStored copies what is not compressed.
func (z *gunzip) copyStored() error {
	for z.stored > 0 && z.to < historyBytes+outputBytes {
		if err := z.need(1); err != nil {
			return err
		}
		if z.pos >= z.end {
			return io.ErrUnexpectedEOF
		}
		n := copy(z.out[z.to:historyBytes+outputBytes], z.in[z.pos:min(z.end, z.pos+z.stored)])
		z.to, z.pos, z.stored = z.to+n, z.pos+n, z.stored-n
	}
	if z.stored == 0 {
		z.step = (*gunzip).blockHead
	}
	return nil
}
