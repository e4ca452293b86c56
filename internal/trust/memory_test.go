// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"encoding/json"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"dossier.dev/dossier"
)

// TestRemembered judges an image again and again: it is verified once, until a key expires,
// and what is remembered is what is decided.
func TestRemembered(t *testing.T) {
	entity := newEntity(t, func(c *packet.Config) { c.KeyLifetimeSecs = 25 * 60 * 60 }) // an hour from noon
	policy, err := ParsePolicy([]byte("signers: {a: {key: a.asc}}\nimages: [{match: ['**'], signers: [a]}]\n"), fstest.MapFS{"a.asc": {Data: exported(t, entity)}})
	if err != nil {
		t.Fatal(err)
	}
	digest := dossier.FromBytes(artifact)
	ref, err := dossier.ParseReference("registry.example/a:1")
	if err != nil {
		t.Fatal(err)
	}
	evidence := []Evidence{{Form: FormPGP, Bytes: signMessage(t, entity, payloadOf(typeSimple, string(digest), "registry.example/a:1"), nil)}}
	var all sync.WaitGroup
	for _, at := range []time.Duration{0, time.Minute, 59 * time.Minute, time.Hour, 2 * time.Hour, 30 * time.Minute, -48 * time.Hour} {
		for range 20 { // pods
			all.Go(func() {
				got, want := policy.Judge(ref, digest, evidence, nil, noon.Add(at)), policy.Decide(ref, digest, evidence, nil, noon.Add(at))
				for i := range want.Trials {
					want.Trials[i].Checks = nil
				}
				a, _ := json.Marshal(got)
				b, _ := json.Marshal(want)
				if string(a) != string(b) {
					t.Errorf("after %s remembered is\n%s, decided\n%s", at, a, b)
				}
			})
		}
		all.Wait()
	}
	before := policy.judged.verified
	for range 1000 {
		policy.Judge(ref, digest, evidence, nil, noon.Add(-47*time.Hour)) // the time at which it was asked about last is as good
	}
	if policy.judged.verified != before {
		t.Errorf("verified %d times more", policy.judged.verified-before)
	}
	for i := range 3 * maxRemembered { // it does not grow
		policy.judged.keep([32]byte{byte(i), byte(i >> 8)}, remembered{})
	}
	if n := len(policy.judged.recent) + len(policy.judged.earlier); n > 2*maxRemembered {
		t.Errorf("%d decisions are remembered", n)
	}
}
