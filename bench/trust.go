// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/bench/measure"
	"dossier.dev/dossier/internal/trust"
)

// What verifying may take: of one image whose bundle is at hand, and of many beside the
// operations with keys alone.
const (
	trustOne    = time.Millisecond
	trustRatio  = 3
	trustImages = 500
	trustKeys   = 3
)

var errNotVerified = errors.New("an image that is signed does not verify")

// signedImage is an image and what is signed about it.
type signedImage struct {
	digest   dossier.Digest
	evidence []trust.Evidence
}

// measureTrust verifies images in this process whose bundles are in memory: one by one key,
// and 500 by three keys each, beside the 1500 verifications of signatures alone.
func measureTrust(_ context.Context, _ *lab, r *report) error {
	terms := trust.Terms{Need: trustKeys}
	var keys []*trust.PrivateKey
	for i := range trustKeys {
		private, _, err := trust.GenerateKey(nil)
		if err != nil {
			return err
		}
		key, err := trust.ParsePrivateKey(private, nil)
		if err != nil {
			return err
		}
		keys = append(keys, key)
		terms.Signers = append(terms.Signers, trust.Signer{Name: fmt.Sprint("key ", i), Key: &key.Public})
	}
	images := make([]signedImage, trustImages)
	for i := range images {
		images[i].digest = dossier.FromBytes(fmt.Append(nil, i))
		for _, k := range keys {
			bundle, err := k.SignStatement(trust.ImageStatement(images[i].digest))
			if err != nil {
				return err
			}
			images[i].evidence = append(images[i].evidence, trust.Evidence{Form: trust.FormBundle, Bytes: bundle})
		}
	}
	one := trust.Terms{Signers: terms.Signers[:1]}
	quickest, err := leastTime(20, func() error { return verifyAll(images[:1], one) })
	if err != nil {
		return err
	}
	r.within("one image, one key, the bundle at hand", quickest, trustOne)

	alone, ours := time.Duration(0), time.Duration(0)
	for n := range 5 { // in turn: what the machine does besides falls on both
		operations, err := leastTime(1, verifyKeys)
		if err != nil {
			return err
		}
		whole, err := leastTime(1, func() error { return verifyAll(images, terms) })
		if err != nil {
			return err
		}
		if n == 0 || operations < alone {
			alone = operations
		}
		if n == 0 || whole < ours {
			ours = whole
		}
	}
	r.note("500 images by three keys", "%s of a processor; the operations with keys alone %s", ours.Round(time.Millisecond/10), alone.Round(time.Millisecond/10))
	r.atMost("ratio of the two", ours.Seconds()/alone.Seconds(), trustRatio)
	return nil
}

// leastTime returns the least time of the processor that f takes: what else the machine does
// is not counted.
func leastTime(n int, f func() error) (time.Duration, error) {
	var least time.Duration
	for i := range n {
		before, err := measure.CPUTime(0) // of this process
		if err != nil {
			return 0, err
		}
		if err := f(); err != nil {
			return 0, err
		}
		after, err := measure.CPUTime(0)
		if err != nil {
			return 0, err
		}
		if took := after - before; i == 0 || took < least {
			least = took
		}
	}
	return least, nil
}

func verifyAll(images []signedImage, terms trust.Terms) error {
	at := time.Now()
	for _, i := range images {
		if !trust.Decide(trust.Question{Digest: i.digest, Predicate: trust.SignatureOnly}, terms, i.evidence[:len(terms.Signers)], at).Verified {
			return errNotVerified
		}
	}
	return nil
}

// verifyKeys verifies as many signatures as the images have.
func verifyKeys() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	digest := sha256.Sum256([]byte("a statement"))
	sig, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		return err
	}
	for range trustImages * trustKeys {
		if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], sig) {
			return errNotVerified
		}
	}
	return nil
}
