// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// shop is an authority, a key whose certificate it made, and its responder of OCSP on the
// loopback.
type shop struct {
	cert, leaf   *x509.Certificate
	key, leafKey *ecdsa.PrivateKey
	status       atomic.Int64 // of the leaf
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{}
	responder := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		if q.Method == http.MethodGet { // as notation asks (RFC 6960, A.1)
			text, _ := url.PathUnescape(strings.TrimPrefix(q.URL.EscapedPath(), "/"))
			body, _ = base64.StdEncoding.DecodeString(text)
		}
		about, err := ocsp.ParseRequest(body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		b, err := ocsp.CreateResponse(s.cert, s.cert, ocsp.Response{Status: int(s.status.Load()), SerialNumber: about.SerialNumber, ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour), RevokedAt: time.Now()}, s.key)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(b)
	}))
	t.Cleanup(responder.Close)
	certify := func(c, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
		c.NotBefore, c.NotAfter, c.BasicConstraintsValid = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour), true
		der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), s.key)
		if err != nil {
			t.Fatal(err)
		}
		out, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for _, k := range []**ecdsa.PrivateKey{&s.key, &s.leafKey} {
		var err error
		if *k, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	name := pkix.Name{Country: []string{"US"}, Province: []string{"WA"}, Organization: []string{"shop"}, CommonName: "root"}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: name, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	s.cert = certify(root, root, s.key)
	name.CommonName = "release"
	s.leaf = certify(&x509.Certificate{SerialNumber: big.NewInt(2), Subject: name, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, OCSPServer: []string{responder.URL}}, s.cert, s.leafKey)
	return s
}

