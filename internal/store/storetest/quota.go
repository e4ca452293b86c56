// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

func quotaCases() []testCase {
	return []testCase{
		{"each digest counts once", quotaCountsOnce},
		{"what is too much is refused", quotaRefuses},
		{"a new quota counts what is there", newQuotaCounts},
		{"many pushers never exceed a quota", quotaHoldsUnderLoad},
		{"what is shared comes and goes", quotaOfShared},
	}
}

func setQuotas(t testing.TB, s store.Store, quotas ...dossier.Quota) {
	t.Helper()
	update(t, s, func(tx store.Tx) error { return tx.SetQuotas(t.Context(), quotas) })
}

// checkUsed checks what is used of quotas, by prefix.
func checkUsed(t testing.TB, s store.Store, what string, want ...int64) {
	t.Helper()
	var got []int64
	for _, q := range read(t, s, func(r store.Reader) ([]dossier.Quota, error) { return r.Quotas(t.Context()) }) {
		got = append(got, q.Used)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: used (-want +got):\n%s", what, diff)
	}
}

func quotaCountsOnce(t *testing.T, s store.Store) {
	ctx := t.Context()
	for _, path := range []string{"team", "team/a", "team/a/b", "team0", "teamwork", "other/team"} {
		newRepository(t, s, path)
	}
	setQuotas(t, s, dossier.Quota{Prefix: "team"}, dossier.Quota{Prefix: "team/a"})
	checkUsed(t, s, "at first", 0, 0)
	putBlobs(t, s, "team/a", "x", "x")
	putBlobs(t, s, "team/a/b", "x", "y")
	putBlobs(t, s, "team", "x", "z")
	for _, path := range []string{"team0", "teamwork", "other/team"} {
		putBlobs(t, s, path, "x", "other")
	}
	checkUsed(t, s, "three blobs in three repositories", 21, 14)
	putManifest(t, s, manifestNamed("team/a", "m"), store.Child{Digest: digest("x"), Blob: true})
	putManifest(t, s, manifestNamed("team/a", "m"), store.Child{Digest: digest("x"), Blob: true})
	checkUsed(t, s, "and a manifest", 21+9, 14+9)
	unlink := func(path, name string) {
		t.Helper()
		update(t, s, func(tx store.Tx) error { return tx.UnlinkBlob(ctx, deletion(path, name)) })
	}
	unlink("team/a/b", "x")
	checkUsed(t, s, "another repository has it", 30, 23)
	update(t, s, func(tx store.Tx) error { return tx.DeleteManifest(ctx, deletion("team/a", "m")) })
	unlink("team/a", "x")
	checkUsed(t, s, "without it in a", 21, 7)
	update(t, s, func(tx store.Tx) error {
		if taken, err := tx.CollectBlob(ctx, collection("team", "x", 50)); err != nil || !taken {
			return fmt.Errorf("collected: %v, %w", taken, err)
		}
		return nil
	})
	checkUsed(t, s, "collected", 14, 7)
	putManifest(t, s, manifestNamed("team", "n"))
	update(t, s, func(tx store.Tx) error {
		if taken, err := tx.CollectManifest(ctx, collection("team", "n", 50)); err != nil || !taken {
			return fmt.Errorf("collected: %v, %w", taken, err)
		}
		return nil
	})
	checkUsed(t, s, "a manifest collected", 14, 7)
}

