// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"golang.org/x/crypto/ocsp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/trust"
)

// responder is an authority that answers by OCSP and with a list on the loopback.
type responder struct {
	testing.TB
	cert, leaf   *x509.Certificate
	key, leafKey *ecdsa.PrivateKey
	url          string

	mu     sync.Mutex
	status int           // of the leaf, by OCSP
	broken string        // what is wrong with OCSP; empty: nothing
	listed bool          // the leaf is on the list
	lasts  time.Duration // of an answer
	asked  map[string]int
}

func newResponder(t testing.TB) *responder {
	t.Helper()
	r := &responder{TB: t, asked: map[string]int{}, lasts: time.Hour}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.url = server.URL
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	r.key, r.leafKey = key(), key()
	certify := func(c, parent *x509.Certificate, k *ecdsa.PrivateKey) *x509.Certificate {
		c.NotBefore, c.NotAfter, c.BasicConstraintsValid = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour), true
		der, err := x509.CreateCertificate(rand.Reader, c, parent, k.Public(), r.key)
		if err != nil {
			t.Fatal(err)
		}
		out, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	r.cert = certify(root, root, r.key)
	r.leaf = certify(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{Country: []string{"US"}, Province: []string{"WA"}, Organization: []string{"shop"}},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		OCSPServer: []string{r.url + "/ocsp"}, CRLDistributionPoints: []string{r.url + "/crl"},
	}, r.cert, r.leafKey)
	return r
}

// ServeHTTP answers.
func (r *responder) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked[q.URL.Path]++
	switch q.URL.Path {
	case "/ocsp":
		body, _ := io.ReadAll(q.Body)
		about, err := ocsp.ParseRequest(body)
		if err != nil || q.Method != http.MethodPost || about.SerialNumber.Cmp(r.leaf.SerialNumber) != 0 {
			r.Errorf("%s %q: %+v, %v", q.Method, body, about, err)
		}
		switch r.broken {
		case "down":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "large":
			_, _ = w.Write(make([]byte, maxResponse+1))
		case "noise":
			_, _ = w.Write([]byte("noise"))
		case "later":
			_, _ = w.Write(ocsp.TryLaterErrorResponse)
		case "elsewhere":
			http.Redirect(w, q, "/ocsp", http.StatusTemporaryRedirect)
		default:
			b, err := ocsp.CreateResponse(r.cert, r.cert, ocsp.Response{Status: r.status, SerialNumber: about.SerialNumber, ThisUpdate: time.Now(), NextUpdate: time.Now().Add(r.lasts), RevokedAt: time.Now()}, r.key)
			if err != nil {
				r.Error(err)
			}
			_, _ = w.Write(b)
		}
	case "/crl":
		l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(r.lasts)}
		if r.listed {
			l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: r.leaf.SerialNumber, RevocationTime: time.Now()}}
		}
		b, err := x509.CreateRevocationList(rand.Reader, l, r.cert, r.key)
		if err != nil {
			r.Error(err)
		}
		_, _ = w.Write(b)
	}
}

// sign signs a digest as notation does.
func (r *responder) sign(digest dossier.Digest) trust.Evidence {
	r.Helper()
	signer, err := signature.NewLocalSigner([]*x509.Certificate{r.leaf, r.cert}, r.leafKey)
	if err != nil {
		r.Fatal(err)
	}
	b, err := jws.NewEnvelope().Sign(&signature.SignRequest{
		Payload: signature.Payload{ContentType: "application/vnd.cncf.notary.payload.v1+json",
			Content: fmt.Appendf(nil, `{"targetArtifact":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":1}}`, digest)},
		Signer: signer, SigningTime: time.Now(), SigningScheme: signature.SigningSchemeX509, SigningAgent: "test",
	})
	if err != nil {
		r.Fatal(err)
	}
	return trust.Evidence{Form: trust.FormJWS, Bytes: b}
}

