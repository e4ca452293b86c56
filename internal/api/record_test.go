// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

func decode[T any](t *testing.T, url string) T {
	t.Helper()
	resp, body := get(t, url)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s", url, resp.Status, body)
	}
	var v T
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	return v
}

func update(t *testing.T, db store.Store, f func(ctx context.Context, tx store.Tx) error) {
	t.Helper()
	if err := db.Update(t.Context(), func(tx store.Tx) error { return f(t.Context(), tx) }); err != nil {
		t.Fatal(err)
	}
}

func TestFactsComePageByPage(t *testing.T) {
	db := openStore(t)
	_, url := start(t, Config{Store: db})
	subject := dossier.FromBytes([]byte("subject"))
	var want []dossier.Fact
	update(t, db, func(ctx context.Context, tx store.Tx) error {
		want = nil
		sizes := []int{1, 2, maxFactBytes - 1, 4, 5} // the third fills a page
		for i, n := range sizes {
			f, _, err := tx.Record(ctx, dossier.Statement{
				Subject: subject, Kind: dossier.FactName, Source: "test", ValidAt: noon.Add(time.Duration(i) * time.Second),
				Body: []byte(strings.Repeat("x", n)),
			})
			if err != nil {
				return err
			}
			want = append(want, f)
		}
		return nil
	})
	var got []dossier.Fact
	var pages []int
	for after := int64(0); ; {
		page := decode[dossier.FactList](t, url+"/api/v1/subjects/"+string(subject)+"/facts?limit=4&after="+jsonOf(after))
		got = append(got, page.Facts...)
		pages = append(pages, len(page.Facts))
		if after = page.Next; after == 0 {
			break
		}
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(bytes.Equal)); diff != "" {
		t.Errorf("facts (-want +got):\n%.2000s", diff)
	}
	if diff := cmp.Diff([]int{2, 1, 2}, pages); diff != "" {
		t.Errorf("lengths of pages (-want +got):\n%s", diff)
	}
	if one := decode[dossier.Fact](t, url+"/api/v1/facts/"+string(want[0].ID)); !cmp.Equal(one, want[0]) {
		t.Errorf("one fact: %s", cmp.Diff(want[0], one))
	}
	none := decode[dossier.FactList](t, url+"/api/v1/subjects/"+string(dossier.FromBytes(nil))+"/facts")
	if none.Facts == nil || len(none.Facts) > 0 {
		t.Errorf("facts of an unknown subject: %v, want an empty list", none.Facts)
	}
}

