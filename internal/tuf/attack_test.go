// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"dossier.dev/dossier"
)

type (
	rootFile  = metadata.Metadata[metadata.RootType]
	stampFile = metadata.Metadata[metadata.TimestampType]
	snapFile  = metadata.Metadata[metadata.SnapshotType]
	roleFile  = metadata.Metadata[metadata.TargetsType]
)

// tagged is a world in which site:1 is signed online and app:1 by its owner, and both were verified.
func tagged(t *testing.T) (w *world, site, app dossier.Digest) {
	t.Helper()
	w = newWorld(t)
	site, app = w.push(testPrefix+"/site", "1", "site"), w.push(testPrefix+"/app", "1", "app")
	w.releaseTag("1", app, 33)
	w.step()
	w.good(w.ask("site", "1", site))
	w.good(w.ask("app", "1", app))
	return w, site, app
}

// TestDuplicateKeysInThreshold: one owner's key under two IDs is one signature.
func TestDuplicateKeysInThreshold(t *testing.T) {
	w := newWorld(t)
	body := w.rootFile(1)
	root, err := parse[metadata.RootType](Root, body)
	w.must(err)
	one := w.root[0]
	twin := *root.Signed.Keys[one.ID]
	twin.UnrecognizedFields = map[string]any{"x": "another ID for the same key"}
	root.Signed.Keys["00"+one.ID[2:]] = &twin
	for _, list := range [][]string{{one.ID, one.ID}, {one.ID, "00" + one.ID[2:]}} {
		root.Signed.Roles[Root].KeyIDs, root.Signed.Roles[Root].Threshold = list, 2
		root.ClearSignatures()
		_, err := root.Sign(one.Signer)
		w.must(err)
		if list[0] != list[1] {
			_, err := root.Sign(one.Signer)
			w.must(err)
			root.Signatures[1].KeyID = list[1]
		}
		forged, err := encode(Root, root)
		w.must(err)
		r := w.ask("site", "1", "", func(q *Request) { q.Root = forged.Body })
		w.bad(r, ReasonThreshold)
	}
}

func TestThreshold(t *testing.T) {
	w, site, _ := tagged(t)
	stranger := newOwner(t)
	forge(w, Timestamp, "timestamp.json", func(m *stampFile) { m.Signed.Version++ }, stranger.Signer)
	w.bad(w.ask("site", "1", site), ReasonThreshold)
	w.web.restore()
	// A next root that one owner has signed instead of two.
	forge(w, Root, "", func(m *rootFile) { m.Signed.Version++ }, w.root[0].Signer)
	w.bad(w.ask("site", "1", site), ReasonThreshold)
	w.web.restore()
	// One that its own owners have signed, but not those before it.
	a, b := newOwner(t), newOwner(t)
	forge(w, Root, "", func(m *rootFile) {
		m.Signed.Version++
		m.Signed.Keys[a.ID], m.Signed.Keys[b.ID] = a.Key, b.Key
		m.Signed.Roles[Root].KeyIDs = []string{a.ID, b.ID}
	}, a.Signer, b.Signer)
	w.bad(w.ask("site", "1", site), ReasonThreshold)
}

func TestEndlessData(t *testing.T) {
	for _, tt := range []struct {
		name  string
		limit int
	}{{"timestamp.json", MaxTimestamp}, {"2.root.json", MaxRoot}} {
		w, site, _ := tagged(t)
		w.web.replace(tt.name, []byte(strings.Repeat(" ", tt.limit+1)))
		w.bad(w.ask("site", "1", site), ReasonSize)
	}
	// The timestamp says how long the snapshot is.
	w := newWorld(t)
	site := w.push(testPrefix+"/site", "1", "site")
	w.step()
	f := w.file(Snapshot)
	w.web.replace(fmt.Sprintf("%d.snapshot.json", f.Version), append(f.Body, ' '))
	w.bad(w.ask("site", "1", site), ReasonSize)
}

// TestPathTraversal: names that lead elsewhere are neither asked for, nor published, nor served.
func TestPathTraversal(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"../etc", "team/web/../../etc", "/team/web", "team//web", "team/web/.", `team\web`, "team/web/%2e%2e/x", "Team/web"} {
		if _, err := w.verifier().Verify(t.Context(), Request{Source: testSource, Repository: name, Tag: "1", Root: w.rootFile(1)}); dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("asking for %q: %v", name, err)
		}
		m := metadata.Targets(w.now().Add(time.Hour))
		m.Signed.Targets[name+":1"] = &metadata.TargetFiles{Length: 1, Hashes: metadata.Hashes{"sha256": make([]byte, 32)}}
		f, err := sign("release", m, w.release.Signer)
		w.must(err)
		err = w.repo.Publish(t.Context(), testPrefix, Publication{Roles: map[string][]byte{"release": f.Body}})
		if dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("publishing %q: %v", name, err)
		}
	}
	hash := strings.Repeat("0", 64)
	for _, file := range []string{"targets/../timestamp.json", "targets/team/web/../" + hash + ".x:1", "targets/other/" + hash + ".x:1", "..%2f1.root.json", "0.root.json", "1.../root.json", "1.online.pub"} {
		if _, err := (&Handler{Repository: w.repo}).read(t.Context(), testPrefix, file); dossier.KindOf(err) != dossier.KindNotFound {
			t.Errorf("reading %q: %v", file, err)
		}
	}
}

