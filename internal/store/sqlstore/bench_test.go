// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/store/storetest/pgtest"
)

// perEngine runs a benchmark on a new database of each engine. PostgreSQL runs
// without fsync here: its figures compare with themselves only.
func perEngine(b *testing.B, f func(b *testing.B, open func() *sqlstore.Store)) {
	b.Run("SQLite", func(b *testing.B) {
		f(b, func() *sqlstore.Store { return open(b, at(file(b))) })
	})
	b.Run("Postgres", func(b *testing.B) {
		f(b, func() *sqlstore.Store { return open(b, at(pgtest.Start(b))) })
	})
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func digest(parts ...any) dossier.Digest { return dossier.FromBytes(fmt.Append(nil, parts...)) }

func BenchmarkOpen(b *testing.B) {
	path := file(b)
	open(b, at(path))
	for b.Loop() {
		s, err := sqlstore.Open(b.Context(), at(path))
		must(b, err)
		must(b, s.Close())
	}
}

// BenchmarkRecord records 2,000 facts of 3 KB, 200 to a transaction.
func BenchmarkRecord(b *testing.B) {
	const facts, batch = 2000, 200
	perEngine(b, func(b *testing.B, open func() *sqlstore.Store) {
		s := open()
		body := []byte(strings.Repeat("0123456789", 300))
		n := 0
		for b.Loop() {
			for range facts / batch {
				must(b, s.Update(b.Context(), func(tx store.Tx) error {
					for range batch {
						n++
						st := dossier.Statement{Subject: digest(n / 4), Kind: "k", Source: fmt.Sprint(n), Body: body}
						if _, _, err := tx.Record(b.Context(), st); err != nil {
							return err
						}
					}
					return nil
				}))
			}
		}
	})
}

// BenchmarkUpdate has 32 callers that each write a row and wait until it is
// durable.
func BenchmarkUpdate(b *testing.B) {
	perEngine(b, func(b *testing.B, open func() *sqlstore.Store) {
		s := open()
		var n atomic.Int64
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				must(b, s.Update(b.Context(), func(tx store.Tx) error {
					_, err := tx.PutBlob(b.Context(), store.Blob{Digest: digest(n.Add(1)), Key: "key"})
					return err
				}))
			}
		})
	})
}

// podPlaces returns the places of n pods, one each, on 2,000 images.
func podPlaces(n int) []dossier.Place {
	list := make([]dossier.Place, n)
	for i := range list {
		d := digest("image", i%2000)
		list[i] = dossier.Place{
			Workload: dossier.Workload{Cluster: "cluster", Namespace: fmt.Sprint("namespace-", i%50), Kind: "Deployment", Name: fmt.Sprint("app-", i/5)},
			Pod:      fmt.Sprint("app-", i/5, "-7d4b9c6f5-", i), PodUID: fmt.Sprint("6f1e2d3c-4b5a-", i), Container: "main", Type: dossier.Container,
			Node: fmt.Sprint("node-", i%100), Platform: "linux/amd64", Requested: fmt.Sprintf("registry.example.com/team/app-%d:v1.2.3", i%2000),
			ImageID: "registry.example.com/team/app@" + string(d), Digest: d, PullPolicy: "IfNotPresent", Labels: "app=app,pod-template-hash=7d4b9c6f5",
		}
	}
	return list
}

func putPlaces(b *testing.B, s store.Store, places []dossier.Place) {
	b.Helper()
	for batch := range slices.Chunk(places, 500) {
		must(b, s.Update(b.Context(), func(tx store.Tx) error {
			keyed := map[string][]dossier.Place{}
			for _, p := range batch {
				keyed[p.Key()] = append(keyed[p.Key()], p)
			}
			_, err := tx.PutPlaces(b.Context(), batch[0].Cluster, keyed, time.Unix(1, 0))
			return err
		}))
	}
}

// BenchmarkPutPlaces puts 10,000 pods into an empty database, 500 to a transaction.
func BenchmarkPutPlaces(b *testing.B) {
	places := podPlaces(10_000)
	perEngine(b, func(b *testing.B, open func() *sqlstore.Store) {
		for b.Loop() {
			b.StopTimer()
			s := open()
			b.StartTimer()
			putPlaces(b, s, places)
		}
	})
}

