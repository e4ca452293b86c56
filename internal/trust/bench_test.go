// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"fmt"
	"testing"

	"dossier.dev/dossier"
)

// signedImages are images signed by three keys each, the terms that want all three, and
// how many bundles there are.
func signedImages(b *testing.B, n int) ([]dossier.Digest, [][]Evidence, Terms) {
	b.Helper()
	terms := Terms{Need: 3}
	var keys []*PrivateKey
	for i := range 3 {
		k := newKey(b)
		s := signerOf(b, fmt.Sprint("key ", i), k)
		terms.Signers = append(terms.Signers, s)
		keys = append(keys, &PrivateKey{k, *s.Key})
	}
	var digests []dossier.Digest
	var evidence [][]Evidence
	for i := range n {
		d := dossier.FromBytes(fmt.Append(nil, i))
		var list []Evidence
		for _, k := range keys {
			bundle, err := k.SignStatement(ImageStatement(d))
			if err != nil {
				b.Fatal(err)
			}
			list = append(list, Evidence{Form: FormBundle, Bytes: bundle})
		}
		digests, evidence = append(digests, d), append(evidence, list)
	}
	return digests, evidence, terms
}

// BenchmarkDecide verifies one image that is signed by one key, its bundle in memory.
func BenchmarkDecide(b *testing.B) {
	digests, evidence, terms := signedImages(b, 1)
	terms.Need, terms.Signers = 1, terms.Signers[:1]
	for b.Loop() {
		if !Decide(Question{Digest: digests[0]}, terms, evidence[0][:1], noon).Verified {
			b.Fatal("not verified")
		}
	}
}

// BenchmarkDecideMany verifies 500 images with 3 signatures each.
func BenchmarkDecideMany(b *testing.B) {
	digests, evidence, terms := signedImages(b, 500)
	for b.Loop() {
		for i, d := range digests {
			if !Decide(Question{Digest: d}, terms, evidence[i], noon).Verified {
				b.Fatal("not verified")
			}
		}
	}
}

// BenchmarkKeyOperations is what BenchmarkDecideMany costs at the least: 1500 times a
// signature by the key that made it.
func BenchmarkKeyOperations(b *testing.B) {
	k := newKey(b)
	digest := sha256.Sum256(artifact)
	sig := seal(b, k, artifact)
	for b.Loop() {
		for range 1500 {
			if !ecdsa.VerifyASN1(&k.PublicKey, digest[:], sig) {
				b.Fatal("not verified")
			}
		}
	}
}