// TestSharedRoleName: two roles delegate to one name, each with a key of its own. go-tuf keeps what it
// read under the name, and would believe the one delegator's file for the other.
func TestSharedRoleName(t *testing.T) {
	w, site, _ := tagged(t)
	// As publication: refused.
	err := w.ceremony.edit(Targets, func(m *roleFile) error {
		d := m.Signed.Delegations
		d.Roles = append(d.Roles, d.Roles[0])
		return nil
	})
	w.must(err)
	w.sign(Targets, w.targets)
	if err := w.tryPublish(); dossier.KindOf(err) != dossier.KindInvalid || !strings.Contains(err.Error(), "twice") {
		t.Errorf("publishing: %v", err)
	}
	// As served by somebody else's repository: the owner of targets delegates to one name twice, or to one of the four.
	for _, name := range []string{"release", Snapshot} {
		f := forge(w, Targets, "", func(m *roleFile) {
			m.Signed.Version++
			twin := m.Signed.Delegations.Roles[0]
			twin.Name = name
			m.Signed.Delegations.Roles = append(m.Signed.Delegations.Roles, twin)
		}, w.targets.Signer)
		w.forgeAround(map[string]int64{Targets: f.Version})
		w.bad(w.ask("site", "1", site), ReasonShared)
		w.web.restore()
		w.client = openStore(t, w.now)
	}
	// The online role delegates to the owner's role, by the online key.
	thief := w.stolen()
	online := forge(w, Online, "", func(m *roleFile) {
		m.Signed.Version++
		m.Signed.Delegations = &metadata.Delegations{
			Keys:  map[string]*metadata.Key{thief.ID: thief.Key},
			Roles: []metadata.DelegatedRole{{Name: "release", KeyIDs: []string{thief.ID}, Threshold: 1, Paths: []string{testPrefix + "/site:*"}}},
		}
	}, thief)
	w.forgeAround(map[string]int64{Online: online.Version})
	w.bad(w.ask("site", "1", site), ReasonShared)
}

// forgeAround makes snapshot and timestamp name other versions of roles.
func (w *world) forgeAround(versions map[string]int64) {
	w.Helper()
	snapshot := forge(w, Snapshot, "", func(m *snapFile) {
		m.Signed.Version++
		for role, version := range versions {
			m.Signed.Meta[role+".json"] = &metadata.MetaFiles{Version: version}
		}
	}, w.stolen())
	forge(w, Timestamp, "timestamp.json", func(m *stampFile) {
		m.Signed.Version++
		m.Signed.Meta[Snapshot+".json"] = &metadata.MetaFiles{Version: snapshot.Version}
	}, w.stolen())
}

// TestWrongLength: what is signed is the length as well.
func TestWrongLength(t *testing.T) {
	w, _, app := tagged(t)
	w.bad(w.ask("app", "1", app, func(q *Request) { q.Length = 32 }), ReasonLength)
	w.good(w.ask("app", "1", app, func(q *Request) { q.Length = 33 }))
	if err := w.ceremony.AddTarget("release", testPrefix+"/app:1", app, 0); dossier.KindOf(err) != dossier.KindInvalid {
		t.Errorf("a length of 0: %v", err)
	}
}

// TestStolenOnlineKey: who has the server cannot sign what an owner does.
func TestStolenOnlineKey(t *testing.T) {
	w, _, app := tagged(t)
	evil := dossier.FromBytes([]byte("evil"))
	target, err := newTarget(testPrefix+"/app:1", evil, 4, w.now())
	w.must(err)
	thief := w.stolen()
	put := func(m *roleFile) {
		m.Signed.Version++
		m.Signed.Targets[testPrefix+"/app:1"] = target
	}
	// As the owner's role.
	f := forge(w, "release", "", put, thief)
	w.forgeAround(map[string]int64{"release": f.Version})
	w.bad(w.ask("app", "1", evil), ReasonThreshold)
	w.web.restore()
	w.client = openStore(t, w.now) // the one before has seen what the thief has signed
	// As targets.
	f = forge(w, Targets, "", put, thief)
	w.forgeAround(map[string]int64{Targets: f.Version})
	w.bad(w.ask("app", "1", evil), ReasonThreshold)
	w.web.restore()
	w.client = openStore(t, w.now)
	// In a bin: the owner's role goes before it, and is terminating.
	name := bin(testPrefix + "/app:1")
	m := metadata.Targets(w.now().Add(time.Hour))
	m.Signed.Targets[testPrefix+"/app:1"] = target
	file, err := sign(name, m, thief)
	w.must(err)
	w.web.replace("1."+name+".json", file.Body)
	w.forgeAround(map[string]int64{name: 1})
	w.bad(w.ask("app", "1", evil), ReasonDigest)
	w.good(w.ask("app", "1", app))
	// As a publication.
	for _, role := range []string{"release", Targets} {
		w.web.restore()
		f := forge(w, role, "x", put, thief)
		if err := w.repo.Publish(t.Context(), testPrefix, Publication{Roles: map[string][]byte{role: f.Body}}); dossier.KindOf(err) != dossier.KindDenied {
			t.Errorf("publishing %s: %v", role, err)
		}
	}
}

