// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/match"
	"dossier.dev/dossier/internal/store"
)

func advisoryCases() []testCase {
	return []testCase{
		{"a feed is kept, and found by key, name and bytes", feedIsKept},
		{"an update changes what is new and no more", updateChangesWhatIsNew},
		{"what was known at a time stays known of it", advisoriesAsOf},
		{"a withdrawn advisory is found by name only", withdrawnAdvisory},
		{"a feed that shrinks is refused", feedMustNotShrink},
		{"a broken update leaves nothing", brokenUpdateLeavesNothing},
		{"a record that could not be read stays what it was", unreadRecordStays},
		{"feeds do not touch one another", feedsStandApart},
		{"changes come in order, in pages", advisoryChangesInPages},
		{"two feeds at a time have serials of their own", feedsAtATime},
		{"exploits are replaced as a whole", exploitsAreReplaced},
		{"a feed has a digest", feedHasDigest},
	}
}

// advised makes an advisory: "ID names...: ecosystem name version, ..." where
// version is the one that fixes it.
func advised(line string) store.Advisory {
	head, body, _ := strings.Cut(line, ": ")
	ids := strings.Fields(head)
	a := store.Advisory{Advisory: dossier.Advisory{ID: ids[0], Aliases: ids[1:], Summary: line, SHA256: digest(line)}, Bytes: []byte(line)}
	if len(a.Aliases) == 0 {
		a.Aliases = nil
	}
	for entry := range strings.SplitSeq(body, ", ") {
		if f := strings.Fields(entry); len(f) == 3 {
			a.Affected = append(a.Affected, dossier.Affected{Ecosystem: f[0], Name: f[1], Ranges: []dossier.Range{{
				Type: dossier.RangeEcosystem, Events: []dossier.Event{{Introduced: "0"}, {Fixed: f[2]}},
			}}})
		}
	}
	return a
}

func records(list ...store.Advisory) iter.Seq2[store.Advisory, error] {
	return func(yield func(store.Advisory, error) bool) {
		for _, a := range list {
			if !yield(a, nil) {
				return
			}
		}
	}
}

// whole is an update of a feed with all that it has.
func whole(feed string, lines ...string) store.FeedUpdate {
	u := store.FeedUpdate{Feed: feed, Source: "a test", AsOf: minute(1), Whole: true, MayShrink: 1}
	var list []store.Advisory
	for _, l := range lines {
		list = append(list, advised(l))
	}
	u.Records = records(list...)
	return u
}

func putFeed(t testing.TB, s store.Store, u store.FeedUpdate) store.FeedChange {
	t.Helper()
	return written(t, s, func(tx store.Tx) (store.FeedChange, error) { return tx.PutAdvisories(t.Context(), u) })
}

// known writes what a question finds: "feed ID summary", with the entries.
func known(t testing.TB, s store.Store, q store.AdvisoryQuery) []string {
	t.Helper()
	list := read(t, s, func(r store.Reader) ([]dossier.Advisory, error) { return r.Advisories(t.Context(), q) })
	out := []string{}
	for _, a := range list {
		line := a.Feed + " " + a.ID
		for _, e := range a.Affected {
			line += fmt.Sprintf(" %s/%s<%s", e.Ecosystem, e.Name, e.Ranges[0].Events[1].Fixed)
		}
		out = append(out, line)
	}
	return out
}

func key(ecosystem, name string) store.AdvisoryQuery {
	return store.AdvisoryQuery{Keys: []match.Key{{Ecosystem: ecosystem, Name: name}}}
}

