// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"dossier.dev/dossier"
)

// ParseSelector gives a selector in the syntax of kubectl -l ("app=web,tier!=db",
// "env in (a,b)", "!canary") as a test of Place.Labels. An empty selector matches
// everything. A malformed one is a KindInvalid error.
func ParseSelector(selector string) (func(podLabels string) bool, error) {
	s, err := labels.Parse(selector)
	if err != nil {
		return nil, &dossier.Error{
			Kind: dossier.KindInvalid, Op: "parsing label selector", Subject: bound(selector, 100), Err: err,
			Hint: "Write it as for kubectl, for instance app=web,tier!=db.",
		}
	}
	return func(podLabels string) bool { return s.Empty() || s.Matches(splitLabels(podLabels)) }, nil
}

// splitLabels is the inverse of joinLabels.
func splitLabels(s string) labels.Set {
	set := labels.Set{}
	for pair := range strings.SplitSeq(s, ",") {
		if k, v, ok := strings.Cut(pair, "="); ok {
			set[k] = v
		}
	}
	return set
}