// configure writes the configuration of notation: the key, and whom it trusts.
func (s *shop) configure(t *testing.T, dir, host string) {
	t.Helper()
	put := func(name string, b []byte) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	certificate := func(c *x509.Certificate) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	der, err := x509.MarshalPKCS8PrivateKey(s.leafKey)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(map[string]any{"default": "shop", "keys": []any{map[string]string{
		"name":    "shop",
		"keyPath": put("localkeys/shop.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "certPath": put("localkeys/shop.crt", append(certificate(s.leaf), certificate(s.cert)...)),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	put("signingkeys.json", keys)
	put("truststore/x509/ca/shop/root.pem", certificate(s.cert))
	put("trustpolicy.json", []byte(`{"version": "1.0", "trustPolicies": [
{"name": "shop", "registryScopes": ["`+host+`/app"], "signatureVerification": {"level": "strict"}, "trustStores": ["ca:shop"], "trustedIdentities": ["x509.subject: C=US, ST=WA, O=shop"]},
{"name": "audit", "registryScopes": ["`+host+`/audit"], "signatureVerification": {"level": "audit"}, "trustStores": ["ca:shop"], "trustedIdentities": ["*"]},
{"name": "free", "registryScopes": ["`+host+`/free"], "signatureVerification": {"level": "skip"}}]}`))
}

// TestNotation has notation sign images in our registry, and holds what it says of them
// against what we say, by one configuration: its own.
func TestNotation(t *testing.T) {
	notation := peer(t, "notation", "github.com/notaryproject/notation/cmd/notation")
	ours := program(t, "dossier")
	c := newClients(t, storages[0].start(t), false)
	t.Chdir(t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(c.config, "xdg"))
	config := filepath.Join(c.config, "xdg", "notation")
	s := newShop(t)
	s.configure(t, config, c.host)
	write(t, "trust.yaml", "notation: {config: "+config+", revocation: online}\n")
	write(t, "offline.yaml", "notation: {config: "+config+"}\n")
	data := t.TempDir()
	push := func(repository, tag string) string {
		t.Helper()
		write(t, "content", repository+tag)
		c.run(t, "tar", "-cf", "layer.tar", "content")
		name := c.host + "/" + repository
		c.run(t, c.crane, "append", "-f", "layer.tar", "-t", name+":"+tag)
		return name + "@" + c.digestOf(t, name+":"+tag)
	}
	// judge has both verify: what notation takes we take, and what it refuses we refuse, for
	// the reason want.
	judge := func(ref, want string) {
		t.Helper()
		_, theirs := c.try(t, notation, "verify", "--insecure-registry", ref)
		out, err := c.try(t, ours, "verify", "--trust", "trust.yaml", "--data", data, ref)
		if (theirs == nil) != (err == nil) {
			t.Errorf("%s: notation says %v, dossier %v", ref, theirs, err)
		}
		if err != nil {
			out = err.Error()
		}
		if !strings.Contains(out, want) {
			t.Errorf("%s: %s\nwant %s", ref, out, want)
		}
	}
	sign := func(ref string, more ...string) {
		t.Helper()
		c.run(t, notation, append([]string{"sign", "--insecure-registry", ref}, more...)...)
	}

	jws := push("app", "jws")
	judge(jws, "not verified (no-evidence)")
	sign(jws, "--signature-format", "jws")
	judge(jws, "verified: ")
	judge(strings.Split(jws, "@")[0]+":jws", "verified: ")
	cose := push("app", "cose")
	sign(cose, "--signature-format", "cose", "--expiry", "24h", "--user-metadata", "build=1")
	judge(cose, "verified: ")
	if _, err := c.try(t, ours, "verify", "--trust", "offline.yaml", "--data", data, cose); err == nil || !strings.Contains(err.Error(), "revocation-unavailable") {
		t.Errorf("without the network: %v", err)
	}

	// By whom nobody trusts; by a certificate that notation makes.
	c.run(t, notation, "cert", "generate-test", "stranger")
	stranger := push("app", "stranger")
	sign(stranger, "--key", "stranger")
	judge(stranger, "not verified (certificate-invalid)")
	audited := push("audit", "1")
	judge(audited, "not verified (no-evidence)")
	sign(audited, "--key", "stranger")
	judge(audited, "verified: ")
	judge(push("free", "1"), "verified: ")
	other := push("other", "1")
	sign(other)
	judge(other, "not verified (no-rule)")

	// The signature of one image at another, and one that was changed.
	envelope := envelopeOf(t, c, jws)
	moved, changed := push("app", "moved"), push("app", "changed")
	attach := func(ref string, b string) {
		t.Helper()
		write(t, "sig.jws", b)
		c.run(t, c.oras, "attach", "--plain-http", "--artifact-type", "application/vnd.cncf.notary.signature", ref, "sig.jws:application/jose+json")
	}
	attach(moved, envelope)
	judge(moved, "not verified (artifact-mismatch)")
	var parts map[string]any
	if err := json.Unmarshal([]byte(envelope), &parts); err != nil {
		t.Fatal(err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts["payload"].(string))
	if err != nil {
		t.Fatal(err)
	}
	parts["payload"] = base64.RawURLEncoding.EncodeToString([]byte(strings.ReplaceAll(string(payload), digestIn(jws), digestIn(changed))))
	forged, err := json.Marshal(parts)
	if err != nil {
		t.Fatal(err)
	}
	attach(changed, string(forged))
	judge(changed, "not verified (signature-invalid)")

	// Revoked.
	s.status.Store(ocsp.Unknown)
	judge(cose, "not verified (revocation-unknown)")
	s.status.Store(ocsp.Revoked)
	judge(cose, "not verified (certificate-revoked)")
	judge(jws, "not verified (certificate-revoked)")
}

// envelopeOf returns the signature envelope that refers to an image.
func envelopeOf(t *testing.T, c clients, ref string) string {
	t.Helper()
	name, digest, _ := strings.Cut(strings.TrimPrefix(ref, c.host+"/"), "@")
	get := func(path string, to any) []byte {
		t.Helper()
		a, err := do(t.Context(), http.MethodGet, "http://"+c.host+"/v2/"+name+"/"+path, nil, "")
		if err != nil || a.status != http.StatusOK {
			t.Fatalf("%s: %d %v", path, a.status, err)
		}
		if to != nil {
			if err := json.Unmarshal(a.body, to); err != nil {
				t.Fatal(err)
			}
		}
		return a.body
	}
	var list struct{ Manifests []struct{ Digest string } }
	get("referrers/"+digest, &list)
	if len(list.Manifests) != 1 {
		t.Fatalf("%d artifacts refer to it", len(list.Manifests))
	}
	var manifest struct{ Layers []struct{ Digest string } }
	get("manifests/"+list.Manifests[0].Digest, &manifest)
	return string(get("blobs/"+manifest.Layers[0].Digest, nil))
}

func digestIn(ref string) string {
	_, digest, _ := strings.Cut(ref, "@")
	return digest
}
