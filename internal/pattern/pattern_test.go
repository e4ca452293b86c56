// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package pattern

import (
	"slices"
	"testing"
)

func TestPattern(t *testing.T) {
	p := New(`^a(b+)`)
	if !p.MatchString("abc") || p.MatchString("bab") {
		t.Error("it matches something else")
	}
	if got := p.FindString("abbc"); got != "abb" {
		t.Errorf("found %q", got)
	}
	if got := p.FindStringSubmatch("abbc"); !slices.Equal(got, []string{"abb", "bb"}) {
		t.Errorf("found %q", got)
	}
	if got := p.ReplaceAllString("abbc", "$1-"); got != "bb-c" {
		t.Errorf("replaced: %q", got)
	}
}

// TestLater: a text is no work before it is used; what is wrong with it is said then.
func TestLater(t *testing.T) {
	p := New("(")
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	p.MatchString("")
}
