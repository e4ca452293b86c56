// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier/internal/blob/s3/s3test"
	"dossier.dev/dossier/internal/store/storetest/pgtest"
)

// outage is a registry that loses what it needs, and what was pushed before.
type outage struct {
	host, base string
	kept       pushed // acknowledged before
	lost       []byte // a blob that was refused meanwhile
	half       []byte // a blob of which half was sent before
	location   string // of that upload
}

// newOutage pushes an image and half a blob.
func newOutage(t *testing.T, host string) *outage {
	t.Helper()
	random := rand.New(rand.NewPCG(5, 5))
	bytesOf := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	o := &outage{host: host, base: "http://" + host + "/v2/" + repository, kept: newLargePush(random, "kept"), lost: bytesOf(100_000), half: bytesOf(200_000)}
	if err := o.kept.send(t.Context(), host, true); err != nil {
		t.Fatal(err)
	}
	a := o.want(t, http.StatusAccepted, "", http.MethodPost, o.base+"/blobs/uploads/", nil, "")
	o.location = "http://" + host + a.header.Get("Location")
	o.want(t, http.StatusAccepted, "", http.MethodPatch, o.location, o.half[:len(o.half)/2], "")
	return o
}

// want sends a request and checks status and error code, and that an error says
// more than its code.
func (o *outage) want(t *testing.T, status int, code, method, url string, body []byte, contentType string) answer {
	t.Helper()
	a, err := do(t.Context(), method, url, body, contentType)
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Errors []struct{ Code, Message string }
	}
	_ = json.Unmarshal(a.body, &list) // what is no error is no list of them
	if a.status != status || code != "" && (len(list.Errors) != 1 || list.Errors[0].Code != code || len(list.Errors[0].Message) < 10) {
		t.Errorf("%s %s: %d %.300s, want %d %s", method, url, a.status, a.body, status, code)
	}
	if status == http.StatusServiceUnavailable && a.header.Get("Retry-After") == "" {
		t.Errorf("%s %s does not say when to ask again", method, url)
	}
	return a
}

// ready waits until the server is ready, or is not because of one thing.
func (o *outage) ready(t *testing.T, want int, because string) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		a, err := do(t.Context(), http.MethodGet, "http://"+o.host+"/readyz", nil, "")
		if err != nil {
			t.Fatal(err)
		}
		if a.status == want && strings.Contains(string(a.body), because) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("readiness is %d, want %d and %q: %s", a.status, want, because, a.body)
		}
	}
	o.want(t, http.StatusOK, "", http.MethodGet, "http://"+o.host+"/healthz", nil, "")
}

// pushLost pushes a blob that cannot be kept.
func (o *outage) pushLost(t *testing.T, status int, code string) {
	t.Helper()
	o.want(t, status, code, http.MethodPost, o.base+"/blobs/uploads/?digest="+sum(o.lost), o.lost, "")
}

// healed checks that everything is as it must be, without a restart: what was
// acknowledged is there, what was refused is not and can be pushed, what was
// begun goes on.
func (o *outage) healed(t *testing.T) {
	t.Helper()
	o.kept.check(t, o.host)
	o.want(t, http.StatusNotFound, "BLOB_UNKNOWN", http.MethodGet, o.base+"/blobs/"+sum(o.lost), nil, "")
	o.want(t, http.StatusNotFound, "MANIFEST_UNKNOWN", http.MethodGet, o.base+"/manifests/lost", nil, "")
	o.want(t, http.StatusCreated, "", http.MethodPost, o.base+"/blobs/uploads/?digest="+sum(o.lost), o.lost, "")
	o.want(t, http.StatusCreated, "", http.MethodPut, o.location+"?digest="+sum(o.half), o.half[len(o.half)/2:], "")
	for _, b := range [][]byte{o.lost, o.half} {
		if a := o.want(t, http.StatusOK, "", http.MethodGet, o.base+"/blobs/"+sum(b), nil, ""); !bytes.Equal(a.body, b) {
			t.Errorf("%s came back with %d bytes", sum(b), len(a.body))
		}
	}
	checkWhole(t, o.host)
}

