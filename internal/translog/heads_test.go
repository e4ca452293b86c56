// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package translog_test

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/translog"
)

// mapRoot computes the root of a map as docs/spec/log.md says it, from all heads at once.
func mapRoot(heads map[dossier.Digest]translog.Head) tlog.Hash {
	leaves := map[string]tlog.Hash{} // by key, in bits
	for subject, h := range heads {
		key := sha256.Sum256([]byte("dossier/subject/v1\n" + subject + "\n"))
		value := sha256.Sum256(fmt.Appendf(nil, "dossier/head/v1\n%s\n%d\n%s\n", subject, h.Seq, h.Leaf))
		bits := ""
		for _, b := range key {
			bits += fmt.Sprintf("%08b", b)
		}
		leaves[bits] = sha256.Sum256(slices.Concat([]byte{0}, key[:], value[:]))
	}
	var root func(prefix string, keys []string) tlog.Hash
	root = func(prefix string, keys []string) tlog.Hash {
		switch len(keys) {
		case 0:
			return tlog.Hash{}
		case 1:
			return leaves[keys[0]]
		}
		i, _ := slices.BinarySearch(keys, prefix+"1")
		left, right := root(prefix+"0", keys[:i]), root(prefix+"1", keys[i:])
		return sha256.Sum256(slices.Concat([]byte{1}, left[:], right[:]))
	}
	return root("", slices.Sorted(maps.Keys(leaves)))
}

