// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/bench/load"
	"dossier.dev/dossier/bench/measure"
	"dossier.dev/dossier/internal/server"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/translog"
)

// lookEvery is how often a follower asks for the newest checkpoint.
const lookEvery = 5 * time.Millisecond

// provable records facts at a constant rate in a process of its own, which also appends to the log
// and serves it, and measures until a checkpoint that covers a fact is served.
func (l *lab) provable(ctx context.Context, data string, d, delay time.Duration) (*load.Sample, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	c := measure.Command{Path: self, Args: []string{partProvable, "-data", data, "-for", d.String()}, Env: l.env(), Stdout: &out}
	if delay > 0 {
		trace := data + ".strace"
		defer os.Remove(trace)
		c = measure.Synced(c, trace, delay)
	}
	if _, err := measure.Run(ctx, c); err != nil {
		return nil, err
	}
	var took []time.Duration
	if err := json.Unmarshal(out.Bytes(), &took); err != nil {
		return nil, err
	}
	s := &load.Sample{}
	for _, t := range took {
		s.Add(t, nil)
	}
	return s, nil
}

// recordProvable is the process of provable.
func recordProvable(ctx context.Context, args []string, stdout io.Writer) (err error) {
	flags := flag.NewFlagSet(partProvable, flag.ContinueOnError)
	data := flags.String("data", "", "directory of the store")
	d := flags.Duration("for", provableTime, "how long")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	db, err := sqlstore.Open(ctx, sqlstore.Config{Path: filepath.Join(*data, server.DatabaseFile)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	log, err := openLog(db, *data)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	web := &http.Server{Handler: &translog.Handler{Store: db}, ReadHeaderTimeout: 10 * time.Second}
	var group sync.WaitGroup
	var appendErr error
	group.Go(func() { _ = web.Serve(listener) }) // until it is closed
	group.Go(func() { appendErr = log.Run(ctx) })
	took, err := followFacts(ctx, db, "http://"+listener.Addr().String()+translog.Prefix, *d)
	cancel()
	err = errors.Join(err, web.Close())
	group.Wait()
	if err = errors.Join(err, appendErr); err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(took)
}

// follower sees what a log serves.
type follower struct {
	url  string
	http *http.Client
	size int64

	mu       sync.Mutex
	due      map[dossier.Digest]time.Time // of facts that were not served yet, by subject
	provable []time.Duration
	recorded int
}

// followFacts records for a while and returns how long each fact took until it could be proven.
func followFacts(ctx context.Context, db store.Store, url string, d time.Duration) ([]time.Duration, error) {
	f := &follower{url: url, http: loadClient(), due: map[dossier.Digest]time.Time{}}
	var err error
	if f.size, err = f.checkpoint(ctx); err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	run := strconv.FormatInt(time.Now().UnixNano(), 36)
	begin := time.Now()
	go func() {
		s := load.Constant(ctx, provableRate, d, func(ctx context.Context, i int) error {
			body := bytes.Repeat(fmt.Appendf(nil, "%s %d ", run, i), logFactBytes)[:logFactBytes]
			f.mu.Lock()
			f.due[dossier.FromBytes(body)] = begin.Add(time.Duration(i) * time.Second / provableRate)
			f.recorded++
			f.mu.Unlock()
			return db.Update(ctx, func(tx store.Tx) error { return recordBody(ctx, tx, body) })
		})
		done <- s.First
	}()
	deadline := begin.Add(d + 30*time.Second)
	for ended := false; ; {
		if err := f.look(ctx); err != nil {
			return nil, err
		}
		select {
		case err := <-done:
			if err != nil {
				return nil, err
			}
			ended = true
		case <-time.After(lookEvery):
		}
		f.mu.Lock()
		left := len(f.due)
		f.mu.Unlock()
		if ended && left == 0 {
			return f.provable, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%d of %d facts are not in the log after %s", left, f.recorded, d+30*time.Second)
		}
	}
}

func (f *follower) checkpoint(ctx context.Context) (int64, error) {
	b, err := fetch(ctx, f.http, f.url+"checkpoint")
	if err != nil {
		return 0, err
	}
	lines := strings.SplitN(string(b), "\n", 3)
	if len(lines) < 3 {
		return 0, errors.New("the checkpoint is none")
	}
	return strconv.ParseInt(lines[1], 10, 64)
}

// look reads the entries that the newest checkpoint covers and the one before did not.
func (f *follower) look(ctx context.Context) error {
	size, err := f.checkpoint(ctx)
	if err != nil || size == f.size {
		return err
	}
	now := time.Now()
	for f.size < size {
		const wide = 256
		at, width := f.size/wide, min(wide, size-f.size/wide*wide)
		path := fmt.Sprintf("%03d", at%1000)
		for n := at / 1000; n > 0; n /= 1000 {
			path = fmt.Sprintf("x%03d/%s", n%1000, path)
		}
		if width < wide {
			path += fmt.Sprintf(".p/%d", width)
		}
		b, err := fetch(ctx, f.http, f.url+"tile/entries/"+path)
		if err != nil {
			return err
		}
		f.see(b, f.size%wide, now)
		f.size = at*wide + width
	}
	return nil
}

// see notes the entries of a bundle, of which so many are known.
func (f *follower) see(b []byte, known int64, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := int64(0); len(b) >= 2; i++ {
		end := 2 + int(binary.BigEndian.Uint16(b))
		lines := strings.SplitN(string(b[2:end]), "\n", 3)
		b = b[end:]
		if i < known || len(lines) < 3 {
			continue
		}
		if due, ok := f.due[dossier.Digest(lines[1])]; ok {
			f.provable = append(f.provable, now.Sub(due))
			delete(f.due, dossier.Digest(lines[1]))
		}
	}
}
