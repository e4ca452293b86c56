// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"dossier.dev/dossier"
)

// The form of a block's body: the version; the texts of all entries, each once,
// as their number and then length and bytes of each; the number of entries; and
// each entry. An entry is the microseconds since the one before it (the first:
// since the beginning of the block), flags, the number of each of its texts, and
// its numbers. All numbers are uvarints.

// Limits of a block.
const (
	maxEntries = 4096
	maxTexts   = 15 * maxEntries
	maxSpan    = time.Second // from the first entry to the last
)

const blockVersion = 1

// flagDenied is set in the flags of an entry that was refused.
const flagDenied = 1

// texts are the texts of an entry in the order in which a block has them. A
// fact is not among them: what is in a block has none.
func texts(e *dossier.AuditEntry) [15]*string {
	return [15]*string{
		(*string)(&e.Action), &e.Repository, (*string)(&e.Object), (*string)(&e.Digest), &e.Tag, (*string)(&e.Was), &e.Source,
		&e.Caller.Kind, &e.Caller.Name, &e.Caller.Pod, &e.Caller.PodUID, &e.Caller.Login, &e.Address, &e.Client, &e.Code,
	}
}

// encode writes entries, which must be in the order of time, as the body of a
// block that begins with the first.
func encode(entries []dossier.AuditEntry) []byte {
	var table, list []byte
	numbers := map[string]uint64{}
	number := func(s string) uint64 {
		n, ok := numbers[s]
		if !ok {
			n = uint64(len(numbers))
			numbers[s] = n
			table = binary.AppendUvarint(table, uint64(len(s)))
			table = append(table, s...)
		}
		return n
	}
	// Most texts are those of the entry before.
	var before [15]string
	var numberBefore [15]uint64
	for i := range before {
		numberBefore[i] = number("")
	}
	var last time.Time
	if len(entries) > 0 {
		last = entries[0].At
	}
	for i := range entries {
		e := &entries[i]
		list = binary.AppendUvarint(list, uint64(max(0, e.At.UnixMicro()-last.UnixMicro())))
		last = e.At
		flags := uint64(0)
		if e.Denied {
			flags |= flagDenied
		}
		list = binary.AppendUvarint(list, flags)
		for k, s := range texts(e) {
			if *s != before[k] {
				before[k], numberBefore[k] = *s, number(*s)
			}
			list = binary.AppendUvarint(list, numberBefore[k])
		}
		for _, n := range []int64{int64(e.Status), e.Bytes, e.Count} {
			list = binary.AppendUvarint(list, uint64(max(0, n)))
		}
	}
	body := binary.AppendUvarint([]byte{blockVersion}, uint64(len(numbers)))
	body = append(body, table...)
	body = binary.AppendUvarint(body, uint64(len(entries)))
	return append(body, list...)
}

// decode reads what encode wrote. It fails when the body is not of that form.
func decode(from time.Time, body []byte) ([]dossier.AuditEntry, error) {
	r := &blockReader{rest: body}
	if len(body) == 0 || body[0] != blockVersion {
		return nil, errBlock("its version is not known")
	}
	r.rest = body[1:]
	table := make([]string, r.count(maxTexts))
	for i := range table {
		table[i] = r.text()
	}
	entries := make([]dossier.AuditEntry, r.count(maxEntries))
	at := from
	for i := range entries {
		e := &entries[i]
		at = at.Add(time.Duration(r.count(uint64(24*time.Hour/time.Microsecond))) * time.Microsecond)
		e.At = at
		e.Denied = r.count(math.MaxUint8)&flagDenied != 0
		for _, s := range texts(e) {
			if n := r.count(math.MaxInt32); n < uint64(len(table)) {
				*s = table[n]
			} else {
				r.fail("a text is not there")
			}
		}
		e.Status = int(r.count(math.MaxInt32))
		e.Bytes, e.Count = int64(r.count(math.MaxInt64)), int64(r.count(math.MaxInt64))
		if r.err != nil {
			break
		}
	}
	if r.err == nil && len(r.rest) > 0 {
		r.fail("there is something behind its end")
	}
	return entries, r.err
}

// errBlock says what is wrong with a block.
func errBlock(why string) error {
	return dossier.Errorf(dossier.KindCorrupt, "reading a block of the audit", "", why)
}

const short = "it ends early"

// blockReader reads a body and remembers the first fault.
type blockReader struct {
	rest []byte
	err  error
}

func (r *blockReader) fail(why string) {
	if r.err == nil {
		r.err = errBlock(why)
	}
	r.rest = nil
}

// count reads a number of at most limit.
func (r *blockReader) count(limit uint64) uint64 {
	n, size := binary.Uvarint(r.rest)
	switch {
	case size <= 0:
		r.fail(short)
		return 0
	case n > limit:
		r.fail(fmt.Sprintf("a number in it is %d, the limit there is %d", n, limit))
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *blockReader) text() string {
	n := r.count(uint64(len(r.rest)))
	if n > uint64(len(r.rest)) {
		r.fail(short)
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}
