// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/bench/load"
	"dossier.dev/dossier/bench/measure"
	"dossier.dev/dossier/internal/answer"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/proof"
	"dossier.dev/dossier/internal/server"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/translog"
)

const (
	logFacts      = 1_000_000
	logFactBytes  = 500
	provenImages  = 100 // each an index of provenParts platforms: 2*provenParts+1 facts of as many subjects
	provenParts   = 10
	proofQueries  = 1000
	provableRate  = 500 // facts a second
	provableTime  = 10 * time.Second
	provableLimit = 250 * time.Millisecond
	overheadLimit = 32 // KiB
	createLimit   = 20 * time.Millisecond
	checkLimit    = 50 * time.Millisecond
	verifyLimit   = 2 * time.Minute
	verifyMemory  = 500_000_000
)

// measureProofs measures the log and proofs at 1,000,000 facts.
func measureProofs(ctx context.Context, l *lab, r *report) error {
	facts, queries, d := logFacts, proofQueries, provableTime
	if l.short {
		facts, queries, d = facts/20, queries/10, d/5
	}
	if _, err := l.needProgram(ctx); err != nil {
		return err
	}
	data := filepath.Join(l.dir, "proofs")
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	l.say("recording %d facts", facts)
	begin := time.Now()
	images, err := fillLog(ctx, data, facts)
	if err != nil {
		return err
	}
	r.note("store", "SQLite, %d facts of %d bytes, each on a subject of its own; written into the tables at once, in %s", facts, logFactBytes, load.Short(time.Since(begin)))
	file, err := os.Stat(filepath.Join(data, server.DatabaseFile))
	if err != nil {
		return err
	}
	r.note("database", "%s", megabytes(file.Size()))
	u, err := measure.Run(ctx, l.dossier("log", "verify", "--data", data))
	if err != nil {
		return err
	}
	r.within("log verify, the whole command", u.Wall, verifyLimit)
	r.bounded("its peak memory", u.PeakMemory, verifyMemory)
	r.usage(u)
	if err := l.measureProving(ctx, r, data, images, queries); err != nil {
		return err
	}
	for _, delay := range []time.Duration{0, slowSync} {
		s, err := l.provable(ctx, data, d, delay)
		if err != nil {
			return err
		}
		what := fmt.Sprintf("record to provable, %d facts/s", provableRate)
		if delay > 0 {
			what += fmt.Sprintf(", each fsync %s slower", load.Short(delay))
		}
		r.quantiles(what, s, provableLimit)
	}
	return nil
}

func openLog(db store.Store, data string) (*translog.Log, error) {
	signer, key, err := translog.OpenKey(filepath.Join(data, server.LogKeyFile))
	if err != nil {
		return nil, err
	}
	return translog.New(translog.Config{Store: db, Signer: signer, Key: key})
}

func recordBody(ctx context.Context, tx store.Tx, body []byte) error {
	_, _, err := tx.Record(ctx, dossier.Statement{Subject: dossier.FromBytes(body), Kind: dossier.FactPush, Source: "bench", Body: body})
	return err
}