// TestOnlineKeyIsNoOwners: owners who let the server's key sign for a role of theirs get what they have: online.
func TestOnlineKeyIsNoOwners(t *testing.T) {
	w := newWorld(t)
	thief := w.stolen()
	text, err := PublicPEM(thief.Key)
	w.must(err)
	w.must(w.ceremony.Delegate(Delegation{Role: "nightly", Repositories: []string{testPrefix + "/night"}, Keys: [][]byte{text}}))
	w.sign(Targets, w.targets)
	d := dossier.FromBytes([]byte("night"))
	w.must(w.ceremony.AddTarget("nightly", testPrefix+"/night:1", d, 5))
	w.sign("nightly", owner{Signer: thief})
	w.publish()
	r := w.ask("night", "1", d)
	w.good(r)
	if r.SignedBy != ByOnline {
		t.Errorf("signed by %q", r.SignedBy)
	}
}

func TestOffline(t *testing.T) {
	w, site, app := tagged(t)
	w.pass(TimestampLife - time.Minute)
	v := w.verifier()
	v.Source = nil
	ask := func(name string, d dossier.Digest) Result {
		t.Helper()
		r, err := v.Verify(t.Context(), Request{Source: testSource, Repository: testPrefix + "/" + name, Tag: "1", Digest: d})
		w.must(err)
		return r
	}
	r := ask("site", site)
	w.good(r)
	if !r.Offline {
		t.Error("it does not say that nobody was asked")
	}
	w.good(ask("app", app))
	w.bad(ask("other", site), ReasonUnknown) // its bin is not in the snapshot
	w.web.mu.Lock()
	w.web.down = true // and a repository that is away is as if offline
	w.web.mu.Unlock()
	r = w.ask("site", "1", site)
	w.good(r)
	if !r.Offline {
		t.Error("it does not say that nobody answered")
	}
	w.pass(2 * time.Minute)
	w.bad(ask("site", site), ReasonFreeze)
	if r, err := (Verifier{Store: openStore(t, w.now), Now: w.now}).Verify(t.Context(), Request{Source: testSource, Repository: testPrefix, Tag: "1", FirstUse: true}); err != nil || r.Reason != ReasonUnreachable {
		t.Errorf("nothing is kept: %+v, %v", r, err)
	}
}

func TestPinning(t *testing.T) {
	w, site, _ := tagged(t)
	other := newWorld(t)
	w.bad(w.ask("site", "1", site, func(q *Request) { q.Root = other.rootFile(1) }), ReasonRoot)
	w.good(w.ask("site", "1", site, func(q *Request) { q.Root = nil }))
	fresh := Verifier{Store: openStore(t, w.now), Now: w.now, Source: w.verifier().Source}
	q := Request{Source: testSource, Repository: testPrefix + "/site", Tag: "1", Digest: site}
	r, err := fresh.Verify(t.Context(), q)
	w.must(err)
	w.bad(r, ReasonRoot)
	q.FirstUse = true
	r, err = fresh.Verify(t.Context(), q)
	w.must(err)
	w.good(r)
	if r.Pinned != "first use" {
		t.Errorf("pinned is %q", r.Pinned)
	}
	// A root is for its prefix: it cannot speak for another that has the same owners.
	q.Source, q.Repository = testRegistry+"/team/other", "team/other/site"
	elsewhere := w.verifier()
	elsewhere.Store = openStore(t, w.now)
	r, err = elsewhere.Verify(t.Context(), q)
	w.must(err)
	w.bad(r, ReasonRoot)
}

// TestAgeUnknown: a timestamp of somebody else's server does not say when it was signed.
func TestAgeUnknown(t *testing.T) {
	w, site, _ := tagged(t)
	forge(w, Timestamp, "timestamp.json", func(m *stampFile) {
		m.Signed.Version++
		m.Signed.UnrecognizedFields = nil
	}, w.stolen())
	w.good(w.ask("site", "1", site))
	w.bad(w.ask("site", "1", site, func(q *Request) { q.MaxAge = time.Hour }), ReasonAge)
}

// TestKeysReplacedMeanwhile: the online key is replaced after a client has looked for roots. It looks again.
func TestKeysReplacedMeanwhile(t *testing.T) {
	w, site, _ := tagged(t)
	handler, replaced := w.web.handler, false
	w.web.handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/timestamp.json") && !replaced {
			replaced = true
			w.rotateOnline()
		}
		handler.ServeHTTP(rw, r)
	})
	w.good(w.ask("site", "1", site))
	if v := trustedOf(w)[Root].Version; v != 2 {
		t.Errorf("version %d of root is trusted, want 2", v)
	}
}
