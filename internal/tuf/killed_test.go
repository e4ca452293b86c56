// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/mortal"
	"dossier.dev/dossier/internal/store/sqlstore"
)

func TestMain(m *testing.M) { mortal.Main(m, victim.work) }

// victim is a process that is killed at one of the points that it comes by.
type victim struct {
	Dir      string // that it works in
	Ceremony string // a step of an owner; empty: it is a server
	Key      []byte // public, for the step
	Now      time.Time
}

// work is the child process.
func (v victim) work(points *mortal.Points) error {
	if v.Ceremony != "" {
		return v.step(Ceremony{Dir: v.Dir, Now: func() time.Time { return v.Now }, point: points.Point})
	}
	return v.server(points)
}

func (v victim) publication(name string) (p Publication, err error) {
	b, err := os.ReadFile(filepath.Join(v.Dir, name))
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	return p, err
}

func (v victim) open(now func() time.Time) (store.Store, *Repository, error) {
	db, err := sqlstore.Open(context.Background(), sqlstore.Config{Path: filepath.Join(v.Dir, "dossier.db"), Now: now})
	if err != nil {
		return nil, nil, err
	}
	r, err := NewRepository(Config{Store: db, Registry: testRegistry, Prefixes: []string{testPrefix}, Now: now})
	return db, r, err
}

