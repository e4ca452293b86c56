// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/cluster"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/ingest"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/testimage"
)

// Variables by which the test starts itself again, as the process to be killed.
const (
	envDatabase = "DOSSIER_TEST_KILL_DATABASE"
	envPlaces   = "DOSSIER_TEST_KILL_PLACES"
	envRebuild  = "DOSSIER_TEST_REBUILD_DATABASE"
)

var killClock = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)

func TestMain(m *testing.M) {
	if path := os.Getenv(envRebuild); path != "" {
		if err := rebuildingProcess(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if path := os.Getenv(envDatabase); path != "" {
		if err := killedProcess(path, os.Getenv(envPlaces)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// killedProcess applies the places in a file and does all jobs.
func killedProcess(database, places string) (err error) {
	ctx := context.Background()
	var list []dossier.Place
	b, err := os.ReadFile(places)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	now := func() time.Time { return killClock }
	db, err := sqlstore.Open(ctx, sqlstore.Config{Path: database, Now: now})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	g := ingest.New(ingest.Config{Store: db, Images: &image.Client{}, Now: now, Lease: 5 * time.Second})
	if _, err := g.Apply(ctx, cluster.Snapshot{Cluster: testCluster, Places: list}); err != nil {
		return err
	}
	fmt.Println("applied") // acknowledged: from here on the places must be there
	// From here on the clock runs, and fast, or the test would wait long for the
	// leases of the dead to end.
	g.Now = func() time.Time { return killClock.Add(10 * time.Since(startOfTest(places))) }
	return g.Drain(ctx, ingest.Kinds(), nil)
}

// startOfTest is when the file with the places was written: the processes share
// a clock that began then.
func startOfTest(places string) time.Time {
	info, err := os.Stat(places)
	if err != nil {
		return time.Now()
	}
	return info.ModTime()
}

// TestKill runs the work in processes that are killed at random, again and
// again until one gets to its end, and compares what is there with a run that
// nobody disturbed.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes; left out by -short")
	}
	registry := testimage.NewRegistry(t, testimage.RegistryOptions{Latency: 2 * time.Millisecond})
	w := &world{t: t, registry: registry}
	var places []dossier.Place
	for i := range 40 {
		name := fmt.Sprintf("team/app%d", i)
		d := w.push(name, "1", testimage.Of(app(fmt.Sprint(i))))
		for j := range 3 {
			places = append(places, w.pod("ns", fmt.Sprintf("app%d-%d", i, j), name+":1", d))
		}
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "places.json")
	b, err := json.Marshal(places)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	calm, stormy := filepath.Join(dir, "calm.db"), filepath.Join(dir, "stormy.db")
	runToEnd(t, calm, file, 0)
	finish(t, calm, file)
	kills, acknowledged := 0, false
	for {
		if kills > 400 {
			t.Fatal("no process got to its end")
		}
		// The longer it takes, the longer a process lives.
		life := time.Duration(rand.IntN(60+10*kills)) * time.Millisecond
		out, err := runToEnd(t, stormy, file, life)
		acknowledged = acknowledged || strings.Contains(out, "applied")
		if acknowledged {
			if got := len(openPlaces(t, stormy)); got != len(places) {
				t.Fatalf("%d places after kill %d, want %d that were acknowledged", got, kills, len(places))
			}
		}
		if err == nil {
			break
		}
		kills++
	}
	t.Logf("killed %d times", kills)
	finish(t, stormy, file)
	if diff := cmp.Diff(stateOf(t, calm), stateOf(t, stormy)); diff != "" {
		t.Errorf("what is there differs from the undisturbed run (-calm +killed):\n%s", diff)
	}
}

// finish runs the process undisturbed until no job is left. On a busy machine
// one that took too long waits for its next try.
func finish(t *testing.T, database, places string) {
	t.Helper()
	for range 100 {
		left := 0
		db := openStore(t, database)
		err := db.View(t.Context(), func(r store.Reader) error {
			left = 0
			counts, err := r.CountJobs(t.Context())
			for _, c := range counts {
				left += c.N
			}
			return err
		})
		if err = errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		if left == 0 {
			return
		}
		time.Sleep(200 * time.Millisecond)
		if _, err := runToEnd(t, database, places, 0); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the jobs do not end")
}

// runToEnd runs the process, and kills it after a life that is not zero.
func runToEnd(t *testing.T, database, places string, life time.Duration) (string, error) {
	t.Helper()
	ctx := t.Context()
	if life > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, life)
		defer cancel()
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self) // killed by SIGKILL when ctx ends
	cmd.Env = append(os.Environ(), envDatabase+"="+database, envPlaces+"="+places)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	if err != nil && ctx.Err() == nil {
		t.Fatalf("the process failed by itself: %v\n%s", err, out.String())
	}
	return out.String(), err
}

func openStore(t *testing.T, path string) *sqlstore.Store {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func openPlaces(t *testing.T, path string) []dossier.Place {
	t.Helper()
	db := openStore(t, path)
	defer db.Close()
	var places []dossier.Place
	err := db.View(t.Context(), func(r store.Reader) error {
		places = nil
		for p, err := range r.Places(t.Context(), store.PlaceQuery{}) {
			if err != nil {
				return err
			}
			places = append(places, p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return places
}

// stateOf describes all that a user could see, in order: facts without the
// times at which they happened to be recorded, places, tags, terms and jobs.
func stateOf(t *testing.T, path string) []string {
	t.Helper()
	db := openStore(t, path)
	defer db.Close()
	var out []string
	subjects := map[dossier.Digest]bool{}
	err := db.View(t.Context(), func(r store.Reader) error {
		out = nil
		after := int64(0)
		for {
			facts, err := r.Facts(t.Context(), after, 1000)
			if err != nil {
				return err
			}
			if len(facts) == 0 {
				break
			}
			for _, f := range facts {
				after = f.Position
				subjects[f.Subject] = true
				out = append(out, fmt.Sprint("fact ", f.Subject, f.Kind, f.Source, dossier.FromBytes(f.Body)))
				if f.LeafHash() != f.Leaf || f.ID != f.Statement.ID() {
					t.Errorf("fact %s is not what its hashes say", f.ID)
				}
			}
		}
		for d := range subjects {
			seq, prev := int64(0), dossier.Digest("")
			for f, err := range r.Chain(t.Context(), d) {
				if err != nil {
					return err
				}
				if seq++; f.Seq != seq || f.Prev != prev {
					t.Errorf("chain of %s: fact %d follows %s, want %d after %s", d, f.Seq, f.Prev, seq, prev)
				}
				prev = f.Leaf
			}
		}
		tags, err := r.TagsOf(t.Context(), slices.Collect(maps.Keys(subjects)), time.Time{})
		if err != nil {
			return err
		}
		for _, tag := range tags {
			out = append(out, fmt.Sprint("tag ", tag.Name, tag.Tag, tag.Digest))
		}
		if len(tags) == 0 {
			t.Error("no tag is known")
		}
		counts, err := r.CountJobs(t.Context())
		for _, c := range counts {
			out = append(out, fmt.Sprint("jobs ", c))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range openPlaces(t, path) {
		out = append(out, fmt.Sprint("place ", p))
	}
	slices.Sort(out)
	return out
}
