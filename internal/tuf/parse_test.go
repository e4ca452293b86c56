// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"path"
	"strings"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"dossier.dev/dossier"
)

// FuzzFile gives any bytes to what reads files of metadata: none may bring it down.
func FuzzFile(f *testing.F) {
	f.Add([]byte(`{"signatures":[],"signed":{"_type":"root","spec_version":"1.0.31","version":1,"expires":"2030-01-01T00:00:00Z","keys":{},"roles":{}}}`))
	f.Add([]byte(`{"signatures":[{"keyid":"a","sig":"00"}],"signed":{"_type":"targets","spec_version":"1","version":1,"expires":"2030-01-01T00:00:00Z","targets":{"a/b:c":{"length":1,"hashes":{"sha256":"00"},"custom":{"dossier":{"pushedAt":"x"}}}}}}`))
	f.Add([]byte(`{"signed":null}`))
	for _, typ := range []string{Root, Timestamp, Snapshot, Targets} { // what is null where it is not expected
		f.Add([]byte(`{"signatures":null,"signed":{"_type":"` + typ + `","spec_version":"1.0.31","version":1,"expires":"2030-01-01T00:00:00Z",
			"keys":{"a":null},"roles":{"root":null},"meta":{"snapshot.json":null},"targets":{"a:b":null},"delegations":{"keys":{"a":null},"roles":null}}}`))
		f.Add([]byte(`{"signatures":[null],"signed":{"_type":"` + typ + `","spec_version":"1.0.31","version":1,"expires":"2030-01-01T00:00:00Z","delegations":null}}`))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := parse[metadata.RootType](Root, b); err == nil {
			_ = m.VerifyDelegate(Root, m)
			_ = checkRoot(m, "a")
		}
		if m, err := parse[metadata.TimestampType](Timestamp, b); err == nil {
			signedAt(m)
		}
		_, _ = parse[metadata.SnapshotType](Snapshot, b)
		if m, err := parse[metadata.TargetsType](Targets, b); err == nil {
			_ = checkNames(Targets, m, "a", nil)
			for _, target := range m.Signed.Targets {
				pushedAt(target)
			}
		}
	})
}

// FuzzTarget: what passes for the name of a target is REPOSITORY:TAG and leads nowhere else as a path.
func FuzzTarget(f *testing.F) {
	for _, name := range []string{"team/web/app:1.4", "../x:1", "a/../b:1", "/a:1", "a//b:1", "a:..", "a:", ":1", "a:b:c", "a:%2e%2e", "A:1", "a\x00:1", "a/.:1"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		repository, tag, err := ParseTarget(name)
		if err != nil {
			if dossier.KindOf(err) != dossier.KindInvalid {
				t.Errorf("%q: %v", name, err)
			}
			return
		}
		if again, err := TargetName(repository, tag); err != nil || again != name {
			t.Errorf("%q is %q again: %v", name, again, err)
		}
		if path.Clean("x/"+name) != "x/"+name || path.IsAbs(name) || strings.ContainsAny(name, `%\?# `) {
			t.Errorf("%q leads elsewhere", name)
		}
	})
}