// server publishes, signs what moves, renews and rotates. It says what it has acknowledged, and which versions a client could
// see then.
func (v victim) server(points *mortal.Points) error {
	ctx, at := context.Background(), v.Now
	db, _, err := v.open(func() time.Time { return at })
	if err != nil {
		return err
	}
	watched := mortal.Store{Store: db, Points: points, Of: "tuf.(*Repository)", Else: "push"}
	r, err := NewRepository(Config{Store: watched, Registry: testRegistry, Prefixes: []string{testPrefix}, Now: func() time.Time { return at }})
	if err != nil {
		return err
	}
	publish := func(name string) func() error {
		return func() error {
			p, err := v.publication(name)
			if err != nil {
				return err
			}
			return r.Publish(ctx, testPrefix, p)
		}
	}
	push := func(text string) func() error {
		return func() error {
			_, err := pushTo(ctx, watched, testPrefix+"/site", "1", text, at)
			return err
		}
	}
	step := func() error {
		for {
			if n, err := r.Step(ctx); err != nil || n == 0 {
				return err
			}
		}
	}
	pass := func(d time.Duration) func() error {
		return func() error {
			at = at.Add(d)
			return step()
		}
	}
	for _, s := range []struct {
		ack string
		do  func() error
	}{
		{"first", publish("first.json")}, {"push one", push("one")}, {"signed", step}, {"renewed", pass(2 * time.Hour)},
		{"push two", push("two")}, {"second", publish("second.json")}, {"signed again", step},
		{"key", func() error { _, err := r.NewOnlineKey(ctx, testPrefix); return err }}, {"bins renewed", pass(OnlineLife/2 + time.Hour)},
	} {
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.ack, err)
		}
		fmt.Println("ack", s.ack)
		err := db.View(ctx, func(reader store.Reader) error {
			for _, role := range []string{Root, Targets, Snapshot, Timestamp, "release"} {
				f, err := reader.TUFFile(ctx, testPrefix, role, 0)
				if err != nil {
					return err
				}
				fmt.Println("seen", role, f.Version)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return db.Close()
}

// TestServerKilled kills a server at every point of publishing, signing, renewing and rotating. Whoever comes next finds
// metadata that is whole, no version that goes back, and all that was acknowledged.
func TestServerKilled(t *testing.T) {
	base := t.TempDir()
	at := time.Now().UTC().Truncate(time.Second)
	w := prepareVictim(t, base, at)
	_, points := mortal.Run(t, victim{Dir: copyDir(t, base), Now: at}, 0)
	for _, want := range []string{"Publish: before", "Publish: written", "Publish: committed", "Step: written", "NewOnlineKey: written", "push: committed"} {
		if !slices.Contains(points, want) {
			t.Errorf("it does not come by %q: %q", want, points)
		}
	}
	for i, point := range points {
		t.Run(fmt.Sprint(i+1, " ", point), func(t *testing.T) {
			v := victim{Dir: copyDir(t, base), Now: at}
			said, _ := mortal.Run(t, v, i+1)
			v.check(t, w, said)
		})
	}
}

// prepareVictim makes what a victim begins with: a database with two online keys, and two publications.
func prepareVictim(t *testing.T, dir string, at time.Time) *world {
	t.Helper()
	now := at.Add(-2 * time.Second)
	v := victim{Dir: dir}
	db, repo, err := v.open(func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	w := &world{TB: t, clock: &clock{at: at}, store: db, repo: repo, targets: newOwner(t), release: newOwner(t), root: []owner{newOwner(t), newOwner(t), newOwner(t)}}
	w.must(db.Update(t.Context(), func(tx store.Tx) error {
		_, err := tx.NameRegistry(t.Context(), testRegistry)
		return err
	}))
	w.ceremony = Ceremony{Dir: filepath.Join(t.TempDir(), "ceremony"), Now: w.now}
	first := w.onlineKey()
	w.initCeremony(first)
	w.sign(Root, w.root[0], w.root[1])
	w.sign(Targets, w.targets)
	w.must(w.ceremony.AddTarget("release", testPrefix+"/app:1", dossier.FromBytes([]byte("app")), 3))
	w.sign("release", w.release)
	w.savePublication(filepath.Join(dir, "first.json"))
	now = at.Add(-time.Second)
	s, err := repo.NewOnlineKey(t.Context(), testPrefix)
	w.must(err)
	text, err := PublicPEM(s.Key)
	w.must(err)
	_, err = w.ceremony.ChangeKeys(KeyChange{Role: Online, Add: text})
	w.must(err)
	w.sign(Root, w.root[1], w.root[2])
	w.sign(Targets, w.targets)
	w.must(w.ceremony.AddTarget("release", testPrefix+"/app:1", dossier.FromBytes([]byte("app, fixed")), 10))
	w.sign("release", w.release)
	w.savePublication(filepath.Join(dir, "second.json"))
	w.must(db.Close())
	return w
}

func (w *world) savePublication(file string) {
	w.Helper()
	p, missing, err := w.ceremony.Publication()
	w.must(err)
	if len(missing) > 0 {
		w.Fatalf("not signed by enough: %+v", missing)
	}
	b, err := json.Marshal(p)
	w.must(err)
	w.must(os.WriteFile(file, b, 0o600))
}

func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// check looks at what a victim has left, and goes on from there.
func (v victim) check(t *testing.T, w *world, said []string) {
	t.Helper()
	acknowledged := func(what string) bool { return slices.Contains(said, "ack "+what) }
	at := v.Now
	if acknowledged("signed again") {
		at = at.Add(OnlineLife/2 + 4*time.Hour)
	} else if acknowledged("signed") {
		at = at.Add(3 * time.Hour)
	}
	db, repo, err := v.open(func() time.Time { return at })
	if err != nil {
		t.Fatal(err)
	}
	now := &world{TB: t, clock: &clock{at: at}, store: db, repo: repo, client: openStore(t, nil), root: w.root}
	t.Cleanup(func() { now.must(db.Close()) })
	now.web = &web{handler: &Handler{Repository: repo}, changed: map[string][]byte{}}
	now.web.url = serve(t, now.web)
	var root []byte
	if p, err := v.publication("first.json"); err != nil {
		t.Fatal(err)
	} else {
		root = p.Roots[0]
	}
	check := func(when string) {
		t.Helper()
		for _, line := range said {
			var role string
			var version int64
			if n, _ := fmt.Sscanf(line, "seen %s %d", &role, &version); n == 2 && now.file(role).Version < version {
				t.Errorf("%s %s went back to version %d from %d", when, role, now.file(role).Version, version)
			}
		}
		now.checkWhole(when)
	}
	if acknowledged("first") {
		check("after the kill")
	}
	second, err := v.publication("second.json")
	now.must(err)
	now.must(repo.Publish(t.Context(), testPrefix, second))
	now.step()
	check("in the end")
	ask := func(name string) Result {
		r, err := now.verifier().Verify(t.Context(), Request{Source: testSource, Repository: testPrefix + "/" + name, Tag: "1", Root: root})
		now.must(err)
		return r
	}
	app := ask("app")
	now.good(app)
	if app.Digest != dossier.FromBytes([]byte("app, fixed")) || app.SignedBy != ByOwner {
		t.Errorf("app:1 is %+v", app)
	}
	one, two := manifestOf("one"), manifestOf("two")
	site := ask("site")
	may := []dossier.Digest{two}
	if !acknowledged("push two") {
		may = append(may, one)
	}
	if !acknowledged("push one") {
		may = append(may, "")
	}
	if !slices.Contains(may, site.Digest) || site.Digest != "" && !site.Verified {
		t.Errorf("site:1 is %s (%s %s), want one of %s", site.Digest, site.Reason, site.Why, may)
	}
}

func manifestOf(text string) dossier.Digest {
	return dossier.FromBytes(fmt.Appendf(nil, `{"schemaVersion":2,"text":%q}`, text))
}

// checkWhole checks that the newest files name one another.
func (w *world) checkWhole(when string) {
	w.Helper()
	stamp, err := parse[metadata.TimestampType](Timestamp, w.file(Timestamp).Body)
	w.must(err)
	f := w.file(Snapshot)
	if m := stamp.Signed.Meta[Snapshot+".json"]; m.Version != f.Version || m.VerifyLengthHashes(f.Body) != nil {
		w.Errorf("%s the timestamp names another snapshot than version %d", when, f.Version)
	}
	snapshot, err := parse[metadata.SnapshotType](Snapshot, f.Body)
	w.must(err)
	for name, m := range snapshot.Signed.Meta {
		f := w.file(strings.TrimSuffix(name, ".json"))
		if m.Version != f.Version || m.VerifyLengthHashes(f.Body) != nil {
			w.Errorf("%s the snapshot names version %d of %s, and the newest is %d", when, m.Version, name, f.Version)
		}
	}
}
