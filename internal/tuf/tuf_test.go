// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"testing"
	"time"
)

// TestWholePath goes from keys to a tag that is verified: one that the server
// signs, and one that its owner signs.
func TestWholePath(t *testing.T) {
	w := newWorld(t)
	d := w.push(testPrefix+"/site", "1.0", "site")
	w.step()
	r := w.ask("site", "1.0", d)
	w.good(r)
	if r.SignedBy != ByOnline || r.Digest != d || !r.AsOf.Equal(w.now()) || r.Length == 0 || !r.PushedAt.Equal(w.now()) || r.Pinned != "given" {
		t.Errorf("the result is %+v", r)
	}
	app := w.push(testPrefix+"/app", "1.0", "app")
	w.step()
	w.bad(w.ask("app", "1.0", app), ReasonUnknown) // the server does not sign for app
	w.releaseTag("1.0", app, 33)
	r = w.ask("app", "1.0", app)
	w.good(r)
	if r.SignedBy != ByOwner || r.Role != "release" || r.Keys[0] != w.release.ID || r.Pinned != "" {
		t.Errorf("the result is %+v", r)
	}
	w.bad(w.ask("app", "1.0", d), ReasonDigest)
	w.bad(w.ask("app", "1.0", app, func(q *Request) { q.Length = 34 }), ReasonLength)
	w.bad(w.ask("app", "2.0", app), ReasonUnknown)
	w.good(w.ask("app", "1.0", "")) // what it means is asked

	// A tag that moves is signed anew, and one that is deleted means nothing.
	d2 := w.push(testPrefix+"/site", "1.0", "site, again")
	w.bad(w.ask("site", "1.0", d2), ReasonDigest)
	w.step()
	w.good(w.ask("site", "1.0", d2))
	w.bad(w.ask("site", "1.0", d), ReasonDigest)

	// The server renews: a result grows no older than that.
	w.pass(5 * time.Hour)
	w.bad(w.ask("site", "1.0", d2, func(q *Request) { q.MaxAge = time.Hour }), ReasonFreeze)
	w.step()
	r = w.ask("site", "1.0", d2, func(q *Request) { q.MaxAge = time.Hour })
	w.good(r)
	if !r.Expires.Equal(w.now().Add(time.Hour)) || !r.Fresh(w.now()) || r.Fresh(w.now().Add(2*time.Hour)) {
		t.Errorf("it expires at %s", r.Expires)
	}
}
