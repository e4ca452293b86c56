// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"flag"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/storetest"
)

// scans are the statements that read a whole table, by their beginning, and why
// they may.
func scans() map[string]string {
	return map[string]string{
		"SELECT id, name FROM cluster":                                     "all clusters are asked for, and they are few",
		"SELECT id, created_at, secret FROM signing_key":                   "there are two at a time, and all are asked for",
		"SELECT 0, f.position, f.subject":                                  "what waits for the log, from its beginning, up to a limit",
		"SELECT f.id FROM fact AS f":                                       "all facts are compared with the log, when that is verified",
		"SELECT f.name, f.source":                                          "all feeds are asked for, and they are few",
		"SELECT feed, ecosystem FROM feed_ecosystem":                       "what all feeds are for is asked for, and they are few",
		"UPDATE package_match SET rules = 0":                               "all packages are to be compared anew",
		"UPDATE exploit SET known":                                         "what was known before is replaced as a whole",
		"UPDATE exploit SET prob":                                          "what was known before is replaced as a whole",
		"SELECT kind, state, COUNT(*)":                                     "jobs are counted, for metrics; those that are done are gone",
		"SELECT cluster, namespace, kind, name, reference, owner FROM pin": "what clusters need is asked for as a whole",
		"SELECT cluster, part, scope, at, problem FROM listing":            "there are a few for each cluster",
		"SELECT COUNT(*) FROM blob WHERE damage <> ''":                     "they are counted by an index that has no others",
		"SELECT checked_at FROM blob ORDER BY":                             "the first of an index, and no more",
		"SELECT target, parked, COUNT(*)":                                  "deliveries are counted, for metrics; those that arrived are gone",
		"SELECT DISTINCT cluster, namespace FROM told":                     "all are asked for, seldom",
		"SELECT prefix, max_bytes, bytes FROM quota ORDER":                 "all quotas are asked for, and the configuration lists them",
		"SELECT EXISTS (SELECT 1 FROM quota)":                              "the first of them, and no more",
		"SELECT prefix, name, online, due_at FROM tuf_prefix ORDER":        "all prefixes are asked for, and the configuration lists them",
		"SELECT scope, signer, image, at, trust FROM signer_pin ORDER":     "all pins are asked for, by a person",
		"SELECT DISTINCT source FROM tuf_trusted":                          "all that is pinned is asked for: a few files of each",
	}
}

// TestPlans runs the suite, gathers every statement that it makes SQLite
// prepare, and has SQLite explain each: none may read a whole table, or a whole
// index, to find its rows.
func TestPlans(t *testing.T) {
	if pattern := flag.Lookup("test.run").Value.String(); strings.Contains(pattern, "/") {
		t.Skipf("SKIPPED: -run %s leaves out a part of the suite", pattern)
	}
	if raced {
		t.Skip("SKIPPED: the suite runs under the race detector without it, and plans are the same")
	}
	var mu sync.Mutex
	seen := map[string]bool{}
	t.Run("suite", func(t *testing.T) {
		storetest.Run(t, func(t testing.TB) store.Store {
			s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "test.db")})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				mu.Lock()
				defer mu.Unlock()
				// The writer may still roll back what a case gave up. A case may have closed it.
				_ = s.Update(context.WithoutCancel(t.Context()), func(store.Tx) error { return nil })
				for query := range prepared(s) {
					seen[query] = true
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			return s
		})
	})
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	used := map[string]bool{}
	explained := 0
	for _, query := range slices.Sorted(maps.Keys(seen)) {
		if !isQuery.MatchString(query) {
			continue
		}
		explained++
		why := scanOf(t, s, query)
		if why == "" {
			continue
		}
		reason := ""
		for beginning := range scans() {
			if strings.HasPrefix(strings.TrimSpace(query), beginning) {
				used[beginning], reason = true, scans()[beginning]
			}
		}
		if reason == "" {
			t.Errorf("%s: %s", why, query)
		}
	}
	for beginning := range scans() {
		if !used[beginning] {
			t.Errorf("%q reads no whole table: remove it from the list", beginning)
		}
	}
	if explained < 50 {
		t.Errorf("only %d statements were seen", explained)
	}
}

// prepared returns the statements that the connections of a store have prepared.
func prepared(s *Store) map[string]bool {
	found := map[string]bool{}
	e := s.engine.(*sqliteEngine)
	add := func(c *sqliteConn) {
		for query := range c.prepared {
			found[query] = true
		}
	}
	add(e.writer.conn)
	for _, c := range e.readers.idle {
		add(c)
	}
	return found
}

var (
	isQuery   = regexp.MustCompile(`^\s*(SELECT|UPDATE|DELETE|WITH)\b`)
	parameter = regexp.MustCompile(`\$[0-9]+`)
	// harmless are scans of what is no table: lists that come with the statement
	// and results of parts of it.
	harmless = regexp.MustCompile(`^SCAN (json_each|CONSTANT ROW|[0-9]+-ROW VALUES CLAUSE|w|due|latest|next|ready|expired|\(subquery-[0-9]+\))($| )`)
)

// scanOf returns the step of a statement's plan that reads a whole table, or "".
func scanOf(t *testing.T, s *Store, query string) string {
	t.Helper()
	numbers := map[string]bool{}
	for _, p := range parameter.FindAllString(query, -1) {
		numbers[p] = true
	}
	rows, err := s.engine.(*sqliteEngine).db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, make([]any, len(numbers))...)
	if err != nil {
		t.Fatalf("%v: %s", err, query)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(step, "SCAN ") && !harmless.MatchString(step) {
			return step
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%v: %s", err, query)
	}
	return ""
}