func same[T any](t testing.TB, what string, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func feedIsKept(t *testing.T, s store.Store) {
	u := whole("Debian", "DEBIAN-CVE-2024-0001 CVE-2024-0001: Debian:12 openssl 3.0.11-1, Debian:11 openssl 1.1-1", "DSA-1-1: Debian:12 curl 8-1")
	u.State = func() ([]byte, error) { return []byte(`{"etag":"x"}`), nil }
	got := putFeed(t, s, u)
	changed := got.ChangedAt
	want := store.FeedChange{Feed: store.Feed{
		Feed: dossier.Feed{Ecosystem: "Debian", Serial: 1, AsOf: minute(1), Records: 2}, Source: "a test", State: []byte(`{"etag":"x"}`), ChangedAt: changed,
	}, Added: 2}
	same(t, "change", want, got)
	same(t, "feeds", []store.Feed{want.Feed}, read(t, s, func(r store.Reader) ([]store.Feed, error) { return r.Feeds(t.Context()) }))
	same(t, "ecosystems", map[string][]string{"Debian": {"Debian:11", "Debian:12"}}, read(t, s, func(r store.Reader) (map[string][]string, error) {
		return r.FeedEcosystems(t.Context())
	}))
	same(t, "feeds that cover", map[string][]store.Feed{"Debian:12": {want.Feed}, "Debian:11": {want.Feed}}, read(t, s, func(r store.Reader) (map[string][]store.Feed, error) {
		return r.CoveringFeeds(t.Context(), []string{"Debian:11", "Debian:12", "Debian:10", "npm"})
	}))
	same(t, "by key", []string{"Debian DEBIAN-CVE-2024-0001 Debian:12/openssl<3.0.11-1"}, known(t, s, key("Debian:12", "openssl")))
	same(t, "by another key", []string{}, known(t, s, key("Debian:12", "nothing")))
	two := store.AdvisoryQuery{Keys: []match.Key{{Ecosystem: "Debian:12", Name: "openssl"}, {Ecosystem: "Debian:11", Name: "openssl"}, {Ecosystem: "Debian:12", Name: "curl"}}}
	same(t, "by keys", []string{"Debian DEBIAN-CVE-2024-0001 Debian:12/openssl<3.0.11-1 Debian:11/openssl<1.1-1", "Debian DSA-1-1 Debian:12/curl<8-1"}, known(t, s, two))
	two.Names = []string{"CVE-2024-0001"}
	same(t, "by keys and name", []string{"Debian DEBIAN-CVE-2024-0001 Debian:12/openssl<3.0.11-1 Debian:11/openssl<1.1-1"}, known(t, s, two))
	for _, name := range []string{"CVE-2024-0001", "DEBIAN-CVE-2024-0001"} {
		same(t, "by name", []string{"Debian DEBIAN-CVE-2024-0001 Debian:11/openssl<1.1-1 Debian:12/openssl<3.0.11-1"}, known(t, s, store.AdvisoryQuery{Names: []string{name}}))
	}
	both := store.AdvisoryQuery{Names: []string{"CVE-2024-0001", "DEBIAN-CVE-2024-0001"}}
	same(t, "by two names of one", []string{"Debian DEBIAN-CVE-2024-0001 Debian:11/openssl<1.1-1 Debian:12/openssl<3.0.11-1"}, known(t, s, both))

	a := advised("DSA-1-1: Debian:12 curl 8-1")
	b := read(t, s, func(r store.Reader) ([]byte, error) { return r.AdvisoryBytes(t.Context(), a.SHA256) })
	if string(b) != string(a.Bytes) {
		t.Errorf("bytes %q, want %q", b, a.Bytes)
	}
	whole := read(t, s, func(r store.Reader) ([]dossier.Advisory, error) {
		return r.Advisories(t.Context(), store.AdvisoryQuery{Names: []string{"DSA-1-1"}})
	})
	a.Feed = "Debian"
	same(t, "the advisory", []dossier.Advisory{a.Advisory}, whole)
	err := s.View(t.Context(), func(r store.Reader) error { _, err := r.AdvisoryBytes(t.Context(), digest("none")); return err })
	wantKind(t, err, dossier.KindNotFound)
	n := read(t, s, func(r store.Reader) (int, error) {
		return r.CountAdvisories(t.Context(), "Debian", []string{"DSA-1-1", "DSA-2-1", "DEBIAN-CVE-2024-0001"})
	})
	if n != 2 {
		t.Errorf("%d of the advisories are kept, want 2", n)
	}
}

func updateChangesWhatIsNew(t *testing.T, s store.Store) {
	ctx := t.Context()
	putFeed(t, s, whole("npm", "A-1: npm a 1", "A-2: npm a 2", "A-3: npm b 3"))
	again := putFeed(t, s, whole("npm", "A-1: npm a 1", "A-2: npm a 2", "A-3: npm b 3"))
	if again.Added+again.Changed+again.Removed != 0 || again.Serial != 1 {
		t.Errorf("the same once more: %+v", again)
	}
	u := whole("npm", "A-2: npm a 9", "A-4: npm b 4")
	u.Whole, u.AsOf = false, minute(5)
	got := putFeed(t, s, u)
	if got.Added != 1 || got.Changed != 1 || got.Removed != 0 || got.Records != 4 || got.Serial != 2 || !got.AsOf.Equal(minute(5)) {
		t.Errorf("a part: %+v", got)
	}
	same(t, "a after a part", []string{"npm A-1 npm/a<1", "npm A-2 npm/a<9"}, known(t, s, key("npm", "a")))
	got = putFeed(t, s, whole("npm", "A-1: npm a 1", "A-2: npm a 9"))
	if got.Added != 0 || got.Changed != 0 || got.Removed != 2 || got.Records != 2 || got.Serial != 3 {
		t.Errorf("all: %+v", got)
	}
	same(t, "b after all", []string{}, known(t, s, key("npm", "b")))
	update(t, s, func(tx store.Tx) error { return tx.TouchFeed(ctx, "npm", minute(9), []byte("state")) })
	feeds := read(t, s, func(r store.Reader) ([]store.Feed, error) { return r.Feeds(ctx) })
	if f := feeds[0]; !f.AsOf.Equal(minute(9)) || string(f.State) != "state" || f.Serial != 3 || f.Records != 2 {
		t.Errorf("touched: %+v", f)
	}
	wantKind(t, s.Update(ctx, func(tx store.Tx) error { return tx.TouchFeed(ctx, "none", minute(9), nil) }), dossier.KindNotFound)
	// What was removed may come back.
	if got := putFeed(t, s, whole("npm", "A-1: npm a 1", "A-2: npm a 9", "A-3: npm b 3")); got.Added != 1 {
		t.Errorf("it came back: %+v", got)
	}
	same(t, "b again", []string{"npm A-3 npm/b<3"}, known(t, s, key("npm", "b")))
}

func advisoriesAsOf(t *testing.T, s store.Store) {
	moment := func() time.Time {
		time.Sleep(2 * time.Millisecond)
		now := dossier.Instant(time.Now())
		time.Sleep(2 * time.Millisecond)
		return now
	}
	q := key("npm", "a")
	before := moment()
	putFeed(t, s, whole("npm", "A-1: npm a 1"))
	first := moment()
	putFeed(t, s, whole("npm", "A-1: npm a 2", "A-2: npm a 3"))
	second := moment()
	update(t, s, func(tx store.Tx) error { return tx.RemoveFeed(t.Context(), "npm") })
	for _, tt := range []struct {
		name string
		at   time.Time
		want []string
	}{
		{"before", before, []string{}},
		{"first", first, []string{"npm A-1 npm/a<1"}},
		{"second", second, []string{"npm A-1 npm/a<2", "npm A-2 npm/a<3"}},
		{"now", time.Time{}, []string{}},
	} {
		q.At = tt.at
		same(t, tt.name, tt.want, known(t, s, q))
		q2 := store.AdvisoryQuery{Names: []string{"A-1", "A-2"}, At: tt.at}
		same(t, tt.name+" by name", tt.want, known(t, s, q2))
	}
	if feeds := read(t, s, func(r store.Reader) ([]store.Feed, error) { return r.Feeds(t.Context()) }); len(feeds) != 0 {
		t.Errorf("feeds after it was removed: %+v", feeds)
	}
	wantKind(t, s.Update(t.Context(), func(tx store.Tx) error { return tx.RemoveFeed(t.Context(), "npm") }), dossier.KindNotFound)
}

func withdrawnAdvisory(t *testing.T, s store.Store) {
	putFeed(t, s, whole("npm", "A-1 CVE-2024-0001: npm a 1", "A-2: npm a 2"))
	gone := advised("A-1 CVE-2024-0001: npm a 1, npm b 1")
	gone.Withdrawn = minute(3)
	u := whole("npm")
	u.Records, u.Whole, u.MayShrink = records(gone), false, 0.5
	putFeed(t, s, u)
	same(t, "by key", []string{"npm A-2 npm/a<2"}, known(t, s, key("npm", "a")))
	got := read(t, s, func(r store.Reader) ([]dossier.Advisory, error) {
		return r.Advisories(t.Context(), store.AdvisoryQuery{Names: []string{"CVE-2024-0001"}})
	})
	if len(got) != 1 || !got[0].Withdrawn.Equal(minute(3)) || got[0].Affected != nil {
		t.Errorf("by name: %+v", got)
	}
}

func feedMustNotShrink(t *testing.T, s store.Store) {
	ctx := t.Context()
	var all []string
	for i := range 10 {
		all = append(all, fmt.Sprintf("A-%d: npm a %d", i, i+1))
	}
	putFeed(t, s, whole("npm", all...))
	shrinks := func(u store.FeedUpdate, most float64) error {
		u.MayShrink = most
		return s.Update(ctx, func(tx store.Tx) error { _, err := tx.PutAdvisories(ctx, u); return err })
	}
	wantKind(t, shrinks(whole("npm", all[:7]...), 0.2), dossier.KindConflict)
	wantKind(t, shrinks(whole("npm"), 0.2), dossier.KindConflict)
	if n := len(known(t, s, key("npm", "a"))); n != 10 {
		t.Errorf("after it was refused there are %d", n)
	}
	// Withdrawing many at once is no better than losing them.
	var gone []store.Advisory
	for i, line := range all[:3] {
		a := advised(line + " ")
		a.SHA256, a.Withdrawn = digest(fmt.Sprint("withdrawn", i)), minute(1)
		gone = append(gone, a)
	}
	u := whole("npm")
	u.Whole, u.Records = false, records(gone...)
	wantKind(t, shrinks(u, 0.2), dossier.KindConflict)
	if err := shrinks(whole("npm", all[:8]...), 0.2); err != nil {
		t.Errorf("by a fifth: %v", err)
	}
	if err := shrinks(whole("npm", all[:1]...), 1); err != nil {
		t.Errorf("as it may: %v", err)
	}
}

func brokenUpdateLeavesNothing(t *testing.T, s store.Store) {
	ctx := t.Context()
	putFeed(t, s, whole("npm", "A-1: npm a 1"))
	broken := errors.New("the line broke")
	u := whole("npm")
	u.Records = func(yield func(store.Advisory, error) bool) {
		for i := range 300 {
			if !yield(advised(fmt.Sprintf("B-%d: npm a 1", i)), nil) {
				return
			}
		}
		yield(store.Advisory{}, broken)
	}
	if err := s.Update(ctx, func(tx store.Tx) error { _, err := tx.PutAdvisories(ctx, u); return err }); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	u = whole("npm", "A-1: npm a 2")
	u.State = func() ([]byte, error) { return nil, broken }
	if err := s.Update(ctx, func(tx store.Tx) error { _, err := tx.PutAdvisories(ctx, u); return err }); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	wantKind(t, s.Update(ctx, func(tx store.Tx) error {
		_, err := tx.PutAdvisories(ctx, whole("npm", "A-1: npm a 2", "A-1: npm a 3"))
		return err
	}), dossier.KindConflict)
	same(t, "kept", []string{"npm A-1 npm/a<1"}, known(t, s, key("npm", "a")))
	changes := read(t, s, func(r store.Reader) ([]store.AdvisoryChange, error) {
		return r.AdvisoryChanges(ctx, store.AdvisoryPosition{}, 10)
	})
	if len(changes) != 1 {
		t.Errorf("changes: %+v", changes)
	}
}

func unreadRecordStays(t *testing.T, s store.Store) {
	putFeed(t, s, whole("npm", "A-1: npm a 1", "A-2: npm a 2"))
	u := whole("npm")
	unread := func(id string) store.Advisory { return store.Advisory{Advisory: dossier.Advisory{ID: id}} }
	u.Records = records(unread("A-1"), unread("A-3"), advised("A-2: npm a 9"))
	got := putFeed(t, s, u)
	if got.Changed != 1 || got.Removed != 0 || got.Records != 2 {
		t.Errorf("%+v", got)
	}
	same(t, "kept", []string{"npm A-1 npm/a<1", "npm A-2 npm/a<9"}, known(t, s, key("npm", "a")))
}

func feedsStandApart(t *testing.T, s store.Store) {
	putFeed(t, s, whole("one", "A-1: npm a 1", "A-2: npm a 2"))
	putFeed(t, s, whole("two", "A-1: npm a 1", "A-2: npm a 3"))
	same(t, "the same bytes are one", []string{"one A-1 npm/a<1", "one A-2 npm/a<2", "two A-2 npm/a<3"}, sorted(known(t, s, key("npm", "a"))))
	putFeed(t, s, whole("one"))
	same(t, "without the first", []string{"two A-1 npm/a<1", "two A-2 npm/a<3"}, known(t, s, key("npm", "a")))
}

func sorted(list []string) []string { slices.Sort(list); return list }

func advisoryChangesInPages(t *testing.T, s store.Store) {
	putFeed(t, s, whole("npm", "A-1 CVE-2024-0001: npm a 1, npm b 1", "A-2: npm a 2", "A-3: npm c 3"))
	putFeed(t, s, whole("npm", "A-1 CVE-2024-0001: npm a 1, npm b 1", "A-2 CVE-2024-0002: npm d 2"))
	var got []string
	for after := (store.AdvisoryPosition{}); ; {
		page := read(t, s, func(r store.Reader) ([]store.AdvisoryChange, error) { return r.AdvisoryChanges(t.Context(), after, 2) })
		if len(page) == 0 {
			break
		}
		for _, c := range page {
			line := fmt.Sprintf("%d %s %v", c.Serial, c.ID, c.Gone)
			for _, k := range c.Keys {
				line += " " + k.Ecosystem + "/" + k.Name
			}
			got = append(got, line+" "+strings.Join(c.Names, ","))
			after = c.AdvisoryPosition
		}
	}
	same(t, "changes", []string{
		"1 A-1 false npm/a npm/b A-1,CVE-2024-0001", "1 A-2 false npm/a A-2", "1 A-3 false npm/c A-3",
		"2 A-2 true npm/a A-2", "2 A-3 true npm/c A-3", "2 A-2 false npm/d A-2,CVE-2024-0002",
	}, got)
}

func feedsAtATime(t *testing.T, s store.Store) {
	const feeds = 6
	together(t, feeds, func(i int) error {
		name := fmt.Sprint("feed", i)
		for round := range 3 {
			u := whole(name, fmt.Sprintf("%s-1: npm a %d", name, round), name+"-2: npm a 1")
			if err := s.Update(t.Context(), func(tx store.Tx) error { _, err := tx.PutAdvisories(t.Context(), u); return err }); err != nil {
				return err
			}
		}
		return nil
	})
	list := read(t, s, func(r store.Reader) ([]store.Feed, error) { return r.Feeds(t.Context()) })
	seen := map[int64]bool{}
	for _, f := range list {
		if seen[f.Serial] || f.Records != 2 {
			t.Errorf("%+v: its serial is another's, or it lost something", f)
		}
		seen[f.Serial] = true
	}
	changes := read(t, s, func(r store.Reader) ([]store.AdvisoryChange, error) {
		return r.AdvisoryChanges(context.WithoutCancel(t.Context()), store.AdvisoryPosition{}, 1000)
	})
	if want := feeds * (2 + 2 + 2); len(changes) != want {
		t.Errorf("%d changes, want %d", len(changes), want)
	}
}

func exploitsAreReplaced(t *testing.T, s store.Store) {
	ctx := t.Context()
	get := func() map[string]dossier.Exploit {
		return read(t, s, func(r store.Reader) (map[string]dossier.Exploit, error) {
			return r.Exploits(ctx, []string{"CVE-1", "CVE-2", "CVE-3", "CVE-4"})
		})
	}
	update(t, s, func(tx store.Tx) error {
		if err := tx.PutExploited(ctx, map[string]time.Time{"CVE-1": minute(1), "CVE-2": minute(2)}); err != nil {
			return err
		}
		return tx.PutLikelihoods(ctx, map[string]dossier.Exploit{"CVE-2": {Probability: 0.5, Percentile: 0.9}, "CVE-3": {Probability: 0.1, Percentile: 0.2}})
	})
	same(t, "exploits", map[string]dossier.Exploit{
		"CVE-1": {KnownSince: minute(1)}, "CVE-2": {KnownSince: minute(2), Probability: 0.5, Percentile: 0.9}, "CVE-3": {Probability: 0.1, Percentile: 0.2},
	}, get())
	update(t, s, func(tx store.Tx) error { return tx.PutExploited(ctx, map[string]time.Time{"CVE-3": minute(3)}) })
	update(t, s, func(tx store.Tx) error {
		return tx.PutLikelihoods(ctx, map[string]dossier.Exploit{"CVE-3": {Probability: 0.3, Percentile: 0.4}})
	})
	same(t, "replaced", dossier.Exploit{KnownSince: minute(3), Probability: 0.3, Percentile: 0.4}, get()["CVE-3"])
	same(t, "forgotten", dossier.Exploit{}, get()["CVE-2"])
}

// feedHasDigest: equal advisories have equal digests, in whatever order they came, and the past keeps its own.
func feedHasDigest(t *testing.T, s store.Store) {
	of := func(feed string, serial int64) dossier.Digest {
		return read(t, s, func(r store.Reader) (dossier.Digest, error) { return r.FeedDigest(t.Context(), feed, serial) })
	}
	a, b, c := "A: npm a 1", "B: npm b 1", "C: npm c 1"
	first := putFeed(t, s, whole("one", a, b))
	want := dossier.FromBytes([]byte("dossier/feed/v1\n\"A\" " + string(digest(a)) + "\n\"B\" " + string(digest(b)) + "\n"))
	if got := of("one", first.Serial); got != want {
		t.Errorf("the digest is %s, want %s", got, want)
	}
	second := putFeed(t, s, whole("one", c, a))
	other := putFeed(t, s, whole("two", a, c))
	if of("one", second.Serial) != of("two", other.Serial) {
		t.Error("two feeds of the same advisories have other digests")
	}
	if of("one", first.Serial) != want || of("one", second.Serial) == want {
		t.Error("the digest is not of the serial")
	}
	err := s.View(t.Context(), func(r store.Reader) error {
		_, err := r.FeedDigest(t.Context(), "none", 1)
		return err
	})
	wantKind(t, err, dossier.KindNotFound)
}
