// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob/s3/s3test"
	"dossier.dev/dossier/internal/store/sqlstore/sqltest"
	"dossier.dev/dossier/internal/testimage"
)

// bucketURL makes a bucket and returns its URL. Its credentials are in the environment.
func bucketURL(t *testing.T) string {
	t.Helper()
	c := s3test.Start(t).Bucket(t, "dossier")
	t.Setenv("AWS_ACCESS_KEY_ID", c.Credentials.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", c.Credentials.SecretKey)
	return fmt.Sprintf("s3://%s/test?%s", c.Bucket, url.Values{"endpoint": {c.Endpoint}, "region": {c.Region}, "path-style": {"true"}}.Encode())
}

// TestBlobsInABucket pushes to a server whose blobs lie in a bucket, and pulls
// from another one, which has no more in common with it than database and bucket.
// Neither says what the credentials are.
func TestBlobsInABucket(t *testing.T) {
	place := bucketURL(t)
	var log bytes.Buffer
	c := ServeConfig{Config: Config{Data: sqltest.Dir(t), Offline: true, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))},
		Listen: "127.0.0.1:0", NoCluster: true, Blobs: place}
	c.Registry.Name = "registry.example"
	content, err := testimage.Image{Layers: []testimage.Layer{{Files: map[string]testimage.File{"a": testimage.Text(strings.Repeat("layer", 1000))}}}}.Build()
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, c)
	if err := testimage.Push(t.Context(), nil, s.url, "org/app", "latest", content); err != nil {
		t.Fatal(err)
	}
	if status, body := fetch(t, s.url+"/readyz"); status != http.StatusOK || !strings.Contains(body, "blobs: ok") {
		t.Errorf("readiness: %d\n%s", status, body)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s = serve(t, c)
	n := 0
	for _, b := range content.Blobs {
		if _, body := fetch(t, s.url+"/v2/org/app/blobs/"+string(b.Digest)); body == string(b.Bytes) {
			n++
		}
	}
	if n < 2 {
		t.Errorf("%d of %d blobs came back", n, len(content.Blobs))
	}
	if entries, err := os.ReadDir(filepath.Join(c.Data, BlobsDir)); err == nil {
		t.Errorf("there are blobs on the disk: %v", entries)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_ACCESS_KEY_ID")} {
		if strings.Contains(log.String(), secret) {
			t.Error("the log holds a credential")
		}
	}
}

// TestBlobsAreCheckedAtTheStart: what is wrong with the place is said before
// anybody pushes.
func TestBlobsAreCheckedAtTheStart(t *testing.T) {
	place := bucketURL(t)
	for name, tt := range map[string]struct {
		blobs string
		setup func(t *testing.T)
		kind  dossier.Kind
		says  string
	}{
		"no bucket":       {strings.Replace(place, "s3://dossier/", "s3://other-bucket/", 1), func(*testing.T) {}, dossier.KindStorage, "other-bucket"},
		"wrong secret":    {place, func(t *testing.T) { t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong") }, dossier.KindStorage, "dossier"},
		"nobody there":    {"s3://dossier?endpoint=http://127.0.0.1:1&region=r", func(*testing.T) {}, dossier.KindUnavailable, "127.0.0.1:1"},
		"a password":      {"s3://key:secret@dossier", func(*testing.T) {}, dossier.KindInvalid, "credentials do not belong there"},
		"another place":   {"gs://dossier", func(*testing.T) {}, dossier.KindInvalid, "s3://BUCKET"},
		"something added": {place + "&acl=public", func(*testing.T) {}, dossier.KindInvalid, "acl"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.setup(t)
			c := ServeConfig{Config: Config{Data: sqltest.Dir(t), Offline: true}, Listen: "127.0.0.1:0", NoCluster: true, Blobs: tt.blobs}
			err := Serve(t.Context(), c, func(net.Addr) { t.Error("it listens") })
			if dossier.KindOf(err) != tt.kind || !strings.Contains(fmt.Sprint(err), tt.says) || strings.Contains(fmt.Sprint(err), "secret@") {
				t.Errorf("%v (%s), want %s that says %s", err, dossier.KindOf(err), tt.kind, tt.says)
			}
		})
	}
}

// TestBlobsGone: readiness says so when the directory is no longer there.
func TestBlobsGone(t *testing.T) {
	data := t.TempDir()
	s := serveRegistry(t, func(c *ServeConfig) { c.Data = data })
	if status, body := fetch(t, s.url+"/readyz"); status != http.StatusOK || !strings.Contains(body, "blobs: ok") {
		t.Errorf("readiness: %d\n%s", status, body)
	}
	if err := os.RemoveAll(filepath.Join(data, BlobsDir)); err != nil {
		t.Fatal(err)
	}
	if status, body := fetch(t, s.url+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "blobs: not ready: looking at the blobs") {
		t.Errorf("readiness: %d\n%s", status, body)
	}
}
