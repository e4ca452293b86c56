// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier/internal/store/sqlstore/sqltest"
	"dossier.dev/dossier/internal/testimage"
)

// moveTo puts a file in the place of another.
func moveTo(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// TestCertificateIsReadAgain changes certificate and key while the server runs:
// new connections see the new one, never half of a change, and nobody is cut off.
func TestCertificateIsReadAgain(t *testing.T) {
	cert, key, pool := certificate(t)
	nextCert, nextKey, nextPool := certificate(t)
	s := serve(t, ServeConfig{Config: Config{Data: sqltest.Dir(t), Offline: true}, Listen: "127.0.0.1:0", NoCluster: true, TLSCert: cert, TLSKey: key})
	// trusts connects anew and reports whether the certificate is one of a pool.
	trusts := func(pool *x509.CertPool) error {
		web := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}
		defer web.CloseIdleConnections()
		resp, err := web.Get(s.url + "/healthz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.ProtoMajor != 2 {
			t.Errorf("%s, want HTTP/2", resp.Proto)
		}
		return nil
	}
	if err := trusts(pool); err != nil {
		t.Fatal(err)
	}
	if trusts(nextPool) == nil {
		t.Fatal("the certificates do not differ")
	}
	kept := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}
	t.Cleanup(kept.CloseIdleConnections)
	asKept := func() {
		t.Helper()
		resp, err := kept.Get(s.url + "/healthz")
		if err != nil {
			t.Fatalf("a connection that is open: %v", err)
		}
		_ = resp.Body.Close()
	}
	asKept()
	moveTo(t, nextKey, key) // which does not fit the certificate
	for end := time.Now().Add(2 * certificateEvery); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err := trusts(pool); err != nil {
			t.Fatalf("in the middle of a change: %v", err)
		}
	}
	moveTo(t, nextCert, cert)
	eventually(t, func() string {
		if err := trusts(nextPool); err != nil {
			return "the new certificate: " + err.Error()
		}
		return ""
	})
	asKept()
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(2 * certificateEvery); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err := trusts(nextPool); err != nil {
			t.Fatalf("without a file: %v", err)
		}
	}
}

// TestRegistryOverHTTP2 pushes and pulls over one connection that all share.
func TestRegistryOverHTTP2(t *testing.T) {
	cert, key, pool := certificate(t)
	s := serve(t, ServeConfig{Config: Config{Data: sqltest.Dir(t), Offline: true}, Listen: "127.0.0.1:0", NoCluster: true, TLSCert: cert, TLSKey: key})
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}
	t.Cleanup(web.CloseIdleConnections)
	content, err := testimage.Image{Layers: []testimage.Layer{{Files: map[string]testimage.File{"a": testimage.Text(strings.Repeat("layer", 300_000))}}}}.Build()
	if err != nil {
		t.Fatal(err)
	}
	if err := testimage.Push(t.Context(), web, s.url, "org/app", "latest", content); err != nil {
		t.Fatal(err)
	}
	for _, b := range content.Blobs {
		resp, err := web.Get(s.url + "/v2/org/app/blobs/" + string(b.Digest))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.ProtoMajor != 2 || string(got) != string(b.Bytes) {
			t.Errorf("%s: %d bytes by %s, %v, want %d", b.Digest, len(got), resp.Proto, err, len(b.Bytes))
		}
	}
}
