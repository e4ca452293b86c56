// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"encoding/binary"
	"io"
)

// inflate decodes symbols of a block until it ends, the buffer is full or the input
// must be read on.
func (z *gunzip) inflate() error {
	err := z.need(4 * spare)
	if z.end-z.pos < spare {
		return z.inflateSlowly(err)
	}
	return z.inflateFast()
}

// inflateFast decodes while there are at least spare bytes of input, and room for
// the longest match and as much again as is written at once.
func (z *gunzip) inflateFast() (err error) {
	in, out := z.in, z.out
	symbols, offsets := &z.tables.symbols, &z.tables.offsets
	pos, to, word, have := z.pos, z.to, z.word, z.have
	lastPos, lastTo := z.end-spare, historyBytes+outputBytes
	for pos <= lastPos && to < lastTo {
		word |= binary.LittleEndian.Uint64(in[pos:]) << (have & 63)
		pos += int((63 - have) >> 3)
		have |= 56
		e := symbols[word&(1<<symbolBits-1)]
		if e&entryLiteral != 0 { // up to three, of 33 bits together
			word >>= e & entryBits
			have -= uint64(e & entryBits)
			out[to] = byte(e >> 16)
			to++
			e = symbols[word&(1<<symbolBits-1)]
			if e&entryLiteral != 0 {
				word >>= e & entryBits
				have -= uint64(e & entryBits)
				out[to] = byte(e >> 16)
				to++
				e = symbols[word&(1<<symbolBits-1)]
				if e&entryLiteral != 0 {
					word >>= e & entryBits
					have -= uint64(e & entryBits)
					out[to] = byte(e >> 16)
					to++
					continue
				}
			}
		}
		if e&entryOther != 0 {
			if e&entrySecond != 0 {
				word >>= symbolBits
				have -= symbolBits
				e = symbols[uint64(e>>16)+word&(1<<(maxCode-symbolBits)-1)]
				if e&entryLiteral != 0 {
					word >>= e & entryBits
					have -= uint64(e & entryBits)
					out[to] = byte(e >> 16)
					to++
					continue
				}
			}
			if e&entryOther != 0 {
				if e&entryEnd == 0 {
					err = errDeflate
				} else {
					word >>= e & entryBits
					have -= uint64(e & entryBits)
					z.step = (*gunzip).blockHead
				}
				break
			}
		}
		length := int(e>>16) + int(word&(1<<(e&entryBits)-1)>>(e>>8&15))
		word >>= e & entryBits
		have -= uint64(e & entryBits)
		word |= binary.LittleEndian.Uint64(in[pos:]) << (have & 63)
		pos += int((63 - have) >> 3)
		have |= 56
		e = offsets[word&(1<<offsetBits-1)]
		if e&entryOther != 0 {
			if e&entrySecond == 0 {
				err = errDeflate
				break
			}
			word >>= offsetBits
			have -= offsetBits
			e = offsets[uint64(e>>16)+word&(1<<(maxCode-offsetBits)-1)]
			if e&entryOther != 0 {
				err = errDeflate
				break
			}
		}
		from := to - int(e>>16) - int(word&(1<<(e&entryBits)-1)>>(e>>8&15))
		word >>= e & entryBits
		have -= uint64(e & entryBits)
		if from < z.start {
			err = errDeflate
			break
		}
		end := to + length
		if to-from >= 8 {
			for {
				binary.LittleEndian.PutUint64(out[to:], binary.LittleEndian.Uint64(out[from:]))
				to += 8
				from += 8
				if to >= end {
					break
				}
			}
			to = end
			continue
		}
		to = repeat(out, from, to, end)
	}
	z.pos, z.to, z.word, z.have = pos, to, word, have
	return err
}

// repeat copies what overlaps, from less than 8 bytes before.
func repeat(out []byte, from, to, end int) int {
	if to-from == 1 {
		b := out[from]
		for i := range out[to:end] {
			out[to+i] = b
		}
		return end
	}
	for ; to < end; to++ {
		out[to] = out[from]
		from++
	}
	return to
}

// inflateSlowly decodes one symbol after another, and looks each time whether the input
// had it: the last ones. failed is why there is no more input; nil when it has ended.
func (z *gunzip) inflateSlowly(failed error) error {
	if failed == nil {
		failed = io.ErrUnexpectedEOF
	}
	symbols, offsets := &z.tables.symbols, &z.tables.offsets
	use := func(e uint32) int {
		more := int(z.word & (1<<(e&entryBits) - 1) >> (e >> 8 & 15))
		z.word >>= e & entryBits
		z.have -= uint64(e & entryBits)
		return int(e>>16) + more
	}
	for z.to < historyBytes+outputBytes {
		z.refill()
		e := symbols[z.word&(1<<symbolBits-1)]
		if e&entrySecond != 0 && e&entryLiteral == 0 {
			z.word >>= symbolBits
			z.have -= symbolBits
			e = symbols[int(e>>16)+int(z.word&(1<<(maxCode-symbolBits)-1))]
		}
		if e&entryLiteral != 0 {
			use(e)
			if z.short() {
				return failed
			}
			z.out[z.to] = byte(e >> 16)
			z.to++
			continue
		}
		if e&entryOther != 0 {
			use(e & entryBits)
			switch {
			case z.short():
				return failed
			case e&entryEnd == 0:
				return errDeflate
			}
			z.step = (*gunzip).blockHead
			return nil
		}
		length := use(e)
		z.refill()
		e = offsets[z.word&(1<<offsetBits-1)]
		if e&entrySecond != 0 && e&entryOther != 0 {
			z.word >>= offsetBits
			z.have -= offsetBits
			e = offsets[int(e>>16)+int(z.word&(1<<(maxCode-offsetBits)-1))]
		}
		if e&entryOther != 0 {
			if z.short() {
				return failed
			}
			return errDeflate
		}
		offset := use(e)
		if z.short() {
			return failed
		}
		if offset > z.to-z.start {
			return errDeflate
		}
		end := z.to + length
		for ; z.to < end; z.to++ {
			z.out[z.to] = z.out[z.to-offset]
		}
	}
	return nil
}
