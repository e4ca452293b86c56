// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/store/sqlstore/sqltest"
)

// TestManyPushersFixTag has 50 clients push different manifests under one fixed
// tag at the same time. One wins; each of the others is told what holds the tag,
// and since when.
func TestManyPushersFixTag(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) sqlstore.Config{
		"SQLite": func(t *testing.T) sqlstore.Config {
			return sqlstore.Config{Path: sqltest.File(t)}
		},
		"PostgreSQL": func(t *testing.T) sqlstore.Config { return sqlstore.Config{URL: sqltest.URL(t)} },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLabOn(t, open(t), func(c *registry.Config) { c.Fixed = func(_, tag string) bool { return tag != "latest" } })
			l.blob(t, "app", "{}")
			for round := range 3 {
				manyPushers(t, l, fmt.Sprintf("1.0.%d", round))
			}
		})
	}
}

func manyPushers(t *testing.T, l *lab, tag string) {
	const pushers = 50
	answers := make([]answer, pushers)
	errs := make([]error, pushers)
	body := func(i int) []byte { return artifact(fmt.Sprintf(`,"annotations":{"pusher":"%s %d"}`, tag, i)) }
	before := time.Now()
	var group sync.WaitGroup
	for i := range pushers {
		group.Go(func() {
			answers[i], errs[i] = send(t.Context(), http.MethodPut, l.url+"/v2/app/manifests/"+tag, bytes.NewReader(body(i)), "Content-Type: "+manifestType)
		})
	}
	group.Wait()
	var winner dossier.Digest
	for i, a := range answers {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		if a.status == http.StatusCreated {
			if winner != "" {
				t.Errorf("%d won, and so did %s", i, winner)
			}
			winner = dossier.FromBytes(body(i))
		}
	}
	for i, a := range answers {
		if a.status == http.StatusCreated {
			continue
		}
		var told struct {
			Errors []struct {
				Code   string
				Detail struct {
					Tag    string
					Digest dossier.Digest
					Since  time.Time
				}
			}
		}
		if err := json.Unmarshal(a.body, &told); err != nil || len(told.Errors) != 1 {
			t.Fatalf("%d: %v: %s", i, err, a.body)
		}
		e := told.Errors[0]
		if a.status != http.StatusConflict || e.Code != "TAG_IMMUTABLE" || e.Detail.Tag != tag || e.Detail.Digest != winner {
			t.Errorf("%d of which %s won was told %d: %s", i, winner, a.status, a.body)
		}
		if e.Detail.Since.Before(before.Add(-time.Second)) || e.Detail.Since.After(time.Now()) {
			t.Errorf("%d was told since %v", i, e.Detail.Since)
		}
	}
	var history []dossier.TagInterval
	err := l.store.View(t.Context(), func(r store.Reader) (err error) {
		history, err = r.TagHistory(t.Context(), host+"/app", tag, 10)
		return err
	})
	if err != nil || len(history) != 1 || history[0].Digest != winner || !history[0].To.IsZero() {
		t.Errorf("the tag was at %+v, %v; want %s alone", history, err, winner)
	}
}
