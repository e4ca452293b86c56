// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore/sqltest"
	"dossier.dev/dossier/internal/testimage"
	"dossier.dev/dossier/internal/trust"
)

// replicas are engines on one store.
func replicas(t *testing.T, n int) []*Engine {
	t.Helper()
	dir := sqltest.Dir(t)
	out := make([]*Engine, n)
	for i := range out {
		e, err := Open(t.Context(), Config{Data: dir})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
		out[i] = e
	}
	return out
}

func somePin(signer string) dossier.SignerPin {
	return dossier.SignerPin{Scope: "registry.example/shop/api", Signer: signer, Image: dossier.FromBytes([]byte(signer)), At: dossier.Instant(time.Now()), Trust: dossier.FromBytes(nil)}
}

// pinFacts returns the kinds of the facts about who signs in a repository, the first first.
func pinFacts(t *testing.T, e *Engine, scope string) (kinds []dossier.FactKind) {
	t.Helper()
	err := e.store.View(t.Context(), func(r store.Reader) error {
		kinds = nil
		for f, err := range r.Chain(t.Context(), dossier.ScopeSubject(scope)) {
			if err != nil {
				return err
			}
			kinds = append(kinds, f.Kind)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return kinds
}

// TestPinRace lets replicas see one signer each at the same time: one is pinned, all judge by
// it, and one fact says so.
func TestPinRace(t *testing.T) {
	engines := replicas(t, 2)
	const each = 4
	kept := make([]dossier.SignerPin, each*len(engines))
	var all sync.WaitGroup
	for i := range kept {
		all.Go(func() {
			var err error
			if kept[i], err = engines[i%len(engines)].pinSigner(t.Context(), somePin(string(rune('a'+i)))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, k := range kept {
		if k != kept[0] {
			t.Errorf("%s and %s count", k.Signer, kept[0].Signer)
		}
	}
	if facts := pinFacts(t, engines[0], kept[0].Scope); len(facts) != 1 {
		t.Errorf("the facts are %v", facts)
	}
}

// TestPinOutlastsItsRow takes the row away, as whoever writes to the database could: the fact
// counts, and nobody else becomes the first.
func TestPinOutlastsItsRow(t *testing.T) {
	e := replicas(t, 1)[0]
	first := somePin("a")
	if kept, err := e.pinSigner(t.Context(), first); err != nil || kept != first {
		t.Fatal(kept, err)
	}
	if err := e.store.Update(t.Context(), func(tx store.Tx) error {
		_, err := tx.UnpinSigner(t.Context(), first.Scope)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	ref := dossier.Reference{Registry: "registry.example", Repository: "shop/api"}
	if pin, err := e.pinnedFor(t.Context(), ref); err != nil || pin == nil || *pin != first {
		t.Errorf("pinned is %+v, %v", pin, err)
	}
	if kept, err := e.pinSigner(t.Context(), somePin("b")); err != nil || kept != first {
		t.Errorf("%+v counts, %v", kept, err)
	}
	if pins, err := e.SignerPins(t.Context()); err != nil || len(pins) != 1 || pins[0] != first {
		t.Errorf("listed are %+v, %v", pins, err)
	}
}

// TestUnpin takes a pin back for a reason that is recorded, and pins anew.
func TestUnpin(t *testing.T) {
	e := replicas(t, 1)[0]
	first, second := somePin("a"), somePin("b")
	if _, err := e.UnpinSigner(t.Context(), first.Scope, "x"); dossier.KindOf(err) != dossier.KindNotFound {
		t.Errorf("nobody is pinned: %v", err)
	}
	if _, err := e.pinSigner(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if _, err := e.UnpinSigner(t.Context(), first.Scope, ""); dossier.KindOf(err) != dossier.KindInvalid {
		t.Errorf("without a reason: %v", err)
	}
	if was, err := e.UnpinSigner(t.Context(), first.Scope, "a new key"); err != nil || was != first {
		t.Errorf("unpinned is %+v, %v", was, err)
	}
	if kept, err := e.pinSigner(t.Context(), second); err != nil || kept != second {
		t.Errorf("%+v counts, %v", kept, err)
	}
	want := []dossier.FactKind{dossier.FactPin, dossier.FactRetraction, dossier.FactPin}
	got := pinFacts(t, e, first.Scope)
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("the facts are %v, want %v", got, want)
	}
}

// TestVerifyIsJudgedAgain lets another pin between the look at the pin and the decision: what
// is told is judged by the pin that counts.
func TestVerifyIsJudgedAgain(t *testing.T) {
	engines := replicas(t, 2)
	registry := testimage.NewRegistry(t, testimage.RegistryOptions{})
	testimage.MustPush(t, registry, "shop/api", "1", testimage.Image{Layers: []testimage.Layer{{Files: map[string]testimage.File{"a": testimage.Text("a")}}}})
	mine, other := somePin("mine"), somePin("other")
	mine.Scope, other.Scope = registry.Host+"/shop/api", registry.Host+"/shop/api"
	var seen []string
	judge := func(_ dossier.Reference, _ dossier.Digest, _ []trust.Evidence, pin *dossier.SignerPin, _ time.Time) trust.Decision {
		if pin != nil {
			seen = append(seen, pin.Signer)
			return trust.Decision{Code: trust.CodeOtherSigner, Pin: &trust.Pin{SignerPin: *pin}}
		}
		if _, err := engines[1].pinSigner(t.Context(), other); err != nil {
			t.Error(err)
		}
		return trust.Decision{Verified: true, Pin: &trust.Pin{SignerPin: mine, Made: true}}
	}
	d, err := engines[0].VerifyImage(t.Context(), registry.Host+"/shop/api:1", Verification{Judge: judge})
	if err != nil || d.Verified || d.Pin == nil || d.Pin.Signer != "other" || len(seen) == 0 {
		t.Errorf("decided is %+v, %v", d, err)
	}
}

// TestPinOfACopy: who signs an image in one repository is pinned there, and not in another
// that has the same image: it may be a copy.
func TestPinOfACopy(t *testing.T) {
	e := replicas(t, 1)[0]
	digest := dossier.FromBytes([]byte("an image"))
	owner, other := newSigner(t), newSigner(t)
	var ring bytes.Buffer
	for _, k := range []*openpgp.Entity{owner, other} {
		if err := k.Serialize(&ring); err != nil {
			t.Fatal(err)
		}
	}
	policy, err := trust.ParsePolicy([]byte(`
signers: {all: {key: all, firstUse: pin}}
images: [{match: ["registry.example/**"], signers: [all], signedIdentity: {type: exactRepository, repository: registry.example/shop/api}}]
`), fstest.MapFS{"all": {Data: ring.Bytes()}})
	if err != nil {
		t.Fatal(err)
	}
	e.Trusted.Set(policy, time.Now())
	const mine, copied = "registry.example/shop/api", "registry.example/copies/api"
	read := func(name string, by *openpgp.Entity) {
		t.Helper()
		if err := e.store.Update(t.Context(), func(tx store.Tx) error {
			for _, n := range []string{mine, copied} {
				if _, err := tx.PutName(t.Context(), digest, n, time.Now()); err != nil {
					return err
				}
			}
			return e.pinFirst(t.Context(), tx, name+":1", digest, []trust.Evidence{simplySigned(t, by, digest)})
		}); err != nil {
			t.Fatal(err)
		}
	}
	pinned := func() map[string]string {
		t.Helper()
		pins, err := e.SignerPins(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, p := range pins {
			out[p.Scope] = p.Signer
		}
		return out
	}
	name := func(k *openpgp.Entity) string { return fmt.Sprintf("openpgp:%X", k.PrimaryKey.Fingerprint) }
	read(copied, other)
	if got := pinned(); len(got) != 1 || got[copied] != name(other) {
		t.Fatalf("pinned are %v", got)
	}
	read(mine, owner)
	read(mine, other)
	if got := pinned(); len(got) != 2 || got[mine] != name(owner) || got[copied] != name(other) {
		t.Errorf("pinned are %v", got)
	}
}

func newSigner(t *testing.T) *openpgp.Entity {
	t.Helper()
	e, err := openpgp.NewEntity("somebody", "", "a@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// simplySigned signs an image of registry.example/shop/api as skopeo does.
func simplySigned(t *testing.T, e *openpgp.Entity, digest dossier.Digest) trust.Evidence {
	t.Helper()
	var message bytes.Buffer
	w, err := openpgp.Sign(&message, []*openpgp.Entity{e}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(w, `{"critical":{"identity":{"docker-reference":"registry.example/shop/api:1"},"image":{"docker-manifest-digest":%q},"type":"atomic container signature"},"optional":{}}`, digest); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return trust.Evidence{Form: trust.FormPGP, Bytes: message.Bytes()}
}