// TestRevocationAsked asks a responder and a list, and judges by what they say.
func TestRevocationAsked(t *testing.T) {
	r := newResponder(t)
	ref, err := dossier.ParseReference("registry.example/app:1")
	if err != nil {
		t.Fatal(err)
	}
	digest := dossier.FromBytes([]byte("image"))
	signed := r.sign(digest)
	policyOf := func(level string) *trust.Policy {
		p, err := trust.ParsePolicy([]byte("notation: {config: n, revocation: online}\n"), fstest.MapFS{
			"n/truststore/x509/ca/shop/root.crt": {Data: r.cert.Raw},
			"n/trustpolicy.json":                 {Data: fmt.Appendf(nil, `{"version":"1.0","trustPolicies":[{"name":"all","registryScopes":["*"],"signatureVerification":{"level":%q},"trustStores":["ca:shop"],"trustedIdentities":["*"]}]}`, level)},
		})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	strict, permissive := policyOf("strict"), policyOf("permissive")
	for _, tt := range []struct {
		name   string
		status int
		broken string
		listed bool
		want   trust.Code
		says   string
		asked  string // how often OCSP and the list were
	}{
		{"good", ocsp.Good, "", true, "", "", "1 0"},
		{"revoked", ocsp.Revoked, "", false, trust.CodeCertificateRevoked, "was revoked", "1 0"},
		{"unknown, not listed", ocsp.Unknown, "", false, "", "", "1 1"},
		{"unknown, listed", ocsp.Unknown, "", true, trust.CodeCertificateRevoked, "was revoked", "1 1"},
		{"down, not listed", 0, "down", false, "", "", "1 1"},
		{"down, listed", 0, "down", true, trust.CodeCertificateRevoked, "was revoked", "1 1"},
		{"too large", 0, "large", true, trust.CodeCertificateRevoked, "was revoked", "1 1"},
		{"noise", 0, "noise", true, trust.CodeCertificateRevoked, "was revoked", "1 1"},
		{"try later", 0, "later", true, trust.CodeCertificateRevoked, "was revoked", "1 1"},
		{"sent in circles", 0, "elsewhere", true, trust.CodeCertificateRevoked, "was revoked", "3 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r.mu.Lock()
			r.status, r.broken, r.listed, r.asked = tt.status, tt.broken, tt.listed, map[string]int{}
			r.mu.Unlock()
			asking := newRevocations(time.Now)
			d := asking.judging(t.Context(), strict.Decide)(ref, digest, []trust.Evidence{signed}, nil, time.Now())
			if d.Code != tt.want || d.Verified != (tt.want == "") || !strings.Contains(d.Reason, tt.says) {
				t.Errorf("%q: %s", d.Code, d.Reason)
			}
			if got := fmt.Sprint(r.asked["/ocsp"], r.asked["/crl"]); got != tt.asked {
				t.Errorf("asked %s times, want %s", got, tt.asked)
			}
			if len(d.Evidence) < 2 {
				t.Errorf("what was answered is no evidence: %v", d.Evidence)
			}
			if d := asking.judging(t.Context(), permissive.Decide)(ref, digest, []trust.Evidence{signed}, nil, time.Now()); !d.Verified {
				t.Errorf("permissive: %s", d.Reason)
			}
		})
	}

	t.Run("nobody answers", func(t *testing.T) {
		r.mu.Lock()
		r.broken = "down"
		r.mu.Unlock()
		closed := newRevocations(time.Now)
		closed.client.Transport = http.NewFileTransport(http.Dir(t.TempDir()))
		d := closed.judging(t.Context(), strict.Decide)(ref, digest, []trust.Evidence{signed}, nil, time.Now())
		if d.Code != trust.CodeRevocationUnavailable || !strings.Contains(d.Reason, r.url+"/ocsp it answered 404") || !strings.Contains(d.Reason, r.url+"/crl it answered 404") {
			t.Errorf("%q: %s", d.Code, d.Reason)
		}
	})

	t.Run("remembered", func(t *testing.T) {
		r.mu.Lock()
		r.status, r.broken, r.asked = ocsp.Good, "", map[string]int{}
		r.mu.Unlock()
		now := time.Now()
		asking := newRevocations(func() time.Time { return now })
		for range 3 {
			if d := asking.judging(t.Context(), strict.Decide)(ref, digest, []trust.Evidence{signed}, nil, now); !d.Verified {
				t.Error(d.Reason)
			}
		}
		if r.asked["/ocsp"] != 1 {
			t.Errorf("asked %d times", r.asked["/ocsp"])
		}
		now = now.Add(2 * time.Hour)
		r.mu.Lock()
		r.lasts = 3 * time.Hour
		r.mu.Unlock()
		if d := asking.judging(t.Context(), strict.Decide)(ref, digest, []trust.Evidence{signed}, nil, now); !d.Verified || r.asked["/ocsp"] != 2 {
			t.Errorf("asked %d times: %s", r.asked["/ocsp"], d.Reason)
		}
	})
}
