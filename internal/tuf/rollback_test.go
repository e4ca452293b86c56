// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

func TestRollbackOfTimestamp(t *testing.T) {
	w, site, _ := tagged(t)
	old := w.file(Timestamp)
	w.push(testPrefix+"/site", "2", "next")
	w.step()
	w.good(w.ask("site", "1", site))
	w.web.replace("timestamp.json", old.Body)
	w.bad(w.ask("site", "1", site), ReasonRollback)
	// Another process with the same store knows it too, and the attack has changed nothing.
	w.web.restore()
	w.good(w.ask("site", "1", site))
}

// TestRollbackOfSnapshot: who has the online key names an older snapshot by a newer timestamp.
func TestRollbackOfSnapshot(t *testing.T) {
	w, site, _ := tagged(t)
	old := w.file(Snapshot)
	moved := w.push(testPrefix+"/site", "1", "moved")
	w.step()
	w.good(w.ask("site", "1", moved))
	w.web.replace(fmt.Sprintf("%d.snapshot.json", old.Version), old.Body)
	forge(w, Timestamp, "timestamp.json", func(m *stampFile) {
		m.Signed.Version++
		m.Signed.Meta[Snapshot+".json"] = &metadata.MetaFiles{Version: old.Version}
	}, w.stolen())
	w.bad(w.ask("site", "1", site), ReasonRollback)
}

// TestRollbackOfTargets: who has the online key makes a newer snapshot that names an older file of a
// role, or none.
func TestRollbackOfTargets(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(meta map[string]*metadata.MetaFiles, old int64)
	}{
		{"older version", func(meta map[string]*metadata.MetaFiles, old int64) {
			meta["release.json"] = &metadata.MetaFiles{Version: old}
		}},
		{"gone", func(meta map[string]*metadata.MetaFiles, _ int64) { delete(meta, "release.json") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, _, app := tagged(t)
			old := w.file("release")
			next := w.push(testPrefix+"/app", "1", "fixed")
			w.releaseTag("1", next, 35)
			w.good(w.ask("app", "1", next))
			w.web.replace(fmt.Sprintf("%d.release.json", old.Version), old.Body)
			snapshot := forge(w, Snapshot, "", func(m *snapFile) {
				m.Signed.Version++
				tt.change(m.Signed.Meta, old.Version)
			}, w.stolen())
			forge(w, Timestamp, "timestamp.json", func(m *stampFile) {
				m.Signed.Version++
				m.Signed.Meta[Snapshot+".json"] = &metadata.MetaFiles{Version: snapshot.Version}
			}, w.stolen())
			w.bad(w.ask("app", "1", app), ReasonRollback)
		})
	}
}

// TestRollbackAfterRotation: owners have replaced the online key, so snapshots begin anew; their own
// files still do not go back. The specification leaves that open.
func TestRollbackAfterRotation(t *testing.T) {
	w, _, app := tagged(t)
	old := w.file("release")
	next := w.push(testPrefix+"/app", "1", "fixed")
	w.releaseTag("1", next, 35)
	w.good(w.ask("app", "1", next))
	w.rotateOnline()
	w.web.replace(fmt.Sprintf("%d.release.json", old.Version), old.Body)
	snapshot := forge(w, Snapshot, "", func(m *snapFile) {
		m.Signed.Meta["release.json"] = &metadata.MetaFiles{Version: old.Version}
	}, w.stolen())
	forge(w, Timestamp, "timestamp.json", func(m *stampFile) {
		m.Signed.Meta[Snapshot+".json"] = &metadata.MetaFiles{Version: snapshot.Version}
	}, w.stolen())
	w.bad(w.ask("app", "1", app), ReasonRollback)
}

// rotateOnline replaces the online key in root and targets.
func (w *world) rotateOnline() {
	w.Helper()
	_, err := w.repo.NewOnlineKey(w.Context(), testPrefix)
	w.must(err)
	w.pass(time.Second)
	s, err := w.repo.NewOnlineKey(w.Context(), testPrefix)
	w.must(err)
	text, err := PublicPEM(s.Key)
	w.must(err)
	_, err = w.ceremony.ChangeKeys(KeyChange{Role: Online, Add: text})
	w.must(err)
	w.sign(Root, w.root[1], w.root[2])
	w.sign(Targets, w.targets)
	w.publish()
}

