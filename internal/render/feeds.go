// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"dossier.dev/dossier/internal/feed"
)

// Feeds writes one line a feed of advisories.
func Feeds(w io.Writer, list feed.StatusList, opt Options) error {
	columns := []column{{title: "FEED"}, {title: "ADVISORIES"}, {title: "AS OF"}, {title: "CHANGED"}, {title: "SERIAL", spare: true}, {title: "SOURCE", min: 20, spare: true, tail: true}}
	var rows [][]cell
	for _, f := range list.Feeds {
		asOf := cell{text: feedTime(f.AsOf)}
		if f.Stale {
			asOf = cell{asOf.text + ", stale", styleWarn}
		}
		rows = append(rows, []cell{
			{text: f.Feed}, {text: strconv.Itoa(f.Records)}, asOf, {text: feedTime(f.ChangedAt)}, {text: strconv.FormatInt(f.Serial, 10)}, {text: f.Source},
		})
	}
	return writeTable(w, columns, rows, opt)
}

func feedTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") }

// FeedReport says in a line what an update of a feed changed.
func FeedReport(w io.Writer, r feed.Report) error {
	what := "nothing new"
	if r.Added+r.Changed+r.Removed > 0 {
		what = fmt.Sprintf("%d added, %d changed, %d removed", r.Added, r.Changed, r.Removed)
	}
	noun := "advisories"
	if r.Feed.Records == 1 {
		noun = "advisory"
	}
	_, err := fmt.Fprintf(w, "%s: %d %s, %s\n", Clean(r.Feed.Ecosystem), r.Feed.Records, noun, what)
	return err
}
