// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package layer

import "math/bits"

// A Huffman code is a table that is looked up with the next bits of the input. An entry
// holds all that a symbol means:
//
//	bits 0-5    bits to consume, those of the code and the extra ones behind it
//	bits 8-11   bits of the code alone
//	bit 13      it ends the block
//	bit 14      it leads to a second table, for codes longer than the first is wide
//	bit 15      it is no length and no distance: bit 13, bit 14, or no symbol at all
//	bits 16-30  the literal; what the extra bits are added to; the second table's place
//	bit 31      it is a literal
const (
	entryEnd     = 1 << 13
	entrySecond  = 1 << 14
	entryOther   = 1 << 15
	entryLiteral = 1 << 31
	entryBits    = 63 // mask of the bits to consume
)

const (
	maxCode    = 15 // bits of a code; RFC 1951 section 3.2.7
	symbolBits = 11 // of the first table for literals and lengths
	offsetBits = 9  // of the first table for distances
	lengthBits = 7  // of the table for the lengths of codes, which has no second

	maxSymbols = 288
	maxOffsets = 32
	// Each second table belongs to at least two codes.
	symbolTable = 1<<symbolBits + maxSymbols/2<<(maxCode-symbolBits)
	offsetTable = 1<<offsetBits + maxOffsets/2<<(maxCode-offsetBits)
)

// codes are the tables of a block.
type codes struct {
	symbols [symbolTable]uint32
	offsets [offsetTable]uint32
}

// Values of RFC 1951 section 3.2.5.
var (
	lengthBase = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthMore = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	offsetBase = [30]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	offsetMore = [30]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
	codeOrder  = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
)

// symbolEntry is what a literal, a length or the end of a block means, without its code.
func symbolEntry(symbol int) uint32 {
	switch {
	case symbol < 256:
		return entryLiteral | uint32(symbol)<<16
	case symbol == 256:
		return entryOther | entryEnd
	case symbol-257 < len(lengthBase):
		return uint32(lengthBase[symbol-257])<<16 | uint32(lengthMore[symbol-257])
	}
	return entryOther
}

// offsetEntry is the same for a distance.
func offsetEntry(symbol int) uint32 {
	if symbol < len(offsetBase) {
		return uint32(offsetBase[symbol])<<16 | uint32(offsetMore[symbol])
	}
	return entryOther
}

// fill makes the table of a code, of which lengths has the bits for each symbol, 0 for
// those that it lacks. width is how many bits the first table is looked up with. It
// reports whether the code is complete; one of a single symbol of one bit is, and one of
// none, which cannot be used (as zlib has it).
func fill(table []uint32, width int, lengths []uint8, entry func(symbol int) uint32) bool {
	var count [maxCode + 1]int
	for _, n := range lengths {
		count[n]++
	}
	count[0] = 0
	var next [maxCode + 2]int
	code, most := 0, 0
	for n := 1; n <= maxCode; n++ {
		code <<= 1
		next[n] = code
		code += count[n]
		if count[n] > 0 {
			most = n
		}
		if code > 1<<n {
			return false
		}
	}
	complete := code == 1<<maxCode
	if !complete && most > 1 {
		return false
	}
	if !complete || most > width {
		for i := range table[:1<<width] {
			table[i] = entryOther
		}
	}
	free := 1 << width // where the next second table goes
	for symbol, n := range lengths {
		if n == 0 {
			continue
		}
		n := int(n)
		at := int(bits.Reverse16(uint16(next[n]) << (16 - n)))
		next[n]++
		e := entry(symbol)
		if n <= width {
			e += uint32(n)<<8 | uint32(n)
			for i := at; i < 1<<width; i += 1 << n {
				table[i] = e
			}
			continue
		}
		first := at & (1<<width - 1)
		if table[first]&entrySecond == 0 {
			table[first] = entryOther | entrySecond | uint32(free)<<16
			free += 1 << (maxCode - width)
		}
		e += uint32(n-width)<<8 | uint32(n-width)
		base := int(table[first] >> 16)
		for i := at >> width; i < 1<<(maxCode-width); i += 1 << (n - width) {
			table[base+i] = e
		}
	}
	return true
}
