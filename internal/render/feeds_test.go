// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package render_test

import (
	"bytes"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/feed"
	"dossier.dev/dossier/internal/render"
)

func TestFeeds(t *testing.T) {
	at := time.Date(2024, 5, 1, 12, 30, 0, 0, time.UTC)
	list := feed.StatusList{At: at, Feeds: []feed.Status{
		{Feed: "Debian", Source: "https://example.org", Serial: 12, Records: 40000, AsOf: at, ChangedAt: at.Add(-time.Hour)},
		{Feed: "npm\x1b[31m", Source: "/media/osv", Serial: 3, Records: 1, AsOf: at.AddDate(0, 0, -9), ChangedAt: at.AddDate(0, -1, 0), Stale: true},
	}}
	var b bytes.Buffer
	if err := render.Feeds(&b, list, render.Options{}); err != nil {
		t.Fatal(err)
	}
	want := "FEED         ADVISORIES  AS OF                    CHANGED           SERIAL  SOURCE\n" +
		"Debian       40000       2024-05-01 12:30         2024-05-01 11:30  12      https://example.org\n" +
		`npm\x1b[31m` + "  1           2024-04-22 12:30, stale  2024-04-01 12:30  3       /media/osv\n"
	if got := b.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestFeedReport(t *testing.T) {
	for want, r := range map[string]feed.Report{
		"npm: 1 advisory, nothing new\n":                     {Feed: dossier.Feed{Ecosystem: "npm", Records: 1}},
		"npm: 3 advisories, 2 added, 1 changed, 0 removed\n": {Feed: dossier.Feed{Ecosystem: "npm", Records: 3}, Added: 2, Changed: 1},
	} {
		var b bytes.Buffer
		if err := render.FeedReport(&b, r); err != nil || b.String() != want {
			t.Errorf("%q, %v; want %q", b.String(), err, want)
		}
	}
}