// manyPlatforms is an image for provenParts platforms: configurations, then manifests, then the index.
func manyPlatforms(i int) ([]image.Node, error) {
	var configs, manifests, parts []string
	var list []image.Node
	for n := range provenParts {
		layer := dossier.FromBytes(fmt.Append(nil, "layer ", i, n))
		platform := fmt.Sprintf(`"architecture":"arch%d","os":"linux"`, n)
		config := fmt.Sprintf(`{%s,"created":"2026-01-02T03:04:05Z","config":{"Labels":{"org.opencontainers.image.title":"app-%d"}},"rootfs":{"type":"layers","diff_ids":[%q]}}`, platform, i, layer)
		manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":1024}]}`,
			dossier.FromBytes([]byte(config)), len(config), layer)
		configs, manifests = append(configs, config), append(manifests, manifest)
		parts = append(parts, fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":%d,"platform":{%s}}`, dossier.FromBytes([]byte(manifest)), len(manifest), platform))
	}
	for _, text := range configs {
		node, err := image.ParseConfig(image.Descriptor{Digest: dossier.FromBytes([]byte(text)), MediaType: "application/vnd.oci.image.config.v1+json"}, []byte(text))
		if err != nil {
			return nil, err
		}
		list = append(list, node)
	}
	index := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s]}`, strings.Join(parts, ","))
	for _, text := range append(manifests, index) {
		node, err := image.ParseManifest(image.Descriptor{}, []byte(text))
		if err != nil {
			return nil, err
		}
		list = append(list, node)
	}
	return list, nil
}

// measureProving asks a server for proofs, one after the other, and checks them.
func (l *lab) measureProving(ctx context.Context, r *report, data string, images []dossier.Digest, queries int) error {
	s, err := l.serve(ctx, data, "--no-cluster", "--no-registry", "--offline")
	if err != nil {
		return err
	}
	var made load.Sample
	var files [][]byte
	for i := range queries {
		begin := time.Now()
		b, err := s.get(ctx, "/api/v1/proofs?ref="+string(images[i%len(images)]))
		if err == nil {
			b, err = proof.Compress(b) // as it is kept
		}
		made.Add(time.Since(begin), err)
		if i < len(images) {
			files = append(files, b)
		}
	}
	if _, err := s.close(); err != nil {
		return err
	}
	r.quantiles("a proof made, asked of a server", &made, createLimit)
	if made.Failed > 0 {
		return made.First
	}
	_, key, err := translog.OpenKey(filepath.Join(data, server.LogKeyFile))
	if err != nil {
		return err
	}
	trusted := "logs: [{key: " + key + "}]\n"
	trust, err := proof.ParseTrust([]byte(trusted))
	if err != nil {
		return err
	}
	var checked load.Sample
	for i := range queries {
		begin := time.Now()
		f, err := proof.Parse(files[i%len(files)])
		if err == nil {
			var report proof.Report
			if report, err = proof.Check(f, trust, nil); err == nil && len(report.Faults) > 0 {
				err = errors.New(report.Faults[0])
			}
		}
		checked.Add(time.Since(begin), err)
	}
	r.quantiles("a proof checked, offline", &checked, checkLimit)
	if checked.Failed > 0 {
		return checked.First
	}
	if err := l.verifyCommand(ctx, r, data, files, trusted); err != nil {
		return err
	}
	return overhead(r, files)
}

// verifyCommand measures the check as a user runs it.
func (l *lab) verifyCommand(ctx context.Context, r *report, data string, files [][]byte, trust string) error {
	name := filepath.Join(data, "trust.yaml")
	if err := os.WriteFile(name, []byte(trust), 0o600); err != nil {
		return err
	}
	var all load.Sample
	for i, b := range files[:min(20, len(files))] {
		file := filepath.Join(data, fmt.Sprintf("%d.proof", i))
		if err := os.WriteFile(file, b, 0o600); err != nil {
			return err
		}
		u, err := measure.Run(ctx, l.dossier("verify", "--proof", file, "--trust", name))
		all.Add(u.Wall, err)
	}
	r.note("the same, the whole command", "%v", &all)
	return all.First
}

// overhead reports how large the files are without the bodies of their facts. Both are compressed: a
// file costs so much more than its bodies would alone.
func overhead(r *report, files [][]byte) error {
	var most, whole, facts int
	for _, b := range files {
		f, err := proof.Parse(b)
		if err != nil {
			return err
		}
		var e answer.Evidence
		if err := json.Unmarshal(f.Evidence, &e); err != nil {
			return err
		}
		var bodies []byte
		for _, fact := range e.Facts {
			bodies = append(bodies, fact.Body...)
		}
		if bodies, err = proof.Compress(bodies); err != nil {
			return err
		}
		if n := len(b) - len(bodies); n > most {
			most, whole, facts = n, len(b), len(e.Facts)
		}
	}
	r.atMost(fmt.Sprintf("a proof of %d facts of as many subjects, without their bodies, in KiB", facts), float64(most)/1024, overheadLimit)
	r.note("the same, with them", "%d bytes", whole)
	return nil
}
