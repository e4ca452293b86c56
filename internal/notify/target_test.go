// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/store"
)

// TestRedirects: nothing goes where an answer says, neither event nor signature.
func TestRedirects(t *testing.T) {
	var mu sync.Mutex
	var leaked []string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		leaked = append(leaked, fmt.Sprint(r.Method, " ", r.URL, " ", r.Header))
	}))
	defer elsewhere.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, to := range []string{elsewhere.URL + "/there", "/there"} {
			w := newWorld(t)
			var log bytes.Buffer
			s := w.service(config.NotifyTarget{Name: "one"})
			s.Logger = slog.New(slog.NewTextHandler(&log, nil))
			w.answers(status, "Location", to)
			w.run("Deployment", "shop", imageA)
			w.say(imageA, found("CVE-1"))
			w.step(s)
			if got := w.requests(); got != 1 || len(w.deliveries("one")) != 1 {
				t.Errorf("%d to %s: %d requests, want one, and %d events wait", status, to, got, len(w.deliveries("one")))
			}
			if !strings.Contains(log.String(), "redirects are not followed: write where they lead into the configuration") {
				t.Errorf("%d: the log does not say what to do:\n%s", status, log.String())
			}
			w.takes()
			w.pass(firstPause)
			w.step(s)
			w.check("later", "image.started shop CVE-1")
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(leaked) > 0 {
		t.Errorf("where it was redirected to there came %v", leaked)
	}
}

// TestCertificates: a target's certificate must come from an authority that the
// configuration names, and be made out to its name. The log says what to do.
func TestCertificates(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewUnstartedServer(w.receiver)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	server.StartTLS()
	defer server.Close()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "another authority"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	other, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	inPEM := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
	right, wrong := filepath.Join(w.dir, "ca.pem"), filepath.Join(w.dir, "other.pem")
	if err := errors.Join(os.WriteFile(right, inPEM(server.Certificate().Raw), 0o600), os.WriteFile(wrong, inPEM(other), 0o600)); err != nil {
		t.Fatal(err)
	}
	localhost := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	w.run("Deployment", "shop", imageA)
	w.say(imageA, found("CVE-1"))
	for _, tt := range []struct {
		name, url, ca, want string // want: of the error; empty: it is delivered
	}{
		{"the system's authorities", server.URL, "", "name a file with that in ca"},
		{"another authority", server.URL, wrong, "name a file with that in ca"},
		{"another name", localhost, right, "certificate is valid for"},
		{"the right authority", server.URL, right, ""},
	} {
		w.update(func(tx store.Tx) error {
			if err := tx.DropTold(t.Context(), dossier.Workload{Cluster: "uid", Namespace: "web", Kind: "Deployment", Name: "shop"}, imageA); err != nil {
				return err
			}
			return Outbox{Now: w.now, Gather: time.Nanosecond}.All(t.Context(), tx)
		})
		w.step(w.service(config.NotifyTarget{Name: tt.name, URL: tt.url + "/T000/secret-path", CA: tt.ca}))
		list := w.deliveries(tt.name)
		switch {
		case tt.want == "" && len(list) == 0:
			w.check(tt.name, "image.started shop CVE-1")
		case tt.want == "" || len(list) != 1 || !strings.Contains(list[0].LastError, tt.want) || strings.Contains(list[0].LastError, "secret-path"):
			t.Errorf("%s: what waits is %+v, want an error with %q and without the path", tt.name, list, tt.want)
		default:
			w.check(tt.name)
		}
	}
}