func quotaRefuses(t *testing.T, s store.Store) {
	ctx := t.Context()
	newRepository(t, s, "team/a")
	newRepository(t, s, "team/b")
	setQuotas(t, s, dossier.Quota{Prefix: "team", Limit: 20}, dossier.Quota{Prefix: "team/b", Limit: 7})
	putBlobs(t, s, "team/a", "x", "y")
	update(t, s, func(tx store.Tx) error {
		_, err := tx.PutBlob(ctx, store.Blob{Digest: digest("z"), Key: "z", Size: 7})
		return err
	})
	refused := func(want store.OverQuota, f func(tx store.Tx) error) {
		t.Helper()
		err := s.Update(ctx, f)
		var got *store.OverQuota
		if !errors.As(err, &got) || *got != want || dossier.KindOf(err) != dossier.KindDenied {
			t.Errorf("got %v, want %v", err, &want)
		}
	}
	link := func(path, name string) func(store.Tx) error {
		return func(tx store.Tx) error { return tx.LinkBlob(ctx, path, digest(name), minute(1), minute(2)) }
	}
	team := dossier.Quota{Prefix: "team", Limit: 20, Used: 14}
	refused(store.OverQuota{Quota: team, Digest: digest("z"), Size: 7}, link("team/a", "z"))
	if holds(t, s, "team/a", "z") {
		t.Error("what was refused is there")
	}
	update(t, s, link("team/b", "x")) // counts already
	refused(store.OverQuota{Quota: dossier.Quota{Prefix: "team/b", Limit: 7, Used: 7}, Digest: digest("y"), Size: 7}, link("team/b", "y"))
	m := manifestNamed("team/a", "manifest")
	refused(store.OverQuota{Quota: team, Digest: m.Digest, Size: m.Size}, func(tx store.Tx) error {
		_, err := tx.PutManifest(ctx, m, nil)
		return err
	})
	checkUsed(t, s, "after what was refused", 14, 7)
	setQuotas(t, s, dossier.Quota{Prefix: "team", Limit: 21})
	update(t, s, link("team/a", "z"))
	checkUsed(t, s, "with more room", 21)
	setQuotas(t, s, dossier.Quota{Prefix: "team", Limit: 1})
	checkUsed(t, s, "with less room", 21)
	update(t, s, link("team/a", "z"))
	update(t, s, func(tx store.Tx) error { return tx.UnlinkBlob(ctx, deletion("team/a", "z")) })
	checkUsed(t, s, "too much, and less of it", 14)
}

func newQuotaCounts(t *testing.T, s store.Store) {
	for _, path := range []string{"team", "team/a", "team0", "tea"} {
		newRepository(t, s, path)
		putBlobs(t, s, path, "x", "of "+path)
		putManifest(t, s, manifestNamed(path, "m of "+path))
	}
	setQuotas(t, s, dossier.Quota{Prefix: "team", Limit: 1}, dossier.Quota{Prefix: "none", Limit: 5})
	checkUsed(t, s, "counted", 0, 7+7+7+int64(len("body of m of team"))+int64(len("body of m of team/a")))
	setQuotas(t, s)
	checkUsed(t, s, "without quotas")
}

func quotaHoldsUnderLoad(t *testing.T, s store.Store) {
	const pushers, fit = 50, 17
	setQuotas(t, s, dossier.Quota{Prefix: "team", Limit: fit*7 + 3})
	for i := range pushers {
		newRepository(t, s, fmt.Sprint("team/", i))
	}
	var kept, refused atomic.Int64
	together(t, pushers, func(i int) error {
		err := s.Update(t.Context(), func(tx store.Tx) error {
			path, name := fmt.Sprint("team/", i), fmt.Sprint("blob ", i)
			if _, err := tx.PutRepository(t.Context(), path, minute(1)); err != nil {
				return err
			}
			if _, err := tx.PutBlob(t.Context(), store.Blob{Digest: digest(name), Key: name, Size: 7}); err != nil {
				return err
			}
			return tx.LinkBlob(t.Context(), path, digest(name), minute(1), minute(2))
		})
		var over *store.OverQuota
		switch {
		case err == nil:
			kept.Add(1)
		case errors.As(err, &over):
			refused.Add(1)
		default:
			return err
		}
		return nil
	})
	if kept.Load() != fit || refused.Load() != pushers-fit {
		t.Errorf("%d were kept and %d refused, want %d and %d", kept.Load(), refused.Load(), fit, pushers-fit)
	}
	checkUsed(t, s, "after all", fit*7)
}

// quotaOfShared puts one blob into two repositories and takes it out of them, all
// at a time: what is counted is what is there.
func quotaOfShared(t *testing.T, s store.Store) {
	ctx := t.Context()
	setQuotas(t, s, dossier.Quota{Prefix: "team", Limit: 1000})
	newRepository(t, s, "team/a")
	newRepository(t, s, "team/b")
	newRepository(t, s, "elsewhere")
	putBlobs(t, s, "elsewhere", "x")
	for round := range races {
		together(t, 4, func(i int) error {
			path := []string{"team/a", "team/b"}[i%2]
			return s.Update(ctx, func(tx store.Tx) error {
				if i < 2 {
					return tx.LinkBlob(ctx, path, digest("x"), minute(1), minute(2))
				}
				_, err := tx.CollectBlob(ctx, collection(path, "x", 50))
				return err
			})
		})
		want := int64(0)
		if holds(t, s, "team/a", "x") || holds(t, s, "team/b", "x") {
			want = 7
		}
		checkUsed(t, s, fmt.Sprint("round ", round), want)
	}
}
