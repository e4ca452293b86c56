// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/bench/load"
	"dossier.dev/dossier/bench/measure"
	"dossier.dev/dossier/internal/server"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/tuf"
)

// Limits: what a push of a tag and its signing cost may grow from 10 tags of a prefix to 100,000.
const (
	tufPushRatio = 1.2
	tufStepRatio = 6.0
	tufPushes    = 200
	tufSteps     = 100
)

// tufPrefixes are two prefixes whose tags the server signs.
var tufPrefixes = []string{"many", "few"}

// measureTUF measures what it costs that tags are signed as they move, with many tags of a prefix beside few.
func measureTUF(ctx context.Context, l *lab, r *report) error {
	peers, err := l.needPeers(ctx, ours)
	if err != nil {
		return err
	}
	counts, pushes, steps := map[string]int{"many": crowdedTags, "few": uncrowdedTags}, tufPushes, tufSteps
	if l.short {
		counts["many"], pushes, steps = counts["many"]/100, pushes/20, steps/10
	}
	p := peers[0]
	p.command = func(data, address string) (measure.Command, error) {
		config := filepath.Join(data, "dossier.yaml")
		text := fmt.Sprintf("registry:\n  tuf: {prefixes: [%s]}\n", strings.Join(tufPrefixes, ", "))
		c, err := peers[0].command(data, address)
		c.Args = append(c.Args, "--config", config)
		return c, errors.Join(err, os.WriteFile(config, []byte(text), 0o600))
	}
	s, err := l.host(ctx, p, "", 0)
	if err != nil {
		return err
	}
	closed := false
	defer func() {
		if !closed {
			_ = s.close() // another fault is on its way
		}
	}()
	for _, prefix := range tufPrefixes {
		if err := l.publishOnline(ctx, s.base, prefix); err != nil {
			return err
		}
		if err := pushImage(ctx, s.base, prefix+"/app", "first", uint64(time.Now().UnixNano())); err != nil {
			return err
		}
	}
	database := filepath.Join(s.dir, server.DatabaseFile)
	begin := time.Now()
	if err := crowdSigned(ctx, database, counts); err != nil {
		return err
	}
	r.note("tags signed after they were set", "%d in %v", counts["many"]+counts["few"], time.Since(begin).Round(100*time.Millisecond))
	samples := map[string]*load.Sample{"many": {}, "few": {}}
	for i := range pushes {
		for _, prefix := range tufPrefixes {
			begin := time.Now()
			err := pushImage(ctx, s.base, prefix+"/app", fmt.Sprintf("new-%d", i), uint64(time.Now().UnixNano()))
			samples[prefix].Add(time.Since(begin), err)
		}
	}
	for _, prefix := range tufPrefixes {
		if samples[prefix].Failed > 0 {
			return samples[prefix].First
		}
		r.note(fmt.Sprintf("a push below a prefix with %d signed tags", counts[prefix]), "%v", samples[prefix])
	}
	r.atMost("ratio of medians of pushes", float64(samples["many"].Quantile(0.5))/float64(samples["few"].Quantile(0.5)), tufPushRatio)
	// The signing itself, without the server, which does it twice a second.
	kept := filepath.Join(l.dir, "tuf-"+server.DatabaseFile)
	if err := s.stopped(database, kept); err != nil {
		return err
	}
	closed = true
	return measureSigning(ctx, r, kept, counts, steps)
}

// stopped ends a registry and keeps its database, which it has closed then.
func (s *running) stopped(database, kept string) error {
	if err := syscall.Kill(s.pid, syscall.SIGTERM); err != nil {
		return err
	}
	_, err := s.process.Wait()
	return errors.Join(err, os.Rename(database, kept), os.RemoveAll(s.dir))
}

// publishOnline has an owner delegate all of a prefix to the server.
func (l *lab) publishOnline(ctx context.Context, base, prefix string) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	signer, err := tuf.NewSigner(private)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return err
	}
	owner := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	url := base + tuf.Path + prefix
	online, err := (tuf.HTTP{URL: url, Client: http.DefaultClient}).Fetch(ctx, "online.pub", tuf.MaxKey)
	if err != nil {
		return err
	}
	c := tuf.Ceremony{Dir: filepath.Join(l.dir, "tuf-"+prefix), Now: time.Now}
	if err := c.Init(tuf.Init{Prefix: prefix, RootKeys: [][]byte{owner}, RootThreshold: 1, TargetsKeys: [][]byte{owner}, TargetsThreshold: 1, OnlineKey: online}); err != nil {
		return err
	}
	if err := c.Delegate(tuf.Delegation{Role: tuf.Online, Repositories: []string{prefix + "/**"}}); err != nil {
		return err
	}
	for _, role := range []string{tuf.Root, tuf.Targets} {
		if _, err := c.Sign(role, signer); err != nil {
			return err
		}
	}
	publication, _, err := c.Publication()
	if err != nil {
		return err
	}
	body, err := json.Marshal(publication)
	if err != nil {
		return err
	}
	_, _, err = do(ctx, http.MethodPost, url, bytes.NewReader(body), int64(len(body)), "application/json", http.StatusOK)
	return err
}

