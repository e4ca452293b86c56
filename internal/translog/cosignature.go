// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package translog

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"dossier.dev/dossier"
)

// What this file holds are the signatures of witnesses, who say that they saw no other history of
// a log (C2SP tlog-cosignature, "cosignature/v1" with Ed25519).

// cosignatureType is the byte before the key of a witness (C2SP signed-note, "Signature types").
const cosignatureType = 4

// cosignatureSize is that of a time in seconds and a signature.
const cosignatureSize = 8 + ed25519.SignatureSize

// cosigned is what a witness signs of a checkpoint.
func cosigned(text []byte, at uint64) []byte {
	return fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at, text)
}

func cosignatureKeyHash(name string, key ed25519.PublicKey) uint32 {
	sum := sha256.Sum256(append([]byte(name+"\n"), append([]byte{cosignatureType}, key...)...))
	return binary.BigEndian.Uint32(sum[:])
}

// Witness is the key of a witness. It implements note.Verifier.
type Witness struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

// ParseWitness reads the verifier key of a witness, NAME+HASH+KEY as C2SP signed-note has it.
// KindInvalid: it is none, or not of a witness with an Ed25519 key.
func ParseWitness(text string) (*Witness, error) {
	fail := func(why string) (*Witness, error) {
		return nil, dossier.Errorf(dossier.KindInvalid, "reading the key of a witness", text, why)
	}
	name, rest, ok := strings.Cut(text, "+")
	hex, encoded, ok2 := strings.Cut(rest, "+")
	hash, err := strconv.ParseUint(hex, 16, 32)
	if !ok || !ok2 || err != nil || len(hex) != 8 || !isKeyName(name) {
		return fail("it is not NAME+HASH+KEY")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(raw) != 1+ed25519.PublicKeySize || raw[0] != cosignatureType {
		return fail("it is no Ed25519 key for cosignatures")
	}
	w := &Witness{name, uint32(hash), raw[1:]}
	if w.hash != cosignatureKeyHash(name, w.key) {
		return fail("its hash is not that of its key")
	}
	return w, nil
}

// isKeyName reports whether signed notes can have a key with the name.
func isKeyName(name string) bool {
	return name != "" && !strings.ContainsAny(name, "+ \t\r\n") && strings.ToValidUTF8(name, "") == name
}

// String returns the key as ParseWitness reads it.
func (w *Witness) String() string {
	return fmt.Sprintf("%s+%08x+%s", w.name, w.hash, base64.StdEncoding.EncodeToString(append([]byte{cosignatureType}, w.key...)))
}

// Name implements note.Verifier.
func (w *Witness) Name() string { return w.name }

// KeyHash implements note.Verifier.
func (w *Witness) KeyHash() uint32 { return w.hash }

// Verify implements note.Verifier.
func (w *Witness) Verify(text, sig []byte) bool {
	return len(sig) == cosignatureSize && ed25519.Verify(w.key, cosigned(text, binary.BigEndian.Uint64(sig)), sig[8:])
}

// witnessSigner makes cosignatures. It implements note.Signer.
type witnessSigner struct {
	Witness
	secret ed25519.PrivateKey
	now    func() time.Time
}

// Sign implements note.Signer.
func (s *witnessSigner) Sign(text []byte) ([]byte, error) {
	at := s.now().Unix()
	if at < 0 {
		return nil, errors.New("the clock is before 1970")
	}
	sig := binary.BigEndian.AppendUint64(nil, uint64(at))
	return append(sig, ed25519.Sign(s.secret, cosigned(text, uint64(at)))...), nil
}

// Cosigned returns which of the witnesses have signed a checkpoint, and when. One with an
// invalid signature has not.
func Cosigned(signed []byte, witnesses []*Witness) (map[string]time.Time, error) {
	times := map[string]time.Time{}
	for _, w := range witnesses {
		n, err := note.Open(signed, note.VerifierList(w))
		if err != nil {
			continue
		}
		sig, err := base64.StdEncoding.DecodeString(n.Sigs[0].Base64)
		if err != nil || len(sig) != 4+cosignatureSize {
			return nil, dossier.Errorf(dossier.KindInternal, "reading cosignatures", w.name, "a signature was verified that has no time")
		}
		times[w.String()] = time.Unix(int64(binary.BigEndian.Uint64(sig[4:])), 0).UTC()
	}
	return times, nil
}