// BenchmarkPlaces reads 10,000 places, and those of one digest among them.
func BenchmarkPlaces(b *testing.B) {
	places := podPlaces(10_000)
	perEngine(b, func(b *testing.B, open func() *sqlstore.Store) {
		s := open()
		putPlaces(b, s, places)
		for _, q := range []struct {
			name string
			store.PlaceQuery
			want int
		}{
			{"all", store.PlaceQuery{}, len(places)},
			{"asOf", store.PlaceQuery{At: time.Unix(2, 0)}, len(places)},
			{"digest", store.PlaceQuery{Digests: []dossier.Digest{places[7].Digest}}, 5},
			{"asked", store.PlaceQuery{Asked: []string{places[7].Asked()}}, 5},
			{"key", store.PlaceQuery{Key: places[7].Key()}, 1},
		} {
			b.Run(q.name, func(b *testing.B) {
				for b.Loop() {
					n := 0
					must(b, s.View(b.Context(), func(r store.Reader) error {
						for _, err := range r.Places(b.Context(), q.PlaceQuery) {
							if err != nil {
								return err
							}
							n++
						}
						return nil
					}))
					if n != q.want {
						b.Fatalf("%d places, want %d", n, q.want)
					}
				}
			})
		}
	})
}

// BenchmarkFindTerms searches 100,000 terms of 10,000 digests.
func BenchmarkFindTerms(b *testing.B) {
	const digests, each = 10_000, 10
	perEngine(b, func(b *testing.B, open func() *sqlstore.Store) {
		s := open()
		for from := range digests / 500 {
			must(b, s.Update(b.Context(), func(tx store.Tx) error {
				for i := from * 500; i < (from+1)*500; i++ {
					terms := make([]store.Term, each)
					for j := range terms {
						value := fmt.Sprintf("https://git.example.com/team-%d/app-%d", j, i)
						terms[j] = store.Term{Field: dossier.FieldSource, Value: value, Key: store.Normal(value)}
					}
					if err := tx.PutTerms(b.Context(), digest(i), terms); err != nil {
						return err
					}
				}
				return nil
			}))
		}
		for _, q := range []struct {
			name, key string
			prefix    bool
		}{{"exact", "git.example.com/team-3/app-4711", false}, {"prefix", "git.example.com/team-3/app-47", true}} {
			b.Run(q.name, func(b *testing.B) {
				for b.Loop() {
					must(b, s.View(b.Context(), func(r store.Reader) error {
						hits, err := r.FindTerms(b.Context(), store.TermQuery{Key: q.key, Prefix: q.prefix, Limit: 100})
						if err == nil && len(hits) == 0 {
							err = fmt.Errorf("nothing was found")
						}
						return err
					}))
				}
			})
		}
	})
}

// BenchmarkHolding reads what holds of 1,000 subjects with 10 facts each.
func BenchmarkHolding(b *testing.B) {
	const n = 1000
	perEngine(b, func(b *testing.B, open func() *sqlstore.Store) {
		s := open()
		subjects := make([]dossier.Digest, n)
		for i := range subjects {
			subjects[i] = digest(i)
		}
		for batch := range slices.Chunk(subjects, 100) {
			must(b, s.Update(b.Context(), func(tx store.Tx) error {
				for _, d := range batch {
					for j := range 10 {
						st := dossier.Statement{Subject: d, Kind: "k", Source: fmt.Sprint(j / 2), ValidAt: time.Unix(int64(j), 0).UTC(), Body: make([]byte, 500)}
						if _, _, err := tx.Record(b.Context(), st); err != nil {
							return err
						}
					}
				}
				return nil
			}))
		}
		b.ResetTimer()
		for b.Loop() {
			found := 0
			must(b, s.View(b.Context(), func(r store.Reader) error {
				for _, err := range r.Holding(b.Context(), subjects, dossier.Times{}) {
					if err != nil {
						return err
					}
					found++
				}
				return nil
			}))
			if found != 5*n {
				b.Fatalf("%d facts hold, want %d", found, 5*n)
			}
		}
	})
}