// TestDatabaseGone stops the database under a registry, and starts it again.
func TestDatabaseGone(t *testing.T) {
	database := pgtest.StartOwn(t)
	o := newOutage(t, serve(t, t.TempDir(), database.URL()).host)
	for range 2 {
		database.Stop(t)
		o.ready(t, http.StatusServiceUnavailable, "store: not ready: ")
		o.pushLost(t, http.StatusServiceUnavailable, "UNAVAILABLE")
		o.want(t, http.StatusServiceUnavailable, "UNAVAILABLE", http.MethodGet, o.base+"/manifests/kept", nil, "")
		o.want(t, http.StatusServiceUnavailable, "UNAVAILABLE", http.MethodGet, o.base+"/blobs/"+sum(o.kept.layer), nil, "")
		o.want(t, http.StatusServiceUnavailable, "UNAVAILABLE", http.MethodPut, o.base+"/manifests/lost", o.kept.manifest, manifestType)
		o.want(t, http.StatusServiceUnavailable, "UNAVAILABLE", http.MethodGet, o.base+"/tags/list", nil, "")
		o.want(t, http.StatusServiceUnavailable, "UNAVAILABLE", http.MethodPatch, o.location, []byte("x"), "")
		database.Start(t)
		o.ready(t, http.StatusOK, "store: ok")
	}
	o.healed(t)
}

// TestObjectStoreGone stops the object store under a registry, and starts it
// again. What the database has is served meanwhile.
func TestObjectStoreGone(t *testing.T) {
	objects := s3test.Start(t)
	c := objects.Bucket(t, "dossier")
	query := url.Values{"endpoint": {c.Endpoint}, "region": {c.Region}, "path-style": {"true"}}
	o := newOutage(t, serveAt(t, place{data: t.TempDir(), env: []string{
		"DOSSIER_BLOBS=s3://" + c.Bucket + "?" + query.Encode(),
		"AWS_ACCESS_KEY_ID=" + c.Credentials.AccessKey, "AWS_SECRET_ACCESS_KEY=" + c.Credentials.SecretKey,
	}}).host)
	objects.Stop()
	o.ready(t, http.StatusServiceUnavailable, "blobs: not ready: ")
	o.pushLost(t, http.StatusServiceUnavailable, "UNAVAILABLE")
	o.want(t, http.StatusServiceUnavailable, "UNAVAILABLE", http.MethodGet, o.base+"/blobs/"+sum(o.kept.layer), nil, "")
	o.want(t, http.StatusOK, "", http.MethodGet, o.base+"/manifests/kept", nil, "")
	o.want(t, http.StatusOK, "", http.MethodGet, o.base+"/tags/list", nil, "")
	objects.Restart(t)
	o.ready(t, http.StatusOK, "blobs: ok")
	o.healed(t)
}

// TestDiskFull fills the disk under a registry, and makes room again.
func TestDiskFull(t *testing.T) {
	needRoot(t)
	data := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", data).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: no disk of a size can be made: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", data).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	// The server ends before the disk does: cleanups run last first.
	o := newOutage(t, serve(t, data, "").host)
	filler := filepath.Join(data, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 64<<10)
	for size := len(block); size > 0; { // to the last byte
		if _, err := f.Write(block[:size]); err != nil {
			size /= 2
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	o.pushLost(t, http.StatusInsufficientStorage, "INSUFFICIENT_STORAGE")
	o.want(t, http.StatusOK, "", http.MethodGet, o.base+"/blobs/"+sum(o.kept.layer), nil, "")
	for i := range 20 { // the database has some room left in its files
		a, err := do(t.Context(), http.MethodPost, o.base+"/blobs/uploads/", nil, "")
		if err != nil || a.status != http.StatusAccepted && a.status != http.StatusInsufficientStorage {
			t.Fatalf("upload %d: %v, %d %s", i, err, a.status, a.body)
		}
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	o.healed(t)
}