// crowdSigned sets tags below the prefixes in a store on which a server runs, and waits until it has signed them.
func crowdSigned(ctx context.Context, path string, counts map[string]int) error {
	db, err := sqlstore.Open(ctx, sqlstore.Config{Path: path})
	if err != nil {
		return err
	}
	defer db.Close()
	const atOnce = 500
	for _, prefix := range tufPrefixes {
		name := "registry.example/" + prefix + "/app"
		for begin := 0; begin < counts[prefix]; begin += atOnce {
			err := db.Update(ctx, func(tx store.Tx) error {
				at, err := tx.TagsAt(ctx, []store.NameTag{{Name: name, Tag: "first"}}, time.Time{})
				if err != nil || len(at) != 1 {
					return errors.Join(errors.New("the first tag is not there"), err)
				}
				for i := begin; i < min(begin+atOnce, counts[prefix]); i++ {
					if _, err := tx.SetTag(ctx, store.NameTag{Name: name, Tag: fmt.Sprintf("old-%d", i)}, at[0].Digest, dossier.Instant(time.Now()), false); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		for left := 1; left > 0; time.Sleep(20 * time.Millisecond) {
			err := db.View(ctx, func(r store.Reader) error {
				moves, err := r.TUFMoves(ctx, prefix, 1)
				left = len(moves)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// measureSigning measures one move of a tag until it is signed and durable, what is written for it, and what a client reads that knows
// nothing.
func measureSigning(ctx context.Context, r *report, path string, counts map[string]int, steps int) error {
	db, err := sqlstore.Open(ctx, sqlstore.Config{Path: path})
	if err != nil {
		return err
	}
	defer db.Close()
	repository, err := tuf.NewRepository(tuf.Config{Store: db, Registry: "registry.example", Prefixes: tufPrefixes})
	if err != nil {
		return err
	}
	for { // what the server had not signed when it ended
		if n, err := repository.Step(ctx); err != nil || n == 0 {
			if err != nil {
				return err
			}
			break
		}
	}
	samples := map[string]*load.Sample{"many": {}, "few": {}}
	for i := range steps {
		for _, prefix := range tufPrefixes {
			name := store.NameTag{Name: "registry.example/" + prefix + "/app", Tag: fmt.Sprintf("old-%d", i%counts[prefix])}
			err := db.Update(ctx, func(tx store.Tx) error {
				at, err := tx.TagsAt(ctx, []store.NameTag{{Name: name.Name, Tag: fmt.Sprintf("new-%d", i%7)}}, time.Time{})
				if err != nil || len(at) != 1 {
					return errors.Join(errors.New("a new tag is not there"), err)
				}
				_, err = tx.SetTag(ctx, name, at[0].Digest, dossier.Instant(time.Now()), false)
				return err
			})
			if err != nil {
				return err
			}
			begin := time.Now()
			n, err := repository.Step(ctx)
			if err == nil && n != 1 {
				err = fmt.Errorf("%d prefixes had something to sign, want 1", n)
			}
			samples[prefix].Add(time.Since(begin), err)
		}
	}
	handler := httptest.NewServer(&tuf.Handler{Repository: repository})
	defer handler.Close()
	read := map[string]float64{}
	for _, prefix := range tufPrefixes {
		if samples[prefix].Failed > 0 {
			return samples[prefix].First
		}
		r.note(fmt.Sprintf("a move is signed, of %d tags", counts[prefix]), "%v", samples[prefix])
		if read[prefix], err = readCold(ctx, handler.URL, prefix); err != nil {
			return err
		}
		r.note(fmt.Sprintf("a client that knows nothing reads, of %d tags", counts[prefix]), "%.1f kB", read[prefix]/1000)
	}
	r.atMost("ratio of medians of signing", float64(samples["many"].Quantile(0.5))/float64(samples["few"].Quantile(0.5)), tufStepRatio)
	return nil
}

// readCold verifies a tag with a store of its own, and returns how many bytes of metadata that read.
func readCold(ctx context.Context, base, prefix string) (float64, error) {
	dir, err := os.MkdirTemp("", "tuf-client-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	db, err := sqlstore.Open(ctx, sqlstore.Config{Path: filepath.Join(dir, "client.db")})
	if err != nil {
		return 0, err
	}
	defer db.Close()
	count := &counting{}
	v := tuf.Verifier{Store: db, Now: time.Now, Source: tuf.HTTP{URL: base + tuf.Path + prefix, Client: &http.Client{Transport: count}}}
	result, err := v.Verify(ctx, tuf.Request{Source: "registry.example/" + prefix, Repository: prefix + "/app", Tag: "old-1", FirstUse: true})
	if err == nil && !result.Verified {
		err = fmt.Errorf("the tag is not verified: %s: %s", result.Reason, result.Why)
	}
	return float64(count.read), err
}

// counting counts what answers hold.
type counting struct{ read int64 }

// RoundTrip implements http.RoundTripper.
func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(resp.Body, (*tally)(c)), resp.Body}
	}
	return resp, err
}

type tally counting

// Write implements io.Writer.
func (t *tally) Write(b []byte) (int, error) {
	t.read += int64(len(b))
	return len(b), nil
}
