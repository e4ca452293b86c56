// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"dossier.dev/dossier"
)

// Keyring is the OpenPGP keys of a signer (RFC 9580): any of them signs.
type Keyring struct {
	keys []pgpKey // those that may sign and all others, so that it can be said why not
	ids  []string // what each primary key is counted by
}

// pgpKey is a primary key or a subkey. What the self-signatures say of it is found out
// once, when it is read: it does not change, and what was read is shared.
type pgpKey struct {
	public  *packet.PublicKey
	primary string    // "openpgp:" and the fingerprint of the primary key
	weak    string    // why it is too weak; empty: it is not
	revoked string    // why it is revoked, or is bound by nothing; empty: it is not
	signs   bool      // it is meant for signing data
	expires time.Time // zero: never
}

// maxKeys is how many keys a keyring may hold, with subkeys.
const maxKeys = 1000

// isKeyring reports whether a file holds OpenPGP keys: armored, or packets of the type
// of public keys.
func isKeyring(b []byte) bool {
	if bytes.Contains(b, []byte("-----BEGIN "+openpgp.PublicKeyType+"-----")) {
		return true
	}
	// A packet's first byte has the highest bit set, and its type in either of two forms.
	return len(b) > 0 && (b[0]&0xc0 == 0x80 && b[0]>>2&0x0f == 6 || b[0] == 0xc0|6)
}

// ParseKeyring reads OpenPGP public keys, armored or not. KindInvalid.
func ParseKeyring(b []byte) (*Keyring, error) {
	const op = "reading OpenPGP keys"
	list, err := readEntities(b)
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: err, Hint: "write them with gpg --export --armor KEY"}
	}
	k := &Keyring{}
	for _, e := range list {
		if e.PrivateKey != nil {
			return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: errors.New("it holds a private key"), Hint: "give the public key: gpg --export --armor KEY"}
		}
		k.add(e)
		if len(k.keys) > maxKeys {
			return nil, dossier.Errorf(dossier.KindLimit, op, "", fmt.Sprintf("it holds more than %d keys", maxKeys))
		}
	}
	return k, nil
}

// readEntities reads keys: packets, or any number of armored blocks one after another.
func readEntities(b []byte) (openpgp.EntityList, error) {
	begin := []byte("-----BEGIN PGP ")
	if !bytes.Contains(b, begin) {
		return some(openpgp.ReadKeyRing(bytes.NewReader(b)))
	}
	var list openpgp.EntityList
	for i, part := range bytes.Split(b, begin) {
		if i == 0 {
			continue // what stands before
		}
		block, err := armor.Decode(io.MultiReader(bytes.NewReader(begin), bytes.NewReader(part)))
		if err != nil {
			return nil, err
		}
		if block.Type != openpgp.PublicKeyType {
			return nil, fmt.Errorf("it holds a %q, and public keys are wanted", block.Type)
		}
		more, err := some(openpgp.ReadKeyRing(block.Body))
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
		if len(list) > maxKeys {
			break
		}
	}
	return list, nil
}

func some(list openpgp.EntityList, err error) (openpgp.EntityList, error) {
	if err == nil && len(list) == 0 {
		err = errors.New("it holds no key")
	}
	return list, err
}

// add takes a primary key with its subkeys. Times play no part in that: with the zero
// time the newest self-signature counts, as it does for gpg.
func (k *Keyring) add(e *openpgp.Entity) {
	own := pgpKey{public: e.PrimaryKey, primary: fmt.Sprintf("openpgp:%X", e.PrimaryKey.Fingerprint), weak: weakPGP(e.PrimaryKey)}
	self, err := e.PrimarySelfSignature(time.Time{}, nil)
	if err != nil {
		own.revoked = "none of its names is certified by itself, or all are revoked"
	} else {
		own.signs = self.FlagsValid && self.FlagSign
		own.expires = earliest(lifetime(e.PrimaryKey, self), selfEnd(self))
	}
	if direct, err := e.LatestValidDirectSignature(time.Time{}, nil); err == nil {
		own.expires = earliest(own.expires, lifetime(e.PrimaryKey, direct))
	}
	// Whoever revoked a key meant it, whatever reason was given: what it signed before cannot
	// be told from what was signed later with an earlier date.
	for _, r := range e.Revocations {
		if e.PrimaryKey.VerifyRevocationSignature(r.Packet) == nil {
			own.revoked = "it was revoked " + revocation(r.Packet)
		}
	}
	k.keys, k.ids = append(k.keys, own), append(k.ids, own.primary)
	for i := range e.Subkeys {
		k.keys = append(k.keys, subkey(&e.Subkeys[i], own))
	}
}

