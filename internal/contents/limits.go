// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"cmp"
	"time"

	"dossier.dev/dossier/internal/layer"
)

// Limits bound what is read of one layer. A zero field means its default. What
// exceeds one is Missed.
type Limits struct {
	Compressed int64         // bytes of the layer as transferred; 32 GiB. More is an error: the digest cannot be checked
	Unpacked   int64         // bytes of the layer decompressed; 64 GiB
	Entries    int           // entries of the layer; 2,000,000
	Name       int           // bytes of a path or a link's target; 4096
	Files      int           // files that extractors look into, programs and archives within archives included; 200,000
	Packages   int           // packages; 200,000
	Links      int           // symbolic links that are kept; 200,000
	Removed    int           // whiteouts and opaque directories that are kept; 200,000
	Text       int64         // bytes of the names, targets and packages that are kept; 64 MiB
	Database   int64         // bytes of a package database; 256 MiB
	Program    int64         // bytes of an executable; 1 GiB
	Archive    int64         // bytes of a jar, an egg, a wheel; 1 GiB
	Manifest   int64         // bytes of any other file, also inside archives; 4 MiB
	Directory  int64         // bytes of the table of contents of an archive; 8 MiB
	Nesting    int           // archives within archives; 5
	Inner      int64         // bytes of all archives within one archive; 2 GiB
	Memory     int64         // bytes of a file that is held in memory; what is larger is held in a file; 4 MiB
	FileTime   time.Duration // to extract one file; 30 seconds
	Time       time.Duration // to read the layer; 30 minutes. More is an error
}

func (l Limits) orDefault() Limits {
	return Limits{
		Compressed: cmp.Or(l.Compressed, 32<<30),
		Unpacked:   cmp.Or(l.Unpacked, 64<<30),
		Entries:    cmp.Or(l.Entries, 2_000_000),
		Name:       cmp.Or(l.Name, 4096),
		Files:      cmp.Or(l.Files, 200_000),
		Packages:   cmp.Or(l.Packages, 200_000),
		Links:      cmp.Or(l.Links, 200_000),
		Removed:    cmp.Or(l.Removed, 200_000),
		Text:       cmp.Or(l.Text, 64<<20),
		Database:   cmp.Or(l.Database, 256<<20),
		Program:    cmp.Or(l.Program, 1<<30),
		Archive:    cmp.Or(l.Archive, 1<<30),
		Manifest:   cmp.Or(l.Manifest, 4<<20),
		Directory:  cmp.Or(l.Directory, 8<<20),
		Nesting:    cmp.Or(l.Nesting, 5),
		Inner:      cmp.Or(l.Inner, 2<<30),
		Memory:     cmp.Or(l.Memory, 4<<20),
		FileTime:   cmp.Or(l.FileTime, 30*time.Second),
		Time:       cmp.Or(l.Time, 30*time.Minute),
	}
}

func (l Limits) layer() layer.Limits {
	return layer.Limits{Compressed: l.Compressed, Unpacked: l.Unpacked, Entries: l.Entries}
}

// maxMissed is how many Missed one layer lists; the last one says how many more
// there are.
const maxMissed = 1000
