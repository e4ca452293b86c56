// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/client"
	"dossier.dev/dossier/internal/store/sqlstore/sqltest"
)

func TestListenBeyondLoopbackNeedsMore(t *testing.T) {
	whole := ServeConfig{TLSCert: "c", TLSKey: "k", TokenFile: "t"}
	tests := []struct {
		listen string
		config ServeConfig
		ok     bool
	}{
		{"", ServeConfig{}, true},
		{"127.0.0.1:0", ServeConfig{}, true},
		{"127.8.8.8:1", ServeConfig{}, true},
		{"[::1]:8480", ServeConfig{}, true},
		{"localhost:8480", ServeConfig{}, true},
		{":8480", ServeConfig{}, false},
		{"0.0.0.0:8480", ServeConfig{}, false},
		{"[::]:8480", ServeConfig{}, false},
		{"dossier.example:8480", ServeConfig{}, false},
		{"10.0.0.1:8480", ServeConfig{TLSCert: "c", TLSKey: "k"}, false},
		{"10.0.0.1:8480", ServeConfig{TokenFile: "t"}, false},
		{"10.0.0.1:8480", whole, true},
		{":8480", whole, true},
		{"127.0.0.1:0", ServeConfig{TLSCert: "c"}, false},
		{"127.0.0.1:0", ServeConfig{TLSKey: "k"}, false},
		{"8480", ServeConfig{}, false},
		{"127.0.0.1", ServeConfig{}, false},
		{"127.0.0.1:http", ServeConfig{}, false},
		{"127.0.0.1:65536", ServeConfig{}, false},
	}
	for _, tt := range tests {
		tt.config.Listen, tt.config.Data = tt.listen, "data"
		err := tt.config.Validate()
		if (err == nil) != tt.ok || err != nil && dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("%+v: %v, want ok: %v", tt.config, err, tt.ok)
		}
	}
	// Nothing is opened when the configuration is wrong.
	dir := filepath.Join(t.TempDir(), "data")
	err := Serve(t.Context(), ServeConfig{Config: Config{Data: dir}, Listen: ":0"}, func(net.Addr) { t.Error("it listens") })
	if _, statErr := os.Stat(dir); err == nil || statErr == nil {
		t.Errorf("Serve: %v; the store: %v", err, statErr)
	}
}

