// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"dossier.dev/dossier/internal/soak"
	"dossier.dev/dossier/internal/store/storetest/pgtest"
)

// soakEnv is an environment variable: how long each part of TestSoak takes, when
// that is not soakTime.
const (
	soakEnv  = "DOSSIER_SOAK"
	soakTime = time.Minute
)

// TestSoak has clients use a registry that collects and scrubs every second: one
// process, and three replicas. No push and no pull fails, and nothing is lost.
//
// It can fail: when HEAD does not lease what it tells of (registry, renew), a minute
// on SQLite gives some eight pushes whose blob was collected after HEAD had said that it is there.
func TestSoak(t *testing.T) {
	d := soakTime
	if text := os.Getenv(soakEnv); text != "" {
		var err error
		if d, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	policy := filepath.Join(t.TempDir(), "dossier.yaml")
	write(t, policy, soak.Policy)
	flags := []string{"--config", policy}
	for _, s := range []struct {
		name  string
		hosts func(t *testing.T) []string
	}{
		{"SQLite and a directory", func(t *testing.T) []string {
			return []string{serveAt(t, place{data: t.TempDir(), flags: flags}).host}
		}},
		{"PostgreSQL and S3 with 3 replicas", func(t *testing.T) []string {
			p := bucket(t)
			p.database, p.flags = pgtest.Start(t), flags
			var hosts []string
			for range 3 {
				p.data = t.TempDir()
				hosts = append(hosts, serveAt(t, p).host)
			}
			return hosts
		}},
	} {
		t.Run(s.name, func(t *testing.T) {
			report, err := soak.Run(t.Context(), soak.Config{Hosts: s.hosts(t), Duration: d, Seed: 1})
			t.Logf("%v", report)
			if err != nil {
				t.Fatal(err)
			}
			if err := report.Err(); err != nil {
				t.Error(err)
			}
		})
	}
}