func jsonOf(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

func TestJobsThatFailAreShown(t *testing.T) {
	db := openStore(t)
	_, url := start(t, Config{Store: db})
	update(t, db, func(ctx context.Context, tx store.Tx) error {
		for _, key := range []string{"ready", "retried", "parked"} {
			if _, err := tx.Enqueue(ctx, store.Job{Kind: "image.read", Key: key, RunAt: noon}); err != nil {
				return err
			}
		}
		jobs, err := tx.Lease(ctx, "me", []string{"image.read"}, 3, noon.Add(time.Minute), time.Minute)
		if err != nil {
			return err
		}
		for _, j := range jobs {
			switch j.Key {
			case "ready":
				err = errors.Join(err, tx.Retry(ctx, j.ID, "me", "", noon))
			case "retried":
				err = errors.Join(err, tx.Retry(ctx, j.ID, "me", `{"message":"slow"}`, noon.Add(time.Hour)))
			case "parked":
				err = errors.Join(err, tx.Park(ctx, j.ID, "me", `{"message":"bad","hint":"push it again"}`))
			}
		}
		return err
	})
	got := decode[dossier.JobList](t, url+"/api/v1/jobs")
	for i := range got.Failing {
		got.Failing[i].CreatedAt = time.Time{}
		if got.Failing[i].State == string(store.JobParked) {
			got.Failing[i].RunAt = time.Time{}
		}
	}
	want := dossier.JobList{
		AsOf: noon,
		Counts: []dossier.JobCount{
			{Kind: "image.read", State: "parked", Count: 1},
			{Kind: "image.read", State: "ready", Count: 2},
		},
		Failing: []dossier.FailingJob{
			{Kind: "image.read", Key: "parked", State: "parked", Attempts: 1, Message: "bad", Hint: "push it again"},
			{Kind: "image.read", Key: "retried", State: "ready", Attempts: 1, RunAt: noon.Add(time.Hour), Message: "slow"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("jobs (-want +got):\n%s", diff)
	}
}

func TestTagsAndClusters(t *testing.T) {
	db := openStore(t)
	_, url := start(t, Config{Store: db})
	old, now := dossier.FromBytes([]byte("old")), dossier.FromBytes([]byte("now"))
	update(t, db, func(ctx context.Context, tx store.Tx) error {
		err := tx.PutCluster(ctx, dossier.Cluster{ID: "1", Name: "one"})
		for i, d := range []dossier.Digest{old, now} {
			_, _, pointErr := tx.PointTag(ctx, "registry.example/app", "v1", d, noon.Add(time.Duration(i)*time.Hour))
			err = errors.Join(err, pointErr)
		}
		return err
	})
	first := dossier.TagInterval{Name: "registry.example/app", Tag: "v1", Digest: old, From: noon, To: noon.Add(time.Hour), CheckedAt: noon}
	second := dossier.TagInterval{Name: "registry.example/app", Tag: "v1", Digest: now, From: noon.Add(time.Hour), CheckedAt: noon.Add(time.Hour)}
	tests := []struct {
		digest dossier.Digest
		query  string
		want   []dossier.TagInterval
	}{
		{old, "", []dossier.TagInterval{}},
		{now, "", []dossier.TagInterval{second}},
		{old, "?at=2026-03-01T12:30:00Z", []dossier.TagInterval{first}},
	}
	for _, tt := range tests {
		got := decode[dossier.TagList](t, url+"/api/v1/digests/"+string(tt.digest)+"/tags"+tt.query)
		if diff := cmp.Diff(tt.want, got.Tags); diff != "" {
			t.Errorf("tags of %s%s (-want +got):\n%s", tt.digest.Short(), tt.query, diff)
		}
	}
	got := decode[dossier.ClusterList](t, url+"/api/v1/clusters")
	if diff := cmp.Diff([]dossier.Cluster{{ID: "1", Name: "one"}}, got.Clusters); diff != "" {
		t.Errorf("clusters (-want +got):\n%s", diff)
	}
}

// TestTagsInPages has more tags at a digest than a page holds, of repositories
// whose names sort otherwise than their references.
func TestTagsInPages(t *testing.T) {
	db := openStore(t)
	_, url := start(t, Config{Store: db})
	d := dossier.FromBytes([]byte("d"))
	var want []string
	update(t, db, func(ctx context.Context, tx store.Tx) error {
		for _, name := range []string{"registry.example/a", "registry.example/a-b", "registry.example/a/b"} {
			for _, tag := range []string{"1", "latest"} {
				if _, _, err := tx.PointTag(ctx, name, tag, d, noon); err != nil {
					return err
				}
				want = append(want, name+":"+tag)
			}
		}
		return nil
	})
	for limit := 1; limit <= len(want)+1; limit++ {
		var got []string
		for after := ""; ; {
			page := decode[dossier.TagList](t, fmt.Sprintf("%s/api/v1/digests/%s/tags?limit=%d&after=%s", url, d, limit, after))
			for _, i := range page.Tags {
				got = append(got, i.Name+":"+i.Tag)
			}
			if after = page.Next; after == "" {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("in pages of %d (-want +got):\n%s", limit, diff)
		}
	}
	for _, query := range []string{"after=x", "limit=0", "limit=1001", "limit=x"} {
		if resp, body := get(t, url+"/api/v1/digests/"+string(d)+"/tags?"+query); resp.StatusCode != 400 {
			t.Errorf("%s: %s %s", query, resp.Status, body)
		}
	}
}

func TestReadiness(t *testing.T) {
	var fault error
	_, url := start(t, Config{Checks: []Check{
		{"first", func(context.Context) error { return nil }},
		{"second", func(context.Context) error { return fault }},
	}})
	if resp, body := get(t, url+"/readyz"); resp.StatusCode != 200 || body != "first: ok\nsecond: ok\ndraining: ok\n" {
		t.Errorf("ready: %s\n%s", resp.Status, body)
	}
	fault = errors.New("not\nyet")
	if resp, body := get(t, url+"/readyz"); resp.StatusCode != 503 || body != "first: ok\nsecond: not ready: not yet\ndraining: ok\n" {
		t.Errorf("not ready: %s\n%s", resp.Status, body)
	}
}

func TestMetricsHaveBoundedLabels(t *testing.T) {
	_, url := start(t, Config{LoopbackOnly: true})
	get(t, url+"/api/v1/digests/sha256:1")
	get(t, url+"/api/v1/digests/sha256:2")
	get(t, url+"/no/such/path")
	get(t, url+"/healthz", "Host: evil.example")
	_, body := get(t, url+"/metrics")
	for _, want := range []string{
		`dossier_http_requests_total{code="400",route="/api/v1/digests/{digest}"} 2`,
		`dossier_http_requests_total{code="404",route="other"} 1`,
		`dossier_http_requests_total{code="403",route="other"} 1`,
		`dossier_http_request_duration_seconds_count{route="/api/v1/digests/{digest}"} 2`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("metrics lack %s", want)
		}
	}
}
