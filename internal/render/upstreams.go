// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"io"
	"time"

	"dossier.dev/dossier"
)

// Upstreams writes the registries that a server pulls through, one a line.
func Upstreams(w io.Writer, list dossier.UpstreamList, opt Options) error {
	columns := []column{
		{title: "NAME"}, {title: "STATE"}, {title: "LIMIT"}, {title: "REQUESTS", spare: true}, {title: "FETCHED"}, {title: "KEPT"},
		{title: "STALE"}, {title: "FAILED"}, {title: "BYTES"}, {title: "WHY", min: 20},
	}
	var rows [][]cell
	for _, u := range list.Upstreams {
		rows = append(rows, []cell{
			{text: u.Name}, {text: string(u.State), style: upstreamStyle(u.State)}, {text: limitText(u.RateLimit)}, {text: fmt.Sprint(u.Requests)},
			{text: fmt.Sprint(u.Served.Fetched)}, {text: fmt.Sprint(u.Served.Kept)}, {text: fmt.Sprint(u.Served.Stale)},
			{text: fmt.Sprint(u.Served.Failed)}, {text: Bytes(u.Bytes)}, {text: whyText(u)},
		})
	}
	return writeTable(w, columns, rows, opt)
}

// limitText says how many requests an upstream still allows.
func limitText(r *dossier.RateLimit) string {
	if r == nil {
		return "-"
	}
	text := fmt.Sprintf("%d of %d", r.Remaining, r.Limit)
	if r.Seconds > 0 {
		text += " in " + (time.Duration(r.Seconds) * time.Second).String()
	}
	return text
}

// whyText says what is wrong with an upstream now, or was when it is of interest.
func whyText(u dossier.Upstream) string {
	switch {
	case !u.HeldUntil.IsZero():
		return "wants no requests before " + u.HeldUntil.Format(time.RFC3339)
	case u.Error != "":
		return u.FailedAt.Format(time.RFC3339) + " " + u.Error
	}
	return ""
}

func upstreamStyle(s dossier.UpstreamState) string {
	switch s {
	case dossier.UpstreamOK:
		return styleGood
	case dossier.UpstreamFailing, dossier.UpstreamThrottled:
		return styleBad
	}
	return styleFaint
}
