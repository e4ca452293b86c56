// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/answer"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/record"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/testimage"
	"dossier.dev/dossier/internal/trust"
)

// firstOf is a policy by which any of the keys is pinned that signs first in a repository, and
// which takes signatures for registry.example/shop/api wherever the image lies.
func firstOf(t *testing.T, keys ...*openpgp.Entity) *trust.Policy {
	t.Helper()
	var ring bytes.Buffer
	for _, k := range keys {
		if err := k.Serialize(&ring); err != nil {
			t.Fatal(err)
		}
	}
	policy, err := trust.ParsePolicy([]byte(`
signers: {team: {key: team, firstUse: pin}}
images: [{match: ["registry.example/**"], signers: [team], signedIdentity: {type: exactRepository, repository: registry.example/shop/api}}]
`), fstest.MapFS{"team": {Data: ring.Bytes()}})
	if err != nil {
		t.Fatal(err)
	}
	return policy
}

func signerName(k *openpgp.Entity) string {
	return fmt.Sprintf("openpgp:%X", k.PrimaryKey.Fingerprint)
}

// TestPinInOtherRepository has an image in two repositories of which others are pinned: who
// signs for one does not sign for the other, whichever was seen first.
func TestPinInOtherRepository(t *testing.T) {
	const shop, other = "registry.example/shop/api", "registry.example/mallory/api"
	owner, mallory := newSigner(t), newSigner(t)
	for _, tt := range []struct {
		name   string
		found  []string // the first found first
		pins   map[string]*openpgp.Entity
		by     *openpgp.Entity
		signed bool
		says   []string // in values of the detail
	}{
		{"signed for another, found there first", []string{other, shop}, map[string]*openpgp.Entity{shop: owner, other: mallory}, mallory, false, []string{"in " + shop + ": not verified (pinned-otherwise)", "in " + other + ": signed by"}},
		{"signed for another, found there last", []string{shop, other}, map[string]*openpgp.Entity{shop: owner, other: mallory}, mallory, false, []string{"in " + shop + ": not verified (pinned-otherwise)"}},
		{"nobody is pinned where it was found first", []string{other, shop}, map[string]*openpgp.Entity{shop: owner}, owner, false, []string{"in " + other + ": not verified (not-pinned)", "in " + shop + ": signed by"}},
		{"pinned in both", []string{other, shop}, map[string]*openpgp.Entity{shop: owner, other: owner}, owner, true, []string{"team"}},
		{"no rule is for the other", []string{"else.example/api", shop}, map[string]*openpgp.Entity{shop: owner}, owner, true, []string{"team"}},
		{"in one", []string{shop}, map[string]*openpgp.Entity{shop: owner}, mallory, false, []string{"not verified (pinned-otherwise)"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := replicas(t, 1)[0]
			e.Trusted.Set(firstOf(t, owner, mallory), time.Now())
			for scope, k := range tt.pins {
				p := somePin(signerName(k))
				p.Scope = scope
				if _, err := e.pinSigner(t.Context(), p); err != nil {
					t.Fatal(err)
				}
			}
			node, err := image.ParseManifest(image.Descriptor{}, []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"`+string(dossier.FromBytes(nil))+`","size":0},"layers":[]}`))
			if err != nil {
				t.Fatal(err)
			}
			evidence := simplySigned(t, tt.by, node.Digest)
			body, err := json.Marshal(evidence)
			if err != nil {
				t.Fatal(err)
			}
			if err := e.store.Update(t.Context(), func(tx store.Tx) error {
				if _, err := record.Node(t.Context(), tx, node, []image.Node{node}); err != nil {
					return err
				}
				for i, name := range tt.found {
					if err := record.Name(t.Context(), tx, node.Digest, name, dossier.Instant(time.Now().Add(time.Duration(i-10)*time.Minute))); err != nil {
						return err
					}
				}
				return record.Signature(t.Context(), tx, node.Digest, evidence.Digest(), body)
			}); err != nil {
				t.Fatal(err)
			}
			found, err := e.GatherWith(t.Context(), node.Digest, dossier.Times{}, func(store.Reader, answer.Evidence) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			policy, _, _ := e.Trusted.Policy()
			values := answer.Dossier(found, answer.Policy{Trust: policy}).Answers.Origin.Details["signer"]
			signed, all := false, ""
			for _, v := range values {
				signed = signed || v.Grade == dossier.GradeSigned
				all += fmt.Sprintln(v.Value)
			}
			if signed != tt.signed {
				t.Errorf("signed: %v, want %v: %s", signed, tt.signed, all)
			}
			for _, want := range tt.says {
				if !strings.Contains(all, want) {
					t.Errorf("%q is not said in %q", want, all)
				}
			}
		})
	}
}

// TestUnpinnedStaysUnpinned reads the old signature again after the pin was taken back: that
// pins nobody, nor does the signature of another that nobody asked about.
func TestUnpinnedStaysUnpinned(t *testing.T) {
	e := replicas(t, 1)[0]
	first, second := newSigner(t), newSigner(t)
	e.Trusted.Set(firstOf(t, first, second), time.Now())
	const scope = "registry.example/shop/api"
	digest := dossier.FromBytes([]byte("an image"))
	read := func(by *openpgp.Entity) {
		t.Helper()
		if err := e.store.Update(t.Context(), func(tx store.Tx) error {
			return e.pinFirst(t.Context(), tx, scope+":1", digest, []trust.Evidence{simplySigned(t, by, digest)})
		}); err != nil {
			t.Fatal(err)
		}
	}
	read(first)
	if was, err := e.UnpinSigner(t.Context(), scope, "the key was stolen"); err != nil || was.Signer != signerName(first) {
		t.Fatal(was, err)
	}
	for _, k := range []*openpgp.Entity{first, second} {
		read(k)
		if pins, err := e.SignerPins(t.Context()); err != nil || len(pins) != 0 {
			t.Errorf("pinned again are %+v, %v", pins, err)
		}
	}
}

// TestVerifyPinsAgain lets whoever verifies pin another after a pin was taken back, and that
// signer only when it is asked for.
func TestVerifyPinsAgain(t *testing.T) {
	e := replicas(t, 1)[0]
	registry := testimage.NewRegistry(t, testimage.RegistryOptions{})
	testimage.MustPush(t, registry, "shop/api", "1", testimage.Image{Layers: []testimage.Layer{{Files: map[string]testimage.File{"a": testimage.Text("a")}}}})
	first, second := newSigner(t), newSigner(t)
	policy := firstOf(t, first, second)
	scoped, err := dossier.ParseReference("registry.example/shop/api:1")
	if err != nil {
		t.Fatal(err)
	}
	verify := func(by *openpgp.Entity, again bool) trust.Decision {
		t.Helper()
		judge := func(_ dossier.Reference, digest dossier.Digest, _ []trust.Evidence, pin *dossier.SignerPin, at time.Time) trust.Decision {
			return policy.Decide(scoped, digest, []trust.Evidence{simplySigned(t, by, digest)}, pin, at)
		}
		d, err := e.VerifyImage(t.Context(), registry.Host+"/shop/api:1", Verification{Judge: judge, PinAgain: again})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	unpin := func(k *openpgp.Entity) {
		t.Helper()
		if was, err := e.UnpinSigner(t.Context(), trust.Scope(scoped), "a new key"); err != nil || was.Signer != signerName(k) {
			t.Fatal(was, err)
		}
	}
	if d := verify(first, false); !d.Verified || d.Pin == nil || !d.Pin.Made {
		t.Fatalf("the first: %+v", d)
	}
	unpin(first)
	if d := verify(first, false); d.Verified || d.Code != trust.CodeNotPinned || d.Pin != nil || len(d.Counted) != 0 || !strings.Contains(d.Reason, "--pin-again") {
		t.Errorf("who was unpinned: %+v", d)
	}
	if d := verify(second, false); !d.Verified || d.Pin == nil || !d.Pin.Made {
		t.Errorf("another: %+v", d)
	}
	unpin(second)
	if d := verify(first, true); !d.Verified || d.Pin == nil || !d.Pin.Made || d.Pin.Signer != signerName(first) {
		t.Errorf("again: %+v", d)
	}
}

// TestPinOfARowAlone puts a row into the database that no fact speaks of, as whoever writes
// to it could: it decides nothing.
func TestPinOfARowAlone(t *testing.T) {
	e := replicas(t, 1)[0]
	honest, forged := somePin("honest"), somePin("forged")
	if err := e.store.Update(t.Context(), func(tx store.Tx) error { return tx.PutSignerPin(t.Context(), forged) }); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if kept, err := e.pinSigner(t.Context(), honest); err != nil || kept != honest {
			t.Errorf("%+v counts, %v", kept, err)
		}
	}
	if facts := pinFacts(t, e, honest.Scope); len(facts) != 1 || facts[0] != dossier.FactPin {
		t.Errorf("the facts are %v", facts)
	}
	if pins, err := e.SignerPins(t.Context()); err != nil || len(pins) != 1 || pins[0] != honest {
		t.Errorf("listed are %+v, %v", pins, err)
	}
}
