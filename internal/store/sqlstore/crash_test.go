// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/store/storetest"
	"dossier.dev/dossier/internal/store/storetest/pgtest"
)

// Environment variables of a child process that writes until it is killed: the
// database, a file or a URL, and what its transactions are called.
const (
	crashDatabaseEnv = "DOSSIER_TEST_CRASH_DATABASE"
	crashPrefixEnv   = "DOSSIER_TEST_CRASH_PREFIX"
)

func TestMain(m *testing.M) {
	if database := os.Getenv(crashDatabaseEnv); database != "" {
		os.Exit(writeUntilKilled(database, os.Getenv(crashPrefixEnv)))
	}
	os.Exit(m.Run())
}

// at returns the configuration for a file or a URL.
func at(database string) sqlstore.Config {
	if strings.HasPrefix(database, "postgres:") {
		return sqlstore.Config{URL: database}
	}
	return sqlstore.Config{Path: database}
}

// writeUntilKilled is the child process. It returns its exit code.
func writeUntilKilled(database, prefix string) int {
	ctx := context.Background()
	s, err := sqlstore.Open(ctx, at(database))
	if err == nil {
		err = errors.Join(storetest.WriteUntilKilled(ctx, s, prefix, os.Stdout), s.Close())
	}
	fmt.Fprintln(os.Stderr, "not killed:", err)
	return 1
}

func TestKilledSQLite(t *testing.T) {
	t.Parallel()
	testKilled(t, file(t))
}

func TestKilledPostgres(t *testing.T) {
	t.Parallel()
	testKilled(t, pgtest.Start(t))
}

// testKilled kills processes that write, two at a time, again and again.
func testKilled(t *testing.T, database string) {
	const rounds, processes = 4, 2
	var told []byte
	found := 0
	for round := range rounds {
		children := make([]*exec.Cmd, processes)
		for i := range children {
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), crashDatabaseEnv+"="+database, fmt.Sprintf("%s=%d-%d", crashPrefixEnv, round, i))
			child.Stdout, child.Stderr = &bytes.Buffer{}, &bytes.Buffer{}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			children[i] = child
		}
		time.Sleep(time.Duration(250+round*83) * time.Millisecond)
		for _, child := range children {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		for _, child := range children {
			if err := child.Wait(); err == nil || child.Stderr.(*bytes.Buffer).Len() > 0 {
				t.Fatalf("a child ended by itself: %v\n%s", err, child.Stderr)
			}
			told = append(append(told, child.Stdout.(*bytes.Buffer).Bytes()...), '\n')
		}
		s, err := sqlstore.Open(t.Context(), at(database))
		if err != nil {
			t.Fatal(err)
		}
		found = storetest.CheckWritten(t, s, told)
		t.Logf("round %d: %d transactions so far", round, found)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if found == 0 {
		t.Error("no child wrote anything")
	}
}
