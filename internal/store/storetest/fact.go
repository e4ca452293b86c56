// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

func factCases() []testCase {
	return []testCase{
		{"keeps every part", keepsEveryPart},
		{"recording twice", recordingTwice},
		{"refuses what is not valid", refusesInvalid},
		{"a chain is whole", chainIsWhole},
		{"many writers of a chain", manyWritersOfChain},
		{"many writers of one statement", manyWritersOfStatement},
		{"holding at two times", holdingAtTwoTimes},
		{"holding with retractions", holdingWithRetractions},
		{"holding of many, in order", holdingOfMany},
		{"refuses wrong retractions", refusesWrongRetractions},
		{"facts by position", factsByPosition},
	}
}

// statement returns a statement about digest(subject), valid from minute(valid)
// on, or always when valid is 0, with a body of its own.
func statement(subject string, kind dossier.FactKind, source string, valid int) dossier.Statement {
	s := dossier.Statement{Subject: digest(subject), Kind: kind, Source: source}
	if valid != 0 {
		s.ValidAt = minute(valid)
	}
	s.Body = fmt.Appendf(nil, "%s %s %s %d", subject, kind, source, valid)
	return s
}

// record records a statement that must be new.
func record(t testing.TB, s store.Store, st dossier.Statement) dossier.Fact {
	t.Helper()
	return written(t, s, func(tx store.Tx) (dossier.Fact, error) {
		f, recorded, err := tx.Record(t.Context(), st)
		if err == nil && !recorded {
			t.Errorf("recorded is false for a new statement")
		}
		return f, err
	})
}

// chain reads a chain.
func chain(t testing.TB, s store.Store, subject dossier.Digest) []dossier.Fact {
	t.Helper()
	return read(t, s, func(r store.Reader) ([]dossier.Fact, error) { return collect(r.Chain(t.Context(), subject)) })
}

// CheckChain reports what is wrong with the facts of one subject in the order
// of their chain.
func CheckChain(facts []dossier.Fact) error {
	var prev dossier.Digest
	for i, f := range facts {
		switch {
		case f.Seq != int64(i+1):
			return fmt.Errorf("fact %d of the chain has Seq %d", i+1, f.Seq)
		case f.Prev != prev:
			return fmt.Errorf("fact %d: Prev is %s, the leaf before is %s", f.Seq, f.Prev, prev)
		case f.ID != f.Statement.ID():
			return fmt.Errorf("fact %d: ID is %s, its statement's is %s", f.Seq, f.ID, f.Statement.ID())
		case f.Leaf != f.LeafHash():
			return fmt.Errorf("fact %d: Leaf is %s, want %s", f.Seq, f.Leaf, f.LeafHash())
		case len(f.Salt) != 32:
			return fmt.Errorf("fact %d: salt has %d bytes, want 32", f.Seq, len(f.Salt))
		}
		prev = f.Leaf
	}
	return nil
}

func keepsEveryPart(t *testing.T, s store.Store) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	statements := []dossier.Statement{
		{Body: all},
		{Body: nil},
		{ValidAt: time.Unix(0, 0).UTC(), Body: []byte("1970")},
		{ValidAt: time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC), Body: []byte("year 1")},
		{ValidAt: time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC), Body: []byte("year 9999")},
		{ValidAt: minute(3).In(time.FixedZone("east", 7200)), Body: []byte("another zone")},
		{Body: make([]byte, 1<<16)},
	}
	salts := map[string]bool{}
	for i, st := range statements {
		st.Subject, st.Kind, st.Source = digest("subject"), "test.kind", fmt.Sprintf("ü/%d '\"\\", i)
		before := dossier.Instant(time.Now())
		want := record(t, s, st)
		if want.RecordedAt.Before(before) || want.RecordedAt.After(time.Now()) || !want.RecordedAt.Equal(dossier.Instant(want.RecordedAt)) {
			t.Errorf("RecordedAt is %v, want now in microseconds", want.RecordedAt)
		}
		st.ValidAt = st.ValidAt.UTC()
		if diff := cmp.Diff(st, want.Statement); diff != "" {
			t.Errorf("statement changed (-want +got):\n%s", diff)
		}
		got := read(t, s, func(r store.Reader) (dossier.Fact, error) { return r.Fact(t.Context(), want.ID) })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("fact read is not the fact recorded (-want +got):\n%s", diff)
		}
		salts[string(got.Salt)] = true
	}
	if len(salts) != len(statements) {
		t.Errorf("%d facts have %d different salts", len(statements), len(salts))
	}
	err := s.View(t.Context(), func(r store.Reader) error { _, err := r.Fact(t.Context(), digest("none")); return err })
	wantKind(t, err, dossier.KindNotFound)
}

