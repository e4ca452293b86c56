// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/store/sqlstore/sqltest"
)

// quotas sets quotas, and returns what is used of the first.
func (l *lab) quotas(t *testing.T, quotas ...dossier.Quota) {
	t.Helper()
	if err := l.store.Update(t.Context(), func(tx store.Tx) error { return tx.SetQuotas(t.Context(), quotas) }); err != nil {
		t.Fatal(err)
	}
}

func (l *lab) used(t *testing.T) int64 {
	t.Helper()
	var used int64
	err := l.store.View(t.Context(), func(r store.Reader) error {
		list, err := r.Quotas(t.Context())
		used = list[0].Used
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return used
}

// keys returns how many blobs there are bytes of.
func (l *lab) keys(t *testing.T) int {
	t.Helper()
	n := 0
	for _, err := range l.blobs.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// TestQuota pushes until a quota is full: what is refused is told why, and its bytes
// do not stay.
func TestQuota(t *testing.T) {
	l := newLab(t, noRows)
	l.quotas(t, dossier.Quota{Prefix: "team", Limit: 1100})
	one, two := bytes.Repeat([]byte("1"), 1000), bytes.Repeat([]byte("2"), 1000)
	put := func(repository string, content []byte) answer {
		t.Helper()
		begun := l.do(t, http.MethodPost, "/v2/"+repository+"/blobs/uploads/", nil)
		return l.do(t, http.MethodPut, begun.header.Get("Location")+"?digest="+string(dossier.FromBytes(content)), content)
	}
	if a := put("team/a", one); a.status != http.StatusCreated {
		t.Fatalf("the first: %d %s", a.status, a.body)
	}
	if a := put("team/b", one); a.status != http.StatusCreated {
		t.Errorf("the same in another repository: %d %s", a.status, a.body)
	}
	refused := put("team/b", two)
	if refused.status != http.StatusForbidden || refused.code() != "DENIED" {
		t.Errorf("what is too much: %d %s", refused.status, refused.body)
	}
	for _, want := range []string{`"prefix":"team"`, `"limit":1100`, `"used":1000`, `"size":1000`, string(dossier.FromBytes(two)), `"hint":"`} {
		if !strings.Contains(string(refused.body), want) {
			t.Errorf("the refusal lacks %s: %s", want, refused.body)
		}
	}
	if n := l.keys(t); n != 1 {
		t.Errorf("there are bytes of %d blobs, want 1: that which was refused is gone", n)
	}
	if a := put("other", two); a.status != http.StatusCreated {
		t.Errorf("elsewhere: %d %s", a.status, a.body)
	}
	mount := "/v2/team/b/blobs/uploads/?from=other&mount=" + string(dossier.FromBytes(two))
	if a := l.do(t, http.MethodPost, mount, nil); a.status != http.StatusForbidden || a.code() != "DENIED" {
		t.Errorf("mounting it: %d %s", a.status, a.body)
	}
	manifest := artifact(`,"annotations":{"text":"` + strings.Repeat("x", 200) + `"}`)
	l.quotas(t, dossier.Quota{Prefix: "team", Limit: 2000})
	l.blob(t, "team/b", "{}")
	l.quotas(t, dossier.Quota{Prefix: "team", Limit: 1100})
	if a := l.do(t, http.MethodPut, "/v2/team/b/manifests/latest", manifest, "Content-Type: "+manifestType); a.status != http.StatusForbidden {
		t.Errorf("a manifest that is too much: %d %s", a.status, a.body)
	}
	for _, repository := range []string{"team/a", "team/b"} {
		if a := l.do(t, http.MethodDelete, "/v2/"+repository+"/blobs/"+string(dossier.FromBytes(one)), nil); a.status != http.StatusAccepted {
			t.Fatalf("DELETE: %d %s", a.status, a.body)
		}
	}
	if used := l.used(t); used != 2 {
		t.Errorf("after deletes %d bytes are used, want those of {}", used)
	}
	if a := l.do(t, http.MethodPost, mount, nil); a.status != http.StatusCreated {
		t.Errorf("mounting it then: %d %s", a.status, a.body)
	}
}

// TestManyPushersOneQuota has 50 clients push at the same time what a quota has room
// for some of.
func TestManyPushersOneQuota(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) sqlstore.Config{
		"SQLite": func(t *testing.T) sqlstore.Config {
			return sqlstore.Config{Path: sqltest.File(t)}
		},
		"PostgreSQL": func(t *testing.T) sqlstore.Config { return sqlstore.Config{URL: sqltest.URL(t)} },
	} {
		t.Run(name, func(t *testing.T) {
			const pushers, size, fit = 50, 1000, 20
			l := newLabOn(t, open(t), noRows)
			l.quotas(t, dossier.Quota{Prefix: "team", Limit: fit*size + size/2})
			statuses := make([]int, pushers)
			var group sync.WaitGroup
			for i := range pushers {
				group.Go(func() {
					content := bytes.Repeat([]byte(fmt.Sprintf("%03d.", i)), size/4)
					url := fmt.Sprintf("%s/v2/team/%d/blobs/uploads/?digest=%s", l.url, i%7, dossier.FromBytes(content))
					if a, err := send(t.Context(), http.MethodPost, url, bytes.NewReader(content), "Content-Type: application/octet-stream"); err == nil {
						statuses[i] = a.status
					}
				})
			}
			group.Wait()
			counts := map[int]int{}
			for _, status := range statuses {
				counts[status]++
			}
			if counts[http.StatusCreated] != fit || counts[http.StatusForbidden] != pushers-fit {
				t.Errorf("answers by status: %v, want %d created and the rest forbidden", counts, fit)
			}
			if used, keys := l.used(t), l.keys(t); used != fit*size || keys != fit {
				t.Errorf("%d bytes are used, there are bytes of %d blobs, want %d and %d", used, keys, fit*size, fit)
			}
		})
	}
}
