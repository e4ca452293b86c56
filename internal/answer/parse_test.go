// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"dossier.dev/dossier"
)

// TestParserRemembersNoMoreThanItMay asks for more than is remembered, some of it
// again and again.
func TestParserRemembersNoMoreThanItMay(t *testing.T) {
	var facts []dossier.Fact
	for i := range 40 {
		body := fmt.Sprintf(`{"created":"2024-05-01T10:00:00Z","config":{"Labels":{"org.opencontainers.image.version":"1.%02d"}}}`, i)
		facts = append(facts, fact(digestOf("config %d", i), dossier.FactConfig, "image", asOf, []byte(body)))
	}
	limit := 10 * len(facts[0].Body)
	p := NewParser(limit)
	var parsing sync.WaitGroup
	for range 3 {
		parsing.Go(func() {
			for i := range facts {
				for _, n := range []int{i, 0} {
					if got, want := p.parse(&facts[n]).says[0].Value, fmt.Sprintf("1.%02d", n); got != want {
						t.Errorf("fact %d says %q, want %q", n, got, want)
					}
				}
			}
		})
	}
	parsing.Wait()
	if n := len(p.recent) + len(p.earlier); n > 10 || n < 5 {
		t.Errorf("%d facts are remembered, want between 5 and 10", n)
	}
	before := p.parse(&facts[0])
	if p.parse(&facts[0]) != before {
		t.Error("what was asked for last is forgotten")
	}
}

// TestParserChangesNoAnswer judges every case again with a parser that has seen
// all of them.
func TestParserChangesNoAnswer(t *testing.T) {
	p := NewParser(1 << 20)
	for range 2 {
		for _, c := range judgeCases() {
			e := c.evidence()
			for i := range e.Facts {
				e.Facts[i].ID = e.Facts[i].Statement.ID() // as a store gives it
			}
			if diff := cmp.Diff(Judge(e, Policy{}), judge(e, Policy{}, p), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s (-without a parser +with it):\n%s", c.name(), diff)
			}
		}
	}
}