func recordingTwice(t *testing.T, s store.Store) {
	st := statement("a", "k", "s", 1)
	want := record(t, s, st)
	update(t, s, func(tx store.Tx) error {
		for range 2 {
			got, recorded, err := tx.Record(t.Context(), st)
			if err != nil {
				return err
			}
			if diff := cmp.Diff(want, got); diff != "" || recorded {
				t.Errorf("recorded again: %v; fact (-want +got):\n%s", recorded, diff)
			}
		}
		return nil
	})
	if got := chain(t, s, digest("a")); len(got) != 1 {
		t.Errorf("the chain has %d facts, want 1", len(got))
	}
}

func refusesInvalid(t *testing.T, s store.Store) {
	tests := []struct {
		name   string
		change func(*dossier.Statement)
		want   dossier.Kind
	}{
		{"no subject", func(s *dossier.Statement) { s.Subject = "" }, dossier.KindInvalid},
		{"source of two lines", func(s *dossier.Statement) { s.Source = "a\nb" }, dossier.KindInvalid},
		{"nanoseconds", func(s *dossier.Statement) { s.ValidAt = time.Unix(1, 1) }, dossier.KindInvalid},
		{"long source", func(s *dossier.Statement) { s.Source = string(make([]byte, dossier.MaxFactSource+1)) }, dossier.KindInvalid},
		{"large body", func(s *dossier.Statement) { s.Body = make([]byte, dossier.MaxFactBody+1) }, dossier.KindLimit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			st := statement("a", "k", "s", 1)
			tt.change(&st)
			wantKind(t, s.Update(t.Context(), func(tx store.Tx) error { _, _, err := tx.Record(t.Context(), st); return err }), tt.want)
		})
	}
	if got := chain(t, s, digest("a")); len(got) != 0 {
		t.Errorf("the chain has %d facts, want none", len(got))
	}
}

