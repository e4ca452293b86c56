// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"fmt"
	"testing"
	"time"

	"dossier.dev/dossier"
)

// BenchmarkBlocks makes blocks of pulls, as a registry has many: an operation is one pull.
func BenchmarkBlocks(b *testing.B) {
	begin := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	var list []dossier.AuditEntry
	r := &Recorder{config: RecorderConfig{Registry: "registry.example"}}
	fill := func() {
		list = list[:0]
		for i := range 4000 {
			e := dossier.AuditEntry{
				At: begin.Add(time.Duration(i) * 100 * time.Microsecond), Action: dossier.ActionPull, Repository: "bench/audit", Object: dossier.ObjectBlob,
				Digest: digests[i*7%len(digests)], Caller: dossier.AuditCaller{Kind: "anonymous"}, Address: "127.0.0.1:45678", Client: "Go-http-client/1.1",
				Status: 200, Bytes: 1000,
			}
			r.prepare(&e)
			list = append(list, e)
		}
	}
	b.ReportAllocs()
	for i := 0; i < b.N; i += 4000 {
		fill()
		if made := blocks(list); len(made) != 1 {
			b.Fatalf("%d blocks", len(made))
		}
	}
}

var digests = func() []dossier.Digest {
	var list []dossier.Digest
	for i := range 100 {
		list = append(list, dossier.FromBytes(fmt.Append(nil, i)))
	}
	return list
}()
