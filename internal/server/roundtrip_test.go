// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/testimage"
	"dossier.dev/dossier/internal/trust"
)

// rounds lets the requests for several artifacts through when all are there: who asks for
// one after the other waits for ever, and is refused.
type rounds struct {
	several int
	off     bool // while what is read is pushed

	mu      sync.Mutex
	waiting map[string]chan struct{} // by what they have in common
	count   map[string]int
	asked   []string
	listed  bool // it lists referrers
}

// serve counts a request, and answers it by next.
func (r *rounds) serve(next http.Handler, w http.ResponseWriter, req *http.Request) {
	if r.off || req.URL.Path == "/v2/" {
		next.ServeHTTP(w, req)
		return
	}
	if !r.listed && strings.Contains(req.URL.Path, "/referrers/") {
		r.note(req.Method + " referrers")
		http.NotFound(w, req)
		return
	}
	round := req.Method + " " + req.URL.Path
	for _, of := range []string{"/manifests/sha256:", "/blobs/sha256:"} {
		if strings.Contains(req.URL.Path, of) {
			round = req.Method + of
		}
	}
	if r.several > 1 && strings.HasSuffix(round, "sha256:") {
		r.mu.Lock()
		if r.waiting[round] == nil {
			r.waiting[round] = make(chan struct{})
			r.asked = append(r.asked, round)
		}
		ready := r.waiting[round]
		if r.count[round]++; r.count[round] == r.several {
			close(ready)
		}
		r.mu.Unlock()
		select {
		case <-ready:
		case <-req.Context().Done():
			return
		}
	} else {
		r.note(round)
	}
	next.ServeHTTP(w, req)
}

func (r *rounds) note(round string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, round)
}

// TestRoundTrips counts how often one request waits for the answer to another when a
// signed image is verified that was never seen: four times after the registry said how it
// wants to be asked, five where it does not list referrers.
func TestRoundTrips(t *testing.T) {
	for _, tt := range []struct {
		listed  bool
		signers int
		most    int
	}{{true, 1, 4}, {true, 3, 4}, {false, 1, 5}, {false, 3, 5}} {
		t.Run(fmt.Sprintf("listed %v, %d signers", tt.listed, tt.signers), func(t *testing.T) {
			r := &rounds{several: tt.signers, off: true, listed: tt.listed, waiting: map[string]chan struct{}{}, count: map[string]int{}}
			registry := testimage.NewRegistry(t, testimage.RegistryOptions{Intercept: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { r.serve(next, w, req) })
			}})
			built := testimage.MustPush(t, registry, "shop/api", "1", testimage.Image{Layers: []testimage.Layer{{Files: map[string]testimage.File{"a": testimage.Text("a")}}}})
			var signers []trust.Signer
			attach := func(name string) {
				t.Helper()
				private, _, err := trust.GenerateKey(nil)
				if err != nil {
					t.Fatal(err)
				}
				key, err := trust.ParsePrivateKey(private, nil)
				if err != nil {
					t.Fatal(err)
				}
				signers = append(signers, trust.Signer{Name: name, Key: &key.Public})
				bundle, err := key.SignStatement(trust.ImageStatement(built.Digest()))
				if err != nil {
					t.Fatal(err)
				}
				repository, err := (&image.Client{}).Repository(registry.Host, "shop/api")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := repository.Attach(t.Context(), image.Attachment{
					Subject: image.Descriptor{MediaType: built.Root.MediaType, Digest: built.Digest(), Size: built.Root.Size}, Type: trust.BundleType, Document: bundle,
				}); err != nil {
					t.Fatal(err)
				}
			}
			r.off = tt.listed // else what stands in for the list is made
			several := r.several
			r.several = 1
			for i := range tt.signers {
				attach(fmt.Sprint("signer ", i))
			}
			r.off, r.several, r.asked = false, several, nil

			e, err := Open(t.Context(), Config{Data: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			policy := trust.Terms{Signers: signers, Need: tt.signers}
			d, err := e.VerifyImage(t.Context(), registry.Host+"/shop/api:1", Verification{Judge: decideBy(policy)})
			if err != nil || !d.Verified {
				t.Fatalf("%v %s", err, d.Reason)
			}
			if len(r.asked) > tt.most {
				t.Errorf("%d round trips, at most %d are allowed:\n%s", len(r.asked), tt.most, strings.Join(r.asked, "\n"))
			}
		})
	}
}

// decideBy judges by terms.
func decideBy(terms trust.Terms) Judgement {
	return func(_ dossier.Reference, digest dossier.Digest, evidence []trust.Evidence, _ *dossier.SignerPin, at time.Time) trust.Decision {
		return trust.Decide(trust.Question{Digest: digest, Predicate: trust.SignatureOnly}, terms, evidence, at)
	}
}
