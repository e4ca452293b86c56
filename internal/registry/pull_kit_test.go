// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"context"
	"io"
	"net/http"
	"testing"

	"dossier.dev/dossier/internal/blob"
)

// blindStore is a blob store whose writers cannot be read, as those of an object
// store cannot.
type blindStore struct{ blob.Store }

func (s blindStore) Create(ctx context.Context, key string) (blob.Writer, error) {
	w, err := s.Store.Create(ctx, key)
	return struct{ blob.Writer }{w}, err
}

func request(t testing.TB, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// copyN copies n bytes, or all when n is negative.
func copyN(to io.Writer, from io.Reader, n int64) (int64, error) {
	if n < 0 {
		return io.Copy(to, from)
	}
	return io.CopyN(to, from, n)
}