func chainIsWhole(t *testing.T, s store.Store) {
	const n = 250
	update(t, s, func(tx store.Tx) error {
		for i := range n {
			for _, subject := range []string{"a", "b"} {
				if _, _, err := tx.Record(t.Context(), statement(subject, "k", "s", i+1)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	for _, subject := range []string{"a", "b"} {
		facts := chain(t, s, digest(subject))
		if len(facts) != n {
			t.Errorf("chain has %d facts, want %d", len(facts), n)
		}
		if err := CheckChain(facts); err != nil {
			t.Error(err)
		}
	}
	if got := chain(t, s, digest("none")); len(got) != 0 {
		t.Errorf("chain of an unknown subject has %d facts", len(got))
	}
}

// manyWritersOfChain has two subjects that are written in either order, which
// makes transactions of an engine with locks collide.
func manyWritersOfChain(t *testing.T, s store.Store) {
	const writers, each = 8, 10
	subjects := []string{"a", "b"}
	together(t, writers, func(w int) error {
		order := slices.Clone(subjects)
		if w%2 == 1 {
			slices.Reverse(order)
		}
		for i := range each {
			if err := s.Update(t.Context(), func(tx store.Tx) error {
				for _, subject := range order {
					if _, _, err := tx.Record(t.Context(), statement(subject, "k", fmt.Sprint("writer ", w), i+1)); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	for _, subject := range subjects {
		facts := chain(t, s, digest(subject))
		if len(facts) != writers*each {
			t.Errorf("chain has %d facts, want %d", len(facts), writers*each)
		}
		if err := CheckChain(facts); err != nil {
			t.Error(err)
		}
	}
}

func manyWritersOfStatement(t *testing.T, s store.Store) {
	const writers = 8
	for round := range 5 {
		st := statement("a", "k", "s", round+1)
		facts, recorded := make([]dossier.Fact, writers), make([]bool, writers)
		together(t, writers, func(w int) error {
			return s.Update(t.Context(), func(tx store.Tx) (err error) {
				facts[w], recorded[w], err = tx.Record(t.Context(), st)
				return err
			})
		})
		news := 0
		for w := range writers {
			if recorded[w] {
				news++
			}
			if diff := cmp.Diff(facts[0], facts[w]); diff != "" {
				t.Errorf("two writers got different facts:\n%s", diff)
			}
		}
		if news != 1 {
			t.Errorf("%d writers were told that they recorded it, want 1", news)
		}
	}
	if err := CheckChain(chain(t, s, digest("a"))); err != nil {
		t.Error(err)
	}
}

// pause makes the next fact have a later RecordedAt.
func pause() { time.Sleep(50 * time.Microsecond) }

// holding returns the bodies of what Holding yields: see statement.
func holding(t *testing.T, s store.Store, subjects []dossier.Digest, at dossier.Times, kinds ...dossier.FactKind) []string {
	t.Helper()
	facts := read(t, s, func(r store.Reader) ([]dossier.Fact, error) {
		return collect(r.Holding(t.Context(), subjects, at, kinds...))
	})
	list := []string{}
	for _, f := range facts {
		list = append(list, string(f.Body))
	}
	return list
}

func holdingAtTwoTimes(t *testing.T, s store.Store) {
	var recorded []time.Time
	for _, st := range []dossier.Statement{
		statement("a", "tag", "x", 10),
		statement("a", "tag", "x", 30),
		statement("a", "tag", "x", 20), // learnt late
		statement("a", "tag", "y", 25),
		statement("a", "label", "x", 0),
	} {
		recorded = append(recorded, record(t, s, st).RecordedAt)
		pause()
	}
	tests := []struct {
		name            string
		valid, recorded time.Time
		kinds           []dossier.FactKind
		want            []string
	}{
		{name: "now", want: []string{"a label x 0", "a tag x 30", "a tag y 25"}},
		{name: "one kind", kinds: []dossier.FactKind{"tag"}, want: []string{"a tag x 30", "a tag y 25"}},
		{name: "two kinds", kinds: []dossier.FactKind{"tag", "label"}, want: []string{"a label x 0", "a tag x 30", "a tag y 25"}},
		{name: "unknown kind", kinds: []dossier.FactKind{"none"}, want: []string{}},
		{name: "valid just before", valid: minute(30).Add(-time.Microsecond), want: []string{"a label x 0", "a tag x 20", "a tag y 25"}},
		{name: "valid at the moment", valid: minute(30), want: []string{"a label x 0", "a tag x 30", "a tag y 25"}},
		{name: "valid early", valid: minute(12), want: []string{"a label x 0", "a tag x 10"}},
		{name: "valid before all", valid: minute(1), want: []string{"a label x 0"}},
		{name: "as known first", recorded: recorded[0], want: []string{"a tag x 10"}},
		{name: "as known second, of then", recorded: recorded[1], valid: minute(22), want: []string{"a tag x 10"}},
		{name: "as known third, of then", recorded: recorded[2], valid: minute(22), want: []string{"a tag x 20"}},
		{name: "as known third", recorded: recorded[2], want: []string{"a tag x 30"}},
		{name: "as known before all", recorded: recorded[0].Add(-time.Microsecond), want: []string{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := holding(t, s, []dossier.Digest{digest("a")}, dossier.Times{Valid: tt.valid, Recorded: tt.recorded}, tt.kinds...)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Holding (-want +got):\n%s", diff)
			}
		})
	}
}

// retraction takes back a fact.
func retraction(f dossier.Fact, reason string) dossier.Statement {
	body, err := json.Marshal(dossier.RetractionBody{Fact: f.ID, Reason: reason})
	if err != nil {
		panic(err) // two strings
	}
	return dossier.Statement{Subject: f.Subject, Kind: dossier.FactRetraction, Source: "person", Body: body}
}

func holdingWithRetractions(t *testing.T, s store.Store) {
	first := record(t, s, statement("a", "k", "s", 1))
	second := record(t, s, statement("a", "k", "s", 2))
	other := record(t, s, statement("a", "k", "other", 1))
	pause()
	wrong := record(t, s, retraction(second, "wrong"))
	pause()
	record(t, s, retraction(other, "wrong"))
	record(t, s, retraction(other, "and again, with another reason"))
	pause()
	record(t, s, retraction(first, "wrong too"))
	tests := []struct {
		name string
		at   dossier.Times
		want []string
	}{
		{"before", dossier.Times{Recorded: other.RecordedAt}, []string{"a k other 1", "a k s 2"}},
		{"the one before holds again", dossier.Times{Recorded: wrong.RecordedAt}, []string{"a k other 1", "a k s 1"}},
		{"valid time makes no difference", dossier.Times{Valid: minute(1), Recorded: wrong.RecordedAt}, []string{"a k other 1", "a k s 1"}},
		{"all taken back", dossier.Times{}, []string{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, holding(t, s, []dossier.Digest{digest("a")}, tt.at)); diff != "" {
				t.Errorf("Holding (-want +got):\n%s", diff)
			}
		})
	}
	if got := holding(t, s, []dossier.Digest{digest("a")}, dossier.Times{}, dossier.FactRetraction); len(got) != 0 {
		t.Errorf("Holding yields retractions: %v", got)
	}
	if got := chain(t, s, digest("a")); len(got) != 7 {
		t.Errorf("the chain has %d facts, want all 7", len(got))
	}
}

func refusesWrongRetractions(t *testing.T, s store.Store) {
	f := record(t, s, statement("a", "k", "s", 1))
	taken := record(t, s, retraction(f, "wrong"))
	foreign := retraction(f, "of another subject")
	foreign.Subject = digest("b")
	noJSON := retraction(f, "")
	noJSON.Body = []byte("{")
	for name, st := range map[string]dossier.Statement{
		"unknown fact":     retraction(dossier.Fact{ID: digest("none"), Statement: f.Statement}, ""),
		"no fact":          retraction(dossier.Fact{Statement: f.Statement}, ""),
		"another subject":  foreign,
		"not JSON":         noJSON,
		"of a retraction":  retraction(taken, "on second thoughts"),
		"nothing but JSON": {Subject: f.Subject, Kind: dossier.FactRetraction, Source: "s", Body: []byte("{}")},
	} {
		t.Run(name, func(t *testing.T) {
			wantKind(t, s.Update(t.Context(), func(tx store.Tx) error { _, _, err := tx.Record(t.Context(), st); return err }), dossier.KindInvalid)
		})
	}
}

func holdingOfMany(t *testing.T, s store.Store) {
	const n = 600
	subjects := digests("many ", n)
	var want []string
	update(t, s, func(tx store.Tx) error {
		for i := range n {
			for _, valid := range []int{1, 2} {
				for _, kind := range []dossier.FactKind{"k2", "k1"} {
					if _, _, err := tx.Record(t.Context(), statement(fmt.Sprint("many ", i), kind, "s", valid)); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
	order := slices.Clone(subjects)
	slices.Sort(order)
	for _, d := range order {
		i := slices.Index(subjects, d)
		want = append(want, fmt.Sprintf("many %d k1 s 2", i), fmt.Sprintf("many %d k2 s 2", i))
	}
	got := holding(t, s, append(subjects, subjects[:10]...), dossier.Times{}) // some twice
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Holding (-want +got):\n%s", diff)
	}
	if got := holding(t, s, nil, dossier.Times{}); len(got) != 0 {
		t.Errorf("Holding of nobody yields %d facts", len(got))
	}
	view(t, s, func(r store.Reader) error {
		for _, err := range r.Holding(t.Context(), subjects, dossier.Times{}) {
			return err // to stop early is fine
		}
		return nil
	})
}

func factsByPosition(t *testing.T, s store.Store) {
	var want []dossier.Fact
	for i := range 7 {
		want = append(want, record(t, s, statement(fmt.Sprint(i%2), "k", "s", i+1)))
	}
	var got []dossier.Fact
	after := int64(0)
	for {
		page := read(t, s, func(r store.Reader) ([]store.Positioned, error) { return r.Facts(t.Context(), after, 3) })
		if len(page) == 0 {
			break
		}
		if len(page) > 3 {
			t.Fatalf("a page of 3 has %d facts", len(page))
		}
		for _, p := range page {
			if p.Position <= after {
				t.Errorf("position %d comes after %d", p.Position, after)
			}
			after = p.Position
			got = append(got, p.Fact)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Facts (-want +got):\n%s", diff)
	}
}
