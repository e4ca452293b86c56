// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package s3_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"dossier.dev/dossier/internal/blob"
	"dossier.dev/dossier/internal/blob/blobtest"
	"dossier.dev/dossier/internal/blob/s3"
	"dossier.dev/dossier/internal/blob/s3/s3test"
)

func TestMain(m *testing.M) {
	if config := os.Getenv(crashEnv); config != "" {
		os.Exit(writeUntilKilled(config))
	}
	minio.DefaultRetryUnit = time.Millisecond // how long the client waits after an error
	os.Exit(m.Run())
}

// open opens a store that is closed when the test ends.
func open(t testing.TB, c s3.Config) *s3.Store {
	t.Helper()
	s, err := s3.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	s.Hurry()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	c := s3test.Start(t).Bucket(t, "suite")
	blobtest.Run(t, func(t testing.TB) blob.Store {
		c := c
		c.Prefix = "case/" + strings.ReplaceAll(blob.NewKey(), "-", "")
		return open(t, c)
	})
}
