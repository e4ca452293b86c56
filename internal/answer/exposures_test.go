// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
)

// TestWhatIsRememberedIsTrue changes findings by lot, and compares what is
// remembered of sets with what is stored: with room for all, for some, for none.
func TestWhatIsRememberedIsTrue(t *testing.T) {
	for _, limit := range []int{0, 5, 1000} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) { compareRemembered(t, NewExposures(limit)) })
	}
}

func compareRemembered(t *testing.T, x *Exposures) {
	db, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(t.TempDir(), "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rnd := rand.New(rand.NewPCG(3, 4))
	var sets []dossier.Digest
	packages, generation := 0, int64(0)
	write := func(m store.Matched) {
		t.Helper()
		m.Generation = generation
		if err := db.Update(t.Context(), func(tx store.Tx) error { _, err := tx.PutMatched(t.Context(), m); return err }); err != nil {
			t.Fatal(err)
		}
		generation++
	}
	for step := range 200 {
		switch rnd.IntN(3) {
		case 0:
			var list []dossier.PackageAt
			for range 1 + rnd.IntN(3) {
				list = append(list, dossier.PackageAt{Package: dossier.Package{PURL: fmt.Sprint("pkg:npm/p", rnd.IntN(12)), Type: "npm", Name: "p"}})
			}
			set := store.NewPackageSet(dossier.FromBytes(fmt.Append(nil, step)), list)
			if err := db.Update(t.Context(), func(tx store.Tx) error { return tx.PutPackages(t.Context(), set, true) }); err != nil {
				t.Fatal(err)
			}
			sets, packages = append(sets, set.Digest), 12
		case 1:
			if packages > 0 {
				f := dossier.Finding{ID: fmt.Sprint("CVE-", rnd.IntN(4)), Severity: dossier.SeverityHigh, State: dossier.Unfixed}
				p := store.PackageFindings{Package: int64(1 + rnd.IntN(packages)), Rules: 1, Findings: []dossier.Finding{f}}
				if rnd.IntN(2) == 0 {
					p.Names = []string{f.ID}
				}
				if !exists(t, db, p.Package) {
					continue
				}
				write(store.Matched{Packages: []store.PackageFindings{p}})
			}
		default:
			if rnd.IntN(10) == 0 {
				write(store.Matched{Restart: true})
			}
		}
		err := db.View(t.Context(), func(r store.Reader) error {
			state, err := r.MatchState(t.Context(), time.Time{})
			if err != nil {
				return err
			}
			got, err := x.read(t.Context(), r, state.Generation, sets)
			if err != nil {
				return err
			}
			want, err := r.Exposures(t.Context(), sets, time.Time{})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("after step %d (-stored +remembered):\n%s", step, diff)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// exists reports whether there is a package with that number.
func exists(t *testing.T, db store.Store, id int64) bool {
	t.Helper()
	err := db.View(t.Context(), func(r store.Reader) error { _, err := r.Program(t.Context(), id); return err })
	return err == nil
}
