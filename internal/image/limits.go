// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"cmp"
	"fmt"
	"time"

	"dossier.dev/dossier"
)

// Limits bounds what is read. A zero field means its default. Errors name the
// field that was exceeded.
type Limits struct {
	Manifest       int64         // bytes of a manifest or an index; 4 MiB
	Config         int64         // bytes of a configuration; 8 MiB
	Layer          int64         // bytes of a layer as transferred; 32 GiB
	IndexEntries   int           // children of one index; 1000
	Nesting        int           // indexes within indexes, the root counted; 4
	Documents      int           // indexes, manifests and configurations of one image; 4000
	Redirects      int           // of one request; 5
	Retries        int           // of one request, after the first try; 4. Negative: none
	PerHost        int           // requests to one host that wait for an answer at a time; 8
	Wait           time.Duration // longest pause that a registry may ask for; 1 minute
	Time           time.Duration // for one Resolve or Read, pauses included; 2 minutes
	LayerTime      time.Duration // for one layer; 30 minutes
	Stall          time.Duration // without a byte of a layer, or the head of an answer; 30 seconds
	Archive        int64         // bytes of an archive when unpacked; 64 GiB
	ArchiveEntries int           // files in an archive; 100,000
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Manifest:       cmp.Or(l.Manifest, 4<<20),
		Config:         cmp.Or(l.Config, 8<<20),
		Layer:          cmp.Or(l.Layer, 32<<30),
		IndexEntries:   cmp.Or(l.IndexEntries, 1000),
		Nesting:        cmp.Or(l.Nesting, 4),
		Documents:      cmp.Or(l.Documents, 4000),
		Redirects:      cmp.Or(l.Redirects, 5),
		Retries:        cmp.Or(l.Retries, 4),
		PerHost:        cmp.Or(l.PerHost, 8),
		Wait:           cmp.Or(l.Wait, time.Minute),
		Time:           cmp.Or(l.Time, 2*time.Minute),
		LayerTime:      cmp.Or(l.LayerTime, 30*time.Minute),
		Stall:          cmp.Or(l.Stall, 30*time.Second),
		Archive:        cmp.Or(l.Archive, 64<<30),
		ArchiveEntries: cmp.Or(l.ArchiveEntries, 100_000),
	}
}

// limitError says that something is larger than a named limit.
func limitError(op, subject, name string, limit int64, found string) error {
	return dossier.Errorf(dossier.KindLimit, op, subject, fmt.Sprintf("%s, the limit %s is %d", found, name, limit))
}
