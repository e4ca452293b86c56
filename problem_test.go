// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import (
	"errors"
	"fmt"
	"testing"
)

func TestProblemKeepsWhatAPersonReads(t *testing.T) {
	tests := []error{
		errors.New("plain"),
		Errorf(KindNotFound, "looking up", "nginx", "nothing is known of it"),
		fmt.Errorf("outer: %w", &Error{Kind: KindDenied, Op: "reading", Err: &Error{Kind: KindLimit, Hint: "wait"}}),
	}
	for _, want := range tests {
		got := ProblemOf(want).Err()
		if got.Error() != want.Error() || KindOf(got) != KindOf(want) || HintOf(got) != HintOf(want) {
			t.Errorf("got %v (%s, %q), want %v (%s, %q)", got, KindOf(got), HintOf(got), want, KindOf(want), HintOf(want))
		}
	}
}
