// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package care_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/store"
)

// recorded returns what is on record of a digest since a time: who did what, to
// what, and why.
func (w *world) recorded(d dossier.Digest, since time.Time) []string {
	w.t.Helper()
	list := []string{}
	err := w.store.View(w.t.Context(), func(r store.Reader) error {
		for fact, err := range r.Chain(w.t.Context(), d) {
			if err != nil {
				return err
			}
			if !fact.Kind.Event() || fact.ValidAt.Before(since) {
				continue
			}
			var body dossier.EventBody
			if err := json.Unmarshal(fact.Body, &body); err != nil {
				return err
			}
			text := fmt.Sprintf("%s: %s %s %s", body.Caller, fact.Kind, body.Object, body.Name)
			for _, tag := range body.Tags {
				text += ":" + tag.Tag
			}
			list = append(list, text+": "+body.Reason)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// TestCollectionsAreOnRecord checks that the audit says of everything that was
// taken out of a repository who did it and why.
func TestCollectionsAreOnRecord(t *testing.T) {
	w := newWorld(t)
	c := w.push("app", "old", image("layer"))
	kept := w.push("app", "new", image("other layer"))
	w.pass(2 * registry.Lease)
	policy := untagged()
	policy.Retention[0].Tags = &config.TagRetention{Match: []string{"old"}, KeepYounger: time.Hour}
	since := w.clock()
	w.collect(policy) // the tag
	w.pass(2 * registry.Lease)
	w.collect(policy) // then the manifest
	w.pass(2 * registry.Lease)
	w.collect(policy) // then what it needed
	rule := policy.Retention[0].Name
	if rule == "" {
		rule = "rule 1"
	}
	want := []string{
		"dossier:gc: registry.delete tag " + host + "/app:old: " + rule,
		"dossier:gc: registry.delete manifest " + host + "/app: " + rule + ": no tag for " + policy.Retention[0].Untagged.String(),
	}
	if diff := cmp.Diff(want, w.recorded(c.Digest(), since)); diff != "" {
		t.Errorf("of the manifest (-want +got):\n%s", diff)
	}
	want = []string{"dossier:gc: registry.delete blob " + host + "/app: no manifest needs it"}
	for _, b := range c.Blobs {
		if diff := cmp.Diff(want, w.recorded(b.Digest, since)); diff != "" {
			t.Errorf("of a blob (-want +got):\n%s", diff)
		}
	}
	if got := w.recorded(kept.Digest(), since); len(got) > 0 {
		t.Errorf("of what was kept: %q", got)
	}
}
