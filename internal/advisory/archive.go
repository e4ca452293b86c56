// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"dossier.dev/dossier"
)

const opArchive = "reading archive of advisories"

// Refused is a record that could not be read. The others of its feed can.
type Refused struct {
	Name string // of its file
	Err  error
}

// Error says which record, and why.
func (r *Refused) Error() string { return fmt.Sprintf("%s: %v", r.Name, r.Err) }

// Unwrap returns the cause.
func (r *Refused) Unwrap() error { return r.Err }

// ReadArchive yields the records of a zip archive in the order in which they lie
// there. Each is a file "ID.json"; its sum is checked. A record that Parse does
// not accept is yielded as *Refused, and the next ones follow; any other error
// ends it.
//
// KindCorrupt: the archive is damaged, or a record is not the one it is named
// for. KindLimit: a limit of the archive as a whole is exceeded.
func ReadArchive(at io.ReaderAt, size int64, limits Limits) iter.Seq2[Record, error] {
	limits = limits.orDefault()
	return func(yield func(Record, error) bool) {
		files, err := list(at, size, limits)
		if err != nil {
			yield(Record{}, err)
			return
		}
		left := limits.Unpacked
		seen := make(map[string]bool, len(files))
		for _, f := range files {
			r, err := readMember(f, &left, limits)
			if err == nil && seen[r.ID] {
				err = corrupt(f.Name, errors.New("there are two records with this ID"))
			}
			if err == nil {
				seen[r.ID] = true
			}
			if _, refused := errors.AsType[*Refused](err); !yield(r, err) || err != nil && !refused {
				return
			}
		}
	}
}

func corrupt(name string, err error) error {
	return &dossier.Error{Kind: dossier.KindCorrupt, Op: opArchive, Subject: printable(name), Err: err}
}

// list returns the members of an archive. Its table of contents, which is read
// into memory, is bounded.
func list(at io.ReaderAt, size int64, limits Limits) ([]*zip.File, error) {
	if size > limits.Archive {
		return nil, exceeds(opArchive, "", "Archive", size, limits.Archive, "bytes")
	}
	table := &tableReader{at: at, left: limits.Directory + tableSlack}
	z, err := zip.NewReader(table, size)
	if table.exceeded {
		return nil, dossier.Errorf(dossier.KindLimit, opArchive, "", fmt.Sprintf("its table of contents has more than %d bytes, the limit Directory", limits.Directory))
	}
	if err != nil {
		return nil, corrupt("", err)
	}
	table.free = true
	if len(z.File) > limits.Records {
		return nil, exceeds(opArchive, "", "Records", int64(len(z.File)), int64(limits.Records), "records")
	}
	return z.File, nil
}

// tableSlack is what a reader of zip reads besides the table of contents, to find
// it.
const tableSlack = 256 << 10

// tableReader bounds how much is read until it is set free.
type tableReader struct {
	at             io.ReaderAt
	left           int64
	free, exceeded bool
}

// ReadAt reads, or fails beyond the bound.
func (t *tableReader) ReadAt(p []byte, off int64) (int, error) {
	if t.left -= int64(len(p)); t.left < 0 && !t.free {
		t.exceeded = true
		return 0, errors.New("the table of contents is too large")
	}
	return t.at.ReadAt(p, off)
}

// readMember reads one record.
func readMember(f *zip.File, left *int64, limits Limits) (Record, error) {
	id, isJSON := strings.CutSuffix(f.Name, ".json")
	if !isJSON || !idPattern.MatchString(id) || !f.Mode().IsRegular() {
		return Record{}, corrupt(f.Name, errors.New("a record must be a file ID.json"))
	}
	if f.UncompressedSize64 > uint64(limits.Record) {
		return Record{}, &Refused{f.Name, exceeds(opParse, id, "Record", int64(min(f.UncompressedSize64, 1<<62)), limits.Record, "bytes")}
	}
	if *left -= int64(f.UncompressedSize64); *left < 0 {
		return Record{}, dossier.Errorf(dossier.KindLimit, opArchive, "", fmt.Sprintf("its records have more than %d bytes, the limit Unpacked", limits.Unpacked))
	}
	body, err := f.Open()
	if err != nil {
		return Record{}, corrupt(f.Name, err)
	}
	defer body.Close()
	b := make([]byte, f.UncompressedSize64)
	if _, err := io.ReadFull(body, b); err != nil {
		return Record{}, corrupt(f.Name, err)
	}
	if n, err := body.Read(make([]byte, 1)); n != 0 || err != io.EOF { // the sum is checked at the end
		return Record{}, corrupt(f.Name, fmt.Errorf("it is longer than it says, or its sum is wrong: %w", orEOF(err)))
	}
	return readRecord(f.Name, id, b, limits)
}

func orEOF(err error) error {
	if err == nil {
		return errors.New("bytes follow")
	}
	return err
}

// readRecord parses a record that lies under a name.
func readRecord(name, id string, b []byte, limits Limits) (Record, error) {
	a, err := Parse(b, limits)
	if err != nil {
		return Record{}, &Refused{printable(name), err}
	}
	if a.ID != id {
		return Record{}, corrupt(name, fmt.Errorf("it has the ID %s", a.ID))
	}
	return Record{Advisory: a, Bytes: b}, nil
}
