// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer_test

import (
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/testimage"
)

// TestWhereFindsTheOutermost: what is found in a configuration counts to the
// root, however deep indexes nest.
func TestWhereFindsTheOutermost(t *testing.T) {
	w := newWorld(t)
	var nested testimage.Builder = app("linux/amd64", "1")
	for range 4 {
		nested = testimage.Index{Entries: []testimage.Entry{{Of: nested, Platform: "-"}}}
	}
	c := w.push("app", "1", nested)
	w.collect(w.place("ns", "web-1", "app:1", w.ref("app", c.Digest())))
	list, err := w.Where(t.Context(), "https://git.example/app", 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Found) != 1 || list.Found[0].Digest != c.Digest() || len(list.Found[0].Running) != 1 || list.Found[0].Field != dossier.FieldSource {
		t.Errorf("found %+v, want %s with its workload", list.Found, c.Digest())
	}
}