// recordSubjects records one fact about each subject from first on, and appends them.
func (l *lab) recordSubjects(t testing.TB, first, n int) {
	t.Helper()
	err := l.store.Update(t.Context(), func(tx store.Tx) error {
		for i := range n {
			l.n++
			_, _, err := tx.Record(t.Context(), dossier.Statement{Subject: subjectOf(first + i), Kind: "test", Source: fmt.Sprint("test:", l.n)})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := l.log.Append(t.Context()); err != nil || got != n {
		t.Fatalf("Append: %d, %v, want %d", got, err, n)
	}
}

func subjectOf(n int) dossier.Digest { return dossier.FromBytes(fmt.Append(nil, n)) }

// TestHeads appends facts about few and many subjects, some again, and compares each signed root
// of the map with one that is computed from all heads at once; subjects that are there and
// subjects that are not are proven together, and each change of a proof or a head is refused.
func TestHeads(t *testing.T) {
	l := newLab(t)
	random := rand.New(rand.NewPCG(7, 1))
	heads := map[dossier.Digest]translog.Head{}
	for _, n := range []struct{ first, count int }{{0, 1}, {1, 1}, {0, 1}, {2, 14}, {5, 20}, {25, 300}, {10, 40}, {325, 1200}} {
		before := int64(l.n)
		l.recordSubjects(t, n.first, n.count)
		c := l.checkpoint(t)
		for _, e := range read(t, l.store, func(r store.Reader) ([]store.LogEntry, error) { return r.LogEntries(t.Context(), before, n.count) }) {
			heads[e.Subject] = translog.Head{Subject: e.Subject, Seq: e.Seq, Leaf: e.Leaf}
		}
		if want := mapRoot(heads); c.Map == nil || *c.Map != want {
			t.Fatalf("%d subjects: the root of the map is %v, want %v", len(heads), c.Map, want)
		}
		for range 10 {
			var subjects []dossier.Digest
			for range 1 + random.IntN(20) {
				subjects = append(subjects, subjectOf(random.IntN(2*len(heads))))
			}
			checkProofOfHeads(t, l, subjects, heads, *c.Map, random)
		}
	}
	report, err := translog.Verify(t.Context(), l.store, l.key)
	if err != nil || len(report.Faults) > 0 {
		t.Errorf("Verify: %+v, %v", report, err)
	}
}

func checkProofOfHeads(t *testing.T, l *lab, subjects []dossier.Digest, heads map[dossier.Digest]translog.Head, root tlog.Hash, random *rand.Rand) {
	t.Helper()
	var proof []byte
	got := read(t, l.store, func(r store.Reader) (got []translog.Head, err error) {
		got, proof, err = translog.Heads(t.Context(), r, subjects)
		return got, err
	})
	var want []translog.Head
	for _, s := range slices.Compact(slices.Sorted(slices.Values(subjects))) {
		if h, ok := heads[s]; ok {
			want = append(want, h)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("heads %v, want %v", got, want)
	}
	if err := translog.CheckHeads(proof, root, subjects, got); err != nil {
		t.Fatal(err)
	}
	refused := func(name string, err error) {
		t.Helper()
		if dossier.KindOf(err) != dossier.KindDenied {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range got {
		older := slices.Clone(got)
		older[i].Seq--
		refused("an older fact", translog.CheckHeads(proof, root, subjects, older))
		refused("a head hidden", translog.CheckHeads(proof, root, subjects, slices.Delete(slices.Clone(got), i, i+1)))
		refused("a head twice", translog.CheckHeads(proof, root, subjects, append(slices.Clone(got), got[i])))
	}
	for _, s := range subjects {
		if _, ok := heads[s]; !ok {
			refused("a head invented", translog.CheckHeads(proof, root, subjects, append(slices.Clone(got), translog.Head{Subject: s, Seq: 1, Leaf: s})))
			break
		}
	}
	refused("another map", translog.CheckHeads(proof, tlog.Hash{1}, subjects, got))
	refused("more", translog.CheckHeads(append(bytes.Clone(proof), 0), root, subjects, got))
	refused("less", translog.CheckHeads(proof[:len(proof)-1], root, subjects, got))
	for range 20 {
		forged := bytes.Clone(proof)
		forged[random.IntN(len(forged))] ^= byte(1 << random.IntN(8))
		refused("a bit", translog.CheckHeads(forged, root, subjects, got))
	}
}

// TestMapIsNotForged writes into the map: the log does not sign for what it has not made itself.
func TestMapIsNotForged(t *testing.T) {
	for name, statement := range map[string]string{
		"a node":          `UPDATE log_map SET content = (SELECT content FROM log_map WHERE prefix = '2') WHERE prefix = '1'`,
		"a node deleted":  `DELETE FROM log_map WHERE prefix = '1'`,
		"the first":       `UPDATE log_map SET content = x'00' WHERE prefix = ''`,
		"the first gone":  `DELETE FROM log_map WHERE prefix = ''`,
		"no form at all":  `UPDATE log_map SET content = x'0203' WHERE prefix = '1'`,
		"an older state":  `UPDATE log_map SET content = (SELECT content FROM old WHERE old.prefix = log_map.prefix) WHERE prefix IN (SELECT prefix FROM old)`,
		"the checkpoint":  `UPDATE log_head SET checkpoint = CAST(replace(CAST(checkpoint AS TEXT), '—', '–') AS BLOB)`,
		"an old sum only": `UPDATE log_map SET content = (SELECT content FROM old WHERE old.prefix = '') WHERE prefix = ''`,
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.recordSubjects(t, 0, 300)
			db, err := sql.Open("sqlite", l.path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.ExecContext(t.Context(), `CREATE TABLE old AS SELECT prefix, content FROM log_map`); err != nil {
				t.Fatal(err)
			}
			l.recordSubjects(t, 0, 300)
			if _, err := db.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
			err = l.store.Update(t.Context(), func(tx store.Tx) error {
				for i := range 300 {
					if _, _, err := tx.Record(t.Context(), dossier.Statement{Subject: subjectOf(i), Kind: "test", Source: "again"}); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := l.log.Append(t.Context()); err == nil {
				t.Error("the log was signed all the same")
			}
		})
	}
}

// TestMapCatchesUp takes the map away from a log, as those have none that began without: the
// next appender makes it before it appends.
func TestMapCatchesUp(t *testing.T) {
	l := newLab(t)
	l.recordSubjects(t, 0, 600)
	l.recordSubjects(t, 100, 100)
	want := *l.checkpoint(t).Map
	db, err := sql.Open("sqlite", l.path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), `DELETE FROM log_map; UPDATE log_head SET mapped = 0`); err != nil {
		t.Fatal(err)
	}
	err = l.store.Update(t.Context(), func(tx store.Tx) error {
		_, _, err := tx.Record(t.Context(), dossier.Statement{Subject: subjectOf(3), Kind: "test", Source: "again"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for {
		n, err := l.log.Append(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n < 4096 {
			break
		}
	}
	c := l.checkpoint(t)
	if c.Size != 701 || *c.Map == want {
		t.Errorf("the checkpoint is %+v", c)
	}
	report, err := translog.Verify(t.Context(), l.store, l.key)
	if err != nil || len(report.Faults) > 0 {
		t.Errorf("Verify: %+v, %v", report, err)
	}
}
