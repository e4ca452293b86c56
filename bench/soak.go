// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"dossier.dev/dossier/bench/measure"
	"dossier.dev/dossier/internal/blob/s3/s3test"
	"dossier.dev/dossier/internal/soak"
)

// soakTime is how long clients use one process, and then three replicas.
const soakTime = 10 * time.Minute

// measureSoak has clients use a registry at random while it collects and scrubs every
// second: one process, then three replicas on PostgreSQL and an object store.
func measureSoak(ctx context.Context, l *lab, r *report) error {
	if _, err := l.needProgram(ctx); err != nil {
		return err
	}
	err := l.soakOn(ctx, r, "1 process", func(start func(env ...string) (*running, error)) ([]*running, error) {
		s, err := start()
		return []*running{s}, err
	})
	if err != nil {
		return err
	}
	db, err := startPostgres(ctx, "", 0)
	if err != nil {
		return err
	}
	l.toHarness()
	c := s3test.Start(l.stage).Bucket(l.stage, "soak")
	query := url.Values{"endpoint": {c.Endpoint}, "region": {c.Region}, "path-style": {"true"}}
	env := []string{
		"DOSSIER_DATABASE=" + db.url, "DOSSIER_BLOBS=s3://" + c.Bucket + "?" + query.Encode(),
		"AWS_ACCESS_KEY_ID=" + c.Credentials.AccessKey, "AWS_SECRET_ACCESS_KEY=" + c.Credentials.SecretKey,
	}
	err = l.soakOn(ctx, r, "3 replicas", func(start func(env ...string) (*running, error)) (list []*running, err error) {
		for range 3 {
			s, err := start(env...)
			if err != nil {
				return list, err
			}
			list = append(list, s)
		}
		return list, nil
	})
	return errors.Join(err, db.stop())
}

// soakOn soaks what begin starts.
func (l *lab) soakOn(ctx context.Context, r *report, what string, begin func(start func(env ...string) (*running, error)) ([]*running, error)) error {
	d := soakTime
	if l.short {
		d = 30 * time.Second
	}
	config := filepath.Join(l.dir, "soak.yaml")
	if err := os.WriteFile(config, []byte(soak.Policy), 0o600); err != nil {
		return err
	}
	servers, err := begin(func(env ...string) (*running, error) { return l.host(ctx, l.configured(config, env...), "", 0) })
	defer func() {
		for _, s := range servers {
			if s != nil {
				l.closeQuietly(s)
			}
		}
	}()
	if err != nil {
		return err
	}
	var hosts []string
	for _, s := range servers {
		hosts = append(hosts, strings.TrimPrefix(s.base, "http://"))
	}
	report, err := soak.Run(ctx, soak.Config{Hosts: hosts, Duration: d, Seed: uint64(time.Now().UnixNano()), Pause: 50 * time.Millisecond})
	if err != nil {
		return err
	}
	l.say("%s: %v", what, report)
	r.exactly(what+": failed pushes and pulls, lost blobs", len(report.Failures), 0)
	r.exactly(what+": damaged blobs", int(report.Counters[soak.Damaged]), 0)
	r.note(what+": done", "%d pushes, %d pulls, %d deletions, %d mounts in %v, %d late", report.Did["push"], report.Did["pull"],
		report.Did["delete"]+report.Did["delete tag"], report.Did["mount"], d, report.Late)
	r.note(what+": meanwhile", "%d things collected, %s freed, %d blobs checked", report.Counters[soak.Collected], megabytes(report.Counters[soak.Freed]), report.Counters[soak.Checked])
	if err := report.Err(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// configured is Dossier with a configuration file, and more in its environment.
func (l *lab) configured(config string, env ...string) peer {
	return peer{ours, "", func(data, address string) (measure.Command, error) {
		c := l.dossier("serve", "--config", config, "--no-cluster", "--offline", "--registry-name", "registry.example", "--data", data, "--listen", address)
		c.Env = append(c.Env, env...)
		return c, nil
	}}
}

// closeQuietly closes a server whose end is no longer of interest.
func (l *lab) closeQuietly(s *running) {
	if err := s.close(); err != nil {
		l.say("closing %s: %v", s.base, err)
	}
}
