// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/bench/load"
	"dossier.dev/dossier/bench/measure"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
)

const (
	// factTime is how long facts are recorded for one number.
	factTime = 1500 * time.Millisecond
	// factBytes is the size of a body: that of a usual manifest.
	factBytes = 2500
)

// recorded is what a recorder prints.
type recorded struct {
	Facts   int     `json:"facts"`
	Seconds float64 `json:"seconds"`
}

func (r recorded) rate() float64 { return float64(r.Facts) / r.Seconds }

// recordFacts records facts for a while, each writer one after the other, each
// fact in an Update of its own, and prints how many.
func recordFacts(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet(partFacts, flag.ContinueOnError)
	writers := flags.Int("writers", 1, "how many record at a time")
	d := flags.Duration("for", factTime, "how long")
	var config sqlstore.Config
	flags.StringVar(&config.Path, "path", "", "SQLite file")
	flags.StringVar(&config.URL, "url", "", "PostgreSQL database")
	if err := flags.Parse(args); err != nil {
		return err
	}
	db, err := sqlstore.Open(ctx, config)
	if err != nil {
		return err
	}
	var (
		wg    sync.WaitGroup
		n     atomic.Int64
		mu    sync.Mutex
		fault error
		begin = time.Now()
		run   = strconv.FormatInt(begin.UnixNano(), 36) // facts of an earlier run are others
	)
	for w := range *writers {
		wg.Go(func() {
			for i := 0; time.Since(begin) < *d; i++ {
				if err := recordOne(ctx, db, fmt.Sprintf("%s %d %d", run, w, i)); err != nil {
					mu.Lock()
					defer mu.Unlock()
					fault = err
					return
				}
				n.Add(1)
			}
		})
	}
	wg.Wait()
	result := recorded{int(n.Load()), time.Since(begin).Seconds()}
	if err := db.Close(); err != nil {
		return err
	}
	if fault != nil {
		return fault
	}
	return json.NewEncoder(stdout).Encode(result)
}

// recordOne records a fact about a subject of its own.
func recordOne(ctx context.Context, db store.Store, id string) error {
	body := bytes.Repeat([]byte(id+" "), factBytes/(len(id)+1)+1)[:factBytes]
	s := dossier.Statement{Subject: dossier.FromBytes(body), Kind: dossier.FactManifest, Source: "bench", Body: body}
	return db.Update(ctx, func(tx store.Tx) error {
		_, _, err := tx.Record(ctx, s)
		return err
	})
}

// engine is a database to record into.
type engine struct {
	name string
	// open makes a database whose fsyncs are counted in trace, and take delay
	// longer, unless trace is empty. It returns the flag that names the
	// database, and whether the process that records is to be traced.
	open func(ctx context.Context, trace string, delay time.Duration) (arg string, own bool, end func() error, err error)
}

func (l *lab) engines() []engine {
	n := 0
	return []engine{
		{"SQLite", func(context.Context, string, time.Duration) (string, bool, func() error, error) {
			n++
			return "-path=" + filepath.Join(l.dir, fmt.Sprintf("facts-%d.db", n)), true, func() error { return nil }, nil
		}},
		{"PostgreSQL", func(ctx context.Context, trace string, delay time.Duration) (string, bool, func() error, error) {
			p, err := startPostgres(ctx, trace, delay)
			if err != nil {
				return "", false, nil, err
			}
			return "-url=" + p.url, false, p.stop, nil
		}},
	}
}

func measureFacts(ctx context.Context, l *lab, r *report) error {
	r.note("a fact", "%d bytes, on a subject of its own, acknowledged by itself", factBytes)
	for _, e := range l.engines() {
		for _, writers := range []int{1, 8, 64} {
			plain, _, err := l.recordInto(ctx, e, writers, "", 0)
			if err != nil {
				return err
			}
			trace := filepath.Join(os.TempDir(), fmt.Sprintf("dossier-bench-%d.strace", os.Getpid()))
			counted, syncs, err := l.recordInto(ctx, e, writers, trace, 0)
			if err != nil {
				return err
			}
			slow, slowSyncs, err := l.recordInto(ctx, e, writers, trace, slowSync)
			if err != nil {
				return err
			}
			r.note(fmt.Sprintf("%s, %d writers", e.name, writers),
				"%.0f facts/s, %.3f fsyncs a fact; each fsync %s slower: %.0f facts/s, %.3f fsyncs a fact", plain.rate(),
				float64(syncs.Count)/float64(max(1, counted.Facts)), load.Short(slowSync), slow.rate(), float64(slowSyncs.Delayed)/float64(max(1, slow.Facts)))
		}
	}
	return nil
}

// recordInto records into a new database in a process of its own.
func (l *lab) recordInto(ctx context.Context, e engine, writers int, trace string, delay time.Duration) (recorded, measure.Syncs, error) {
	var result recorded
	var syncs measure.Syncs
	arg, own, end, err := e.open(ctx, trace, delay)
	if err != nil {
		return result, syncs, err
	}
	self, err := os.Executable()
	if err != nil {
		return result, syncs, err
	}
	var out bytes.Buffer
	c := measure.Command{Path: self, Args: []string{partFacts, "-writers", strconv.Itoa(writers), arg}, Env: l.env(), Stdout: &out}
	if own && trace != "" {
		c = measure.Synced(c, trace, delay)
	}
	_, err = measure.Run(ctx, c)
	if endErr := end(); err == nil {
		err = endErr
	}
	if err != nil {
		return result, syncs, err
	}
	if trace != "" {
		defer os.Remove(trace)
		if syncs, err = measure.ReadSyncs(trace); err != nil {
			return result, syncs, err
		}
	}
	return result, syncs, json.Unmarshal(out.Bytes(), &result)
}