func subkey(s *openpgp.Subkey, primary pgpKey) pgpKey {
	sub := pgpKey{public: s.PublicKey, primary: primary.primary, weak: firstOf(weakPGP(s.PublicKey), primary.weak), revoked: primary.revoked}
	binding, err := s.LatestValidBindingSignature(time.Time{}, nil)
	if err != nil {
		sub.revoked = firstOf(sub.revoked, "its primary key does not say that it is its own")
	} else {
		sub.signs = binding.FlagsValid && binding.FlagSign
		sub.expires = earliest(primary.expires, earliest(lifetime(s.PublicKey, binding), selfEnd(binding)))
	}
	for _, r := range s.Revocations {
		if s.Primary.PrimaryKey.VerifySubkeyRevocationSignature(r.Packet, s.PublicKey) == nil {
			sub.revoked = firstOf(primary.revoked, "it was revoked "+revocation(r.Packet))
		}
	}
	return sub
}

// lifetime returns when a key ends by a self-signature.
func lifetime(key *packet.PublicKey, self *packet.Signature) time.Time {
	return after(key.CreationTime, self.KeyLifetimeSecs)
}

// selfEnd returns when the self-signature itself ends.
func selfEnd(self *packet.Signature) time.Time { return after(self.CreationTime, self.SigLifetimeSecs) }

func after(from time.Time, seconds *uint32) time.Time {
	if seconds == nil || *seconds == 0 {
		return time.Time{}
	}
	return from.Add(time.Duration(*seconds) * time.Second).UTC()
}

// earliest returns the earlier of two times; the zero time is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// revocation says when and why.
func revocation(s *packet.Signature) string {
	text := stamp(s.CreationTime)
	if why := strings.TrimSpace(s.RevocationReasonText); why != "" {
		text += " (" + strings.Join(strings.Fields(strings.ToValidUTF8(why[:min(len(why), 200)], "?")), " ") + ")"
	}
	return text
}

// weakPGP says why a key is too weak, or "".
func weakPGP(key *packet.PublicKey) string {
	bits, err := key.BitLength()
	switch key.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly, packet.PubKeyAlgoRSAEncryptOnly:
		if err != nil || bits < minRSA {
			return fmt.Sprintf("an RSA key of %d bits is too weak, at least %d are needed", bits, minRSA)
		}
	case packet.PubKeyAlgoECDSA:
		curve, err := key.Curve()
		if err != nil || curve == packet.CurveSecP256k1 {
			return fmt.Sprintf("its curve %q is not trusted", curve)
		}
		if public, ok := key.PublicKey.(*ecdsa.PublicKey); ok && public.Curve != nil && public.Curve.Params().BitSize < 256 {
			return "its curve is smaller than P-256"
		}
	case packet.PubKeyAlgoDSA, packet.PubKeyAlgoElGamal:
		return "keys for DSA and ElGamal are too weak"
	}
	return ""
}

// byIssuer returns the key that a signature names: by its fingerprint, or by its ID.
func (k *Keyring) byIssuer(s *packet.Signature) *pgpKey {
	for i := range k.keys {
		public := k.keys[i].public
		if len(s.IssuerFingerprint) > 0 {
			if bytes.Equal(public.Fingerprint, s.IssuerFingerprint) {
				return &k.keys[i]
			}
		} else if s.IssuerKeyId != nil && public.KeyId == *s.IssuerKeyId {
			return &k.keys[i]
		}
	}
	return nil
}