// TestFreeze: who stands in between gives what was good for as long as he can.
func TestFreeze(t *testing.T) {
	w, site, _ := tagged(t)
	w.web.replace("timestamp.json", w.file(Timestamp).Body)
	w.pass(TimestampLife - time.Minute)
	w.step()
	w.good(w.ask("site", "1", site))
	w.bad(w.ask("site", "1", site, func(q *Request) { q.MaxAge = 2 * time.Hour }), ReasonFreeze)
	w.pass(2 * time.Minute)
	w.bad(w.ask("site", "1", site), ReasonFreeze)
	w.web.restore()
	w.good(w.ask("site", "1", site))
}

// TestExpired: each file that is not the timestamp.
func TestExpired(t *testing.T) {
	w, _, app := tagged(t)
	w.pass(TargetsLife + time.Hour)
	w.step()
	w.bad(w.ask("app", "1", app), ReasonExpired)
	w.must(w.ceremony.Renew(Targets))
	w.sign(Targets, w.targets)
	w.must(w.ceremony.Renew("release"))
	w.sign("release", w.release)
	w.publish()
	w.good(w.ask("app", "1", app))

	w.pass(RootLife - TargetsLife)
	w.step()
	w.bad(w.ask("app", "1", app), ReasonExpired) // root
	w.must(w.ceremony.Renew(Root))
	w.sign(Root, w.root[0], w.root[2])
	w.must(w.ceremony.Renew(Targets))
	w.sign(Targets, w.targets)
	w.must(w.ceremony.Renew("release"))
	w.sign("release", w.release)
	w.publish()
	w.good(w.ask("app", "1", app))
}

// TestMixAndMatch: files that were each good, but not at the same time.
func TestMixAndMatch(t *testing.T) {
	w := newWorld(t)
	site := w.push(testPrefix+"/site", "1", "site")
	w.step()
	old, oldBin := w.file(Snapshot), w.file(bin(testPrefix+"/site:1"))
	moved := w.push(testPrefix+"/site", "1", "moved")
	w.step()
	now := w.file(Snapshot)
	w.web.replace(fmt.Sprintf("%d.snapshot.json", now.Version), old.Body)
	w.bad(w.ask("site", "1", site), ReasonMix)
	w.web.restore()
	newBin := w.file(oldBin.Role)
	w.web.replace(fmt.Sprintf("%d.%s.json", newBin.Version, newBin.Role), oldBin.Body)
	w.bad(w.ask("site", "1", site), ReasonMix)
	w.web.restore()
	w.good(w.ask("site", "1", moved))
}

// TestFastForward: who had the online key has signed the highest versions there are, and clients have
// seen them. Owners replace the key, and clients go on.
func TestFastForward(t *testing.T) {
	w, site, _ := tagged(t)
	snapshot := forge(w, Snapshot, "", func(m *snapFile) { m.Signed.Version = math.MaxInt32 }, w.stolen())
	forge(w, Timestamp, "timestamp.json", func(m *stampFile) {
		m.Signed.Version = math.MaxInt32
		m.Signed.Meta[Snapshot+".json"] = &metadata.MetaFiles{Version: snapshot.Version}
	}, w.stolen())
	w.good(w.ask("site", "1", site))
	w.web.restore()
	w.bad(w.ask("site", "1", site), ReasonRollback)
	w.rotateOnline()
	w.good(w.ask("site", "1", site))
	if v := trustedOf(w)[Timestamp].Version; v > 100 {
		t.Errorf("version %d of timestamp is still kept", v)
	}
}

// TestClockGoesBack: who puts the clock back makes nothing good again.
func TestClockGoesBack(t *testing.T) {
	w, site, _ := tagged(t)
	old := w.file(Timestamp)
	w.pass(TimestampLife + time.Hour)
	w.step()
	w.good(w.ask("site", "1", site))
	w.pass(-TimestampLife - time.Hour) // now the old one has not expired
	w.web.replace("timestamp.json", old.Body)
	w.bad(w.ask("site", "1", site), ReasonClock)
	offline := w.verifier()
	offline.Source = nil
	r, err := offline.Verify(t.Context(), Request{Source: testSource, Repository: testPrefix + "/site", Tag: "1", Digest: site})
	w.must(err)
	w.bad(r, ReasonClock)
	// Clocks that differ a little are nothing.
	w.pass(TimestampLife + time.Hour - maxSkew)
	w.web.restore()
	w.good(w.ask("site", "1", site))
}
