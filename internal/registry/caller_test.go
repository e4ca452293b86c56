// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"testing"

	"dossier.dev/dossier/internal/registry/access"
)

// TestCaller: no two callers have one name.
func TestCaller(t *testing.T) {
	for id, want := range map[string]string{
		"alice": "user:alice", "ci/builder": "serviceaccount:ci/builder", "anonymous": "anonymous", "api-token": "token",
	} {
		identity, err := access.ParseIdentity(id)
		if err != nil {
			t.Fatal(err)
		}
		if got := newCaller(identity).String(); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
	if got := (Caller{}).String(); got != "anonymous" {
		t.Errorf("nobody: %s", got)
	}
}