// certificate writes a certificate of 127.0.0.1 and its key.
func certificate(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool.AppendCertsFromPEM(certPEM)
	err = errors.Join(os.WriteFile(cert, certPEM, 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return cert, key, pool
}

func TestTLSAndTokens(t *testing.T) {
	const token = "a-token-of-enough-letters"
	cert, key, pool := certificate(t)
	tokens := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(tokens, []byte("# ours\n"+token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := ServeConfig{Config: Config{Data: sqltest.Dir(t)}, Listen: "127.0.0.1:0", NoCluster: true, TLSCert: cert, TLSKey: key, TokenFile: tokens}
	s := serve(t, config)
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}
	t.Cleanup(web.CloseIdleConnections)
	for given, want := range map[string]dossier.Kind{"": dossier.KindDenied, token[1:]: dossier.KindDenied, token: ""} {
		c := newClient(t, s.url, client.Options{Token: given, HTTPClient: web})
		if _, err := c.Images(t.Context(), dossier.ImagesQuery{}); dossier.KindOf(err) != want {
			t.Errorf("token %q: %v, want kind %q", given, err, want)
		}
		if _, err := c.Clusters(t.Context()); dossier.KindOf(err) != want {
			t.Errorf("token %q: %v, want kind %q", given, err, want)
		}
	}
	if _, err := newClient(t, s.url, client.Options{Token: token}).Clusters(t.Context()); dossier.KindOf(err) != dossier.KindUnavailable {
		t.Errorf("a certificate that is not trusted: %v", err)
	}
	for name, change := range map[string]func(*ServeConfig){
		"no certificate":  func(c *ServeConfig) { c.TLSCert += "x" },
		"no token file":   func(c *ServeConfig) { c.TokenFile += "x" },
		"no tokens in it": func(c *ServeConfig) { c.TokenFile = cert },
	} {
		c := config
		c.Data = t.TempDir()
		change(&c)
		if err := Serve(t.Context(), c, func(net.Addr) {}); dossier.KindOf(err) != dossier.KindInvalid || dossier.HintOf(err) == "" && name != "no tokens in it" {
			t.Errorf("%s: %v, hint %q", name, err, dossier.HintOf(err))
		}
	}
}

// TestTokensAreReadAgain changes the file of tokens under a server that runs, for the
// API and for the registry.
func TestTokensAreReadAgain(t *testing.T) {
	const first, second = "the-first-token-of-all", "the-second-token-of-all"
	tokens := writeFile(t, "tokens", first+"\n")
	s := serve(t, ServeConfig{Config: Config{Data: sqltest.Dir(t)}, Listen: "127.0.0.1:0", NoCluster: true, TokenFile: tokens})
	status := func(path, token string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	check := func(good, bad string) {
		t.Helper()
		for _, path := range []string{"/api/v1/clusters", "/v2/"} {
			eventually(t, func() string {
				if got := [2]int{status(path, good), status(path, bad)}; got != [2]int{http.StatusOK, http.StatusUnauthorized} {
					return fmt.Sprintf("%s: %v, want 200 with %q and 401 with %q", path, got, good, bad)
				}
				return ""
			})
		}
	}
	check(first, second)
	if err := os.WriteFile(tokens, []byte(second+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check(second, first)
	if err := os.WriteFile(tokens, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check(second, first)
}

func TestAddressIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c := ServeConfig{Config: Config{Data: sqltest.Dir(t)}, Listen: taken.Addr().String(), NoCluster: true}
	if err := Serve(t.Context(), c, func(net.Addr) { t.Error("it listens") }); dossier.KindOf(err) != dossier.KindUnavailable || dossier.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
}

func TestUnreachableClusterIsNotFatal(t *testing.T) {
	s := serve(t, ServeConfig{
		Config: Config{Data: sqltest.Dir(t)}, Listen: "127.0.0.1:0",
		Cluster: ClusterOptions{Kubeconfig: filepath.Join(t.TempDir(), "none")},
	})
	deadline := time.Now().Add(10 * time.Second)
	for {
		status, body := fetch(t, s.url+"/readyz")
		if status == http.StatusServiceUnavailable && strings.Contains(body, "store: ok") && strings.Contains(body, "there is no such file") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("readiness: %d\n%s", status, body)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if status, body := fetch(t, s.url+"/api/v1/images"); status != http.StatusOK {
		t.Errorf("images: %d %s", status, body)
	}
	if status, body := fetch(t, s.url+"/metrics"); status != http.StatusOK || !strings.Contains(body, "dossier_cluster_watch_synced 0") {
		t.Errorf("metrics: %d", status)
	}
	if err := s.stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestOfflineServesOnly(t *testing.T) {
	s := serve(t, ServeConfig{Config: Config{Data: sqltest.Dir(t), Offline: true}, Listen: "127.0.0.1:0"})
	if status, body := fetch(t, s.url+"/readyz"); status != http.StatusOK || strings.Contains(body, "cluster") {
		t.Errorf("readiness: %d\n%s", status, body)
	}
}

func TestTaskIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		work := task{name: "a test", log: slog.New(slog.DiscardHandler)}
		var starts []time.Duration
		begin := time.Now()
		fault := errors.New("no")
		go func() {
			_ = work.keep(ctx, func(ctx context.Context) error {
				starts = append(starts, time.Since(begin))
				if len(starts) < 10 {
					return fault
				}
				work.set(nil)
				<-ctx.Done()
				return ctx.Err()
			})
		}()
		synctest.Wait()
		if err := work.ready(ctx); err != fault {
			t.Errorf("after the first failure: %v", err)
		}
		time.Sleep(10 * maxPause)
		synctest.Wait()
		if err := work.ready(ctx); err != nil {
			t.Errorf("while it runs: %v", err)
		}
		cancel()
		synctest.Wait()
		pause := firstPause
		for i := 1; i < len(starts); i++ {
			if got := starts[i] - starts[i-1]; got < pause/2 || got > pause {
				t.Errorf("pause %d: %v, want %v at most and half of it at least", i, got, pause)
			}
			pause = min(2*pause, maxPause)
		}
		if len(starts) != 10 {
			t.Errorf("%d starts, want 10", len(starts))
		}
	})
}
