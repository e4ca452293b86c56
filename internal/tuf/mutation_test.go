// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"dossier.dev/dossier"
)

// droppedEnv is an environment variable that names a check which verifiers in tests do not make.
const droppedEnv = "DOSSIER_TEST_DROPPED"

// TestEachCheckCounts drops one check at a time: a test of an attack must then fail, or nobody would miss it.
func TestEachCheckCounts(t *testing.T) {
	if os.Getenv(droppedEnv) != "" {
		t.Skip("it is the test that is run by itself")
	}
	missedBy := map[string]string{
		"prefix of root":      "TestPinning",
		"pinned root":         "TestPinning",
		"expiry of root":      "TestExpiredOffline",
		"clock":               "TestClockGoesBack",
		"expiry of timestamp": "TestFreeze",
		"version of snapshot": "TestVersionsThatDiffer",
		"age":                 "TestFreeze",
		"age unknown":         "TestAgeUnknown",
		"roles looked into":   "TestManyRoles",
		"role named twice":    "TestSharedRoleName",
		"two delegators":      "TestSharedRoleName",
		"version of role":     "TestMixAndMatch",
		"rollback of role":    "TestRollbackAfterRotation",
		"digest":              "TestStolenOnlineKey",
		"length":              "TestWrongLength",
	}
	for _, check := range checks() {
		t.Run(check, func(t *testing.T) {
			t.Parallel()
			name := missedBy[check]
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+name+"$", "-test.failfast")
			cmd.Env = append(os.Environ(), droppedEnv+"="+check)
			out, err := cmd.CombinedOutput()
			exit, ok := errors.AsType[*exec.ExitError](err)
			if name == "" || !ok || exit.ExitCode() != 1 || !strings.Contains(string(out), "--- FAIL: "+name) {
				t.Errorf("without it %s does not fail: %v\n%s", name, err, out)
			}
		})
	}
}

// TestExpiredOffline: what is kept is no longer believed than its root holds.
func TestExpiredOffline(t *testing.T) {
	w, site, _ := tagged(t)
	w.must(w.ceremony.editRoot(func(*metadata.RootType) error { return nil }))
	root, err := readRole[metadata.RootType](w.ceremony, Root)
	w.must(err)
	root.Signed.Expires = w.now().Add(time.Hour)
	w.must(writeRole(w.ceremony, fileOfRoot(2), Root, root))
	w.sign(Root, w.root[0], w.root[1])
	w.publish()
	w.good(w.ask("site", "1", site))
	w.pass(2 * time.Hour)
	v := w.verifier()
	v.Source = nil
	r, err := v.Verify(t.Context(), Request{Source: testSource, Repository: testPrefix + "/site", Tag: "1", Digest: site})
	w.must(err)
	w.bad(r, ReasonExpired)
}

// TestVersionsThatDiffer: the timestamp names a snapshot by its version alone, and the file of that name says another.
func TestVersionsThatDiffer(t *testing.T) {
	w, site, _ := tagged(t)
	newer := forge(w, Snapshot, "", func(m *snapFile) { m.Signed.Version += 7 }, w.stolen())
	w.web.replace(fmt.Sprintf("%d.snapshot.json", newer.Version-6), newer.Body)
	forge(w, Timestamp, "timestamp.json", func(m *stampFile) {
		m.Signed.Version++
		m.Signed.Meta[Snapshot+".json"] = &metadata.MetaFiles{Version: newer.Version - 6}
	}, w.stolen())
	w.bad(w.ask("site", "1", site), ReasonMix)
}

