// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/advisory"
	"dossier.dev/dossier/internal/match"
	"dossier.dev/dossier/internal/store"
)

// TestRematchFindsWhatMatchFinds draws advisories by lot: records of single
// vulnerabilities, of several names, and bulletins. Whatever is judged again must
// be what Match says of all.
func TestRematchFindsWhatMatchFinds(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	cve := func() string { return fmt.Sprintf("CVE-2024-%04d", rnd.IntN(25)) }
	var list []advisory.Record
	for i := range 60 {
		id, related := fmt.Sprintf("DSA-%d-1", i), fmt.Sprintf(`"upstream":[%q,%q,%q]`, cve(), cve(), cve())
		switch i % 3 {
		case 1:
			c := cve()
			id, related = fmt.Sprintf("DEBIAN-%s", c), fmt.Sprintf(`"upstream":[%q]`, c)
		case 2:
			id, related = fmt.Sprintf("X-%d", i), fmt.Sprintf(`"aliases":[%q,"X-%d"]`, cve(), rnd.IntN(60))
		}
		if slices.ContainsFunc(list, func(r advisory.Record) bool { return r.ID == id }) {
			continue
		}
		text := fmt.Sprintf(`{"id":%q,%s,"affected":[{"package":{"ecosystem":"Debian:12","name":"openssl"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1.%d-1"}]}]}]}`, id, related, rnd.IntN(10))
		a, err := advisory.Parse([]byte(text), advisory.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, advisory.Record{Advisory: a, Bytes: []byte(text)})
	}
	k := newKeeper(t, "")
	if _, err := k.put(t.Context(), store.FeedUpdate{Feed: "Debian", AsOf: time.Unix(1, 0), Whole: true}, each(list)); err != nil {
		t.Fatal(err)
	}
	p := dossier.Package{Type: "deb", Ecosystem: "Debian:12", Distribution: "debian 12", Name: "libssl3", Version: "1.4-1", Source: "openssl", SourceVersion: "1.4-1"}
	compared := 0
	err := k.Store.View(t.Context(), func(r store.Reader) error {
		all, err := r.Advisories(t.Context(), store.AdvisoryQuery{Keys: match.Keys(p)})
		if err != nil {
			return err
		}
		whole := match.Match(p, all).Findings
		for _, changed := range all {
			names := []string{changed.ID}
			for _, same := range match.Names(changed) {
				names = append(names, same...)
			}
			got, err := Rematch(t.Context(), r, p, names, time.Time{})
			if err != nil {
				return err
			}
			var want []dossier.Finding
			for _, f := range whole {
				if slices.Contains(got.Names, f.ID) {
					want = append(want, f)
				}
			}
			if diff := cmp.Diff(want, got.Findings); diff != "" {
				t.Fatalf("after %s changed (-want +got):\n%s", changed.ID, diff)
			}
			compared += len(want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if compared < 50 {
		t.Errorf("only %d findings were compared", compared)
	}
}

func each(list []advisory.Record) iter.Seq2[advisory.Record, error] {
	return func(yield func(advisory.Record, error) bool) {
		for _, r := range list {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// TestRematchAfterItIsGone says under which names there is nothing any more.
func TestRematchAfterItIsGone(t *testing.T) {
	k := newKeeper(t, "")
	err := k.Store.View(t.Context(), func(r store.Reader) error {
		got, err := Rematch(t.Context(), r, dossier.Package{Type: "npm", Ecosystem: "npm", Name: "a", Version: "1.0.0"}, []string{"B", "A"}, time.Time{})
		if len(got.Findings) != 0 || !slices.Equal(got.Names, []string{"A", "B"}) {
			t.Errorf("%+v", got)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
