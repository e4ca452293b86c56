// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import "cmp"

// Limits bound what is read. A zero field means its default. What exceeds one is
// a KindLimit error that names it.
type Limits struct {
	Record    int64 // bytes of one record; 16 MiB
	Nesting   int   // objects and lists within one another, in any JSON; 64
	Affected  int   // packages that a record names; 20,000
	Events    int   // events in all ranges of a record; 50,000
	Range     int   // events in one range; comparing takes longer the more there are; 2,000
	Versions  int   // versions that a record lists; 100,000
	Names     int   // aliases, upstream and related IDs of a record; 5,000
	Imports   int   // Go packages and symbols that a record names; 50,000
	Text      int   // bytes of an ID, a version or the name of a package or ecosystem; 1024
	Archive   int64 // bytes of an archive; 2 GiB
	Directory int64 // bytes of the table of contents of an archive; 256 MiB
	Records   int   // records of a feed; 2,000,000
	Unpacked  int64 // bytes of all records of a feed; 32 GiB
	Document  int64 // bytes of a document that is converted; 512 MiB
	Table     int64 // bytes of a list of changes, or of EPSS; 512 MiB
}

func (l Limits) orDefault() Limits {
	return Limits{
		Record:    cmp.Or(l.Record, 16<<20),
		Nesting:   cmp.Or(l.Nesting, 64),
		Affected:  cmp.Or(l.Affected, 20_000),
		Events:    cmp.Or(l.Events, 50_000),
		Range:     cmp.Or(l.Range, 2_000),
		Versions:  cmp.Or(l.Versions, 100_000),
		Names:     cmp.Or(l.Names, 5_000),
		Imports:   cmp.Or(l.Imports, 50_000),
		Text:      cmp.Or(l.Text, 1024),
		Archive:   cmp.Or(l.Archive, 2<<30),
		Directory: cmp.Or(l.Directory, 256<<20),
		Records:   cmp.Or(l.Records, 2_000_000),
		Unpacked:  cmp.Or(l.Unpacked, 32<<30),
		Document:  cmp.Or(l.Document, 512<<20),
		Table:     cmp.Or(l.Table, 512<<20),
	}
}