// TestManyRoles: the owners of a repository elsewhere delegate a tag to more roles than are looked into, the last of which
// speaks of it.
func TestManyRoles(t *testing.T) {
	w := newWorld(t)
	d := w.push(testPrefix+"/site", "1", "site")
	target, err := newTarget(testPrefix+"/site:1", d, 9, w.now())
	w.must(err)
	versions := map[string]int64{}
	var roles []metadata.DelegatedRole
	for i := range maxVisit + 1 {
		name := fmt.Sprintf("role-%d", i)
		roles = append(roles, metadata.DelegatedRole{Name: name, KeyIDs: []string{w.release.ID}, Threshold: 1, Paths: []string{testPrefix + "/site:*"}})
		m := metadata.Targets(w.now().Add(time.Hour))
		if i == maxVisit {
			m.Signed.Targets[testPrefix+"/site:1"] = target
		}
		f, err := sign(name, m, w.release.Signer)
		w.must(err)
		w.web.replace("1."+name+".json", f.Body)
		versions[name] = 1
	}
	f := forge(w, Targets, "", func(m *roleFile) {
		m.Signed.Version++
		m.Signed.Delegations.Roles = roles
		m.Signed.Delegations.Keys = map[string]*metadata.Key{w.release.ID: w.release.Key}
	}, w.targets.Signer)
	versions[Targets] = f.Version
	w.forgeAround(versions)
	w.bad(w.ask("site", "1", d), ReasonUnknown)
}

// TestFastForwardOfOwner: who had the key of an owner's role has signed the highest version there is, and clients have seen
// it. Owners replace that key, and the online key, so that clients drop the snapshot that named it.
func TestFastForwardOfOwner(t *testing.T) {
	w, _, app := tagged(t)
	last, err := parse[metadata.TargetsType]("release", w.file("release").Body)
	w.must(err)
	last.Signed.Version = 1<<31 - 1
	f, err := sign("release", last, w.release.Signer)
	w.must(err)
	w.must(w.repo.Publish(t.Context(), testPrefix, Publication{Roles: map[string][]byte{"release": f.Body}}))
	w.good(w.ask("app", "1", app))
	thief := w.release
	w.release = newOwner(t)
	_, err = w.ceremony.ChangeKeys(KeyChange{Role: "release", Add: w.release.public, Remove: thief.ID})
	w.must(err)
	w.sign(Targets, w.targets)
	fixed := w.push(testPrefix+"/app", "1", "fixed")
	w.must(w.ceremony.AddTarget("release", testPrefix+"/app:1", fixed, 35))
	w.sign("release", w.release)
	w.publish()
	w.bad(w.ask("app", "1", fixed), ReasonRollback)
	w.rotateOnline()
	w.good(w.ask("app", "1", fixed))
	w.bad(w.ask("app", "1", app), ReasonDigest)
	if err := w.repo.Publish(t.Context(), testPrefix, Publication{Roles: map[string][]byte{"release": f.Body}}); dossier.KindOf(err) != dossier.KindDenied {
		t.Errorf("what the old key has signed is taken: %v", err)
	}
}

// TestThresholdOfRoot: a version of root needs both the owners before it and its own, each as many as their root says.
func TestThresholdOfRoot(t *testing.T) {
	for _, tt := range []struct {
		name    string
		signers func(w *world, fresh []owner) []owner
		want    Reason
	}{
		{"enough of both", func(w *world, fresh []owner) []owner { return append(slices.Clone(w.root[:2]), fresh...) }, ""},
		{"one of the old is missing", func(w *world, fresh []owner) []owner { return append([]owner{w.root[0]}, fresh...) }, ReasonThreshold},
		{"one of the new is missing", func(w *world, fresh []owner) []owner { return append(slices.Clone(w.root[:2]), fresh[0], fresh[1]) }, ReasonThreshold},
		{"one of the old twice", func(w *world, fresh []owner) []owner { return append([]owner{w.root[0], w.root[0]}, fresh...) }, ReasonMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, site, _ := tagged(t)
			fresh := []owner{newOwner(t), newOwner(t), newOwner(t)}
			var signers []Signer
			for _, o := range tt.signers(w, fresh) {
				signers = append(signers, o.Signer)
			}
			forge(w, Root, "", func(m *rootFile) {
				m.Signed.Version++
				m.Signed.Roles[Root].KeyIDs, m.Signed.Roles[Root].Threshold = nil, 3
				for _, o := range fresh {
					m.Signed.Keys[o.ID] = o.Key
					m.Signed.Roles[Root].KeyIDs = append(m.Signed.Roles[Root].KeyIDs, o.ID)
				}
			}, signers...)
			r := w.ask("site", "1", site)
			if tt.want == "" {
				w.good(r)
			} else {
				w.bad(r, tt.want)
			}
		})
	}
}
