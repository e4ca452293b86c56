// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
)

// Digest names bytes by their hash: "sha256:" or "sha512:" and lower-case
// hexadecimal digits (OCI image spec, "Digests"). The zero value means "no
// digest". A Digest made by ParseDigest, FromBytes or FromHash is well-formed.
type Digest string

// The hash algorithms that are accepted.
const (
	SHA256 = "sha256"
	SHA512 = "sha512"
)

// ParseDigest accepts exactly the canonical form: a known algorithm, a colon
// and the full count of lower-case hexadecimal digits. Anything else is a
// KindInvalid error.
func ParseDigest(s string) (Digest, error) {
	algorithm, digits, ok := strings.Cut(s, ":")
	if !ok {
		return "", Errorf(KindInvalid, "parsing digest", quoteShort(s), "want ALGORITHM:HEX")
	}
	var size int
	switch algorithm {
	case SHA256:
		size = 2 * sha256.Size
	case SHA512:
		size = 2 * sha512.Size
	default:
		return "", Errorf(KindInvalid, "parsing digest", quoteShort(s), "the algorithm must be sha256 or sha512")
	}
	if len(digits) != size {
		return "", Errorf(KindInvalid, "parsing digest", quoteShort(s),
			fmt.Sprintf("%s has %d hexadecimal digits, found %d", algorithm, size, len(digits)))
	}
	if !isLowerHex(digits) {
		return "", Errorf(KindInvalid, "parsing digest", quoteShort(s), "digits must be 0-9 and a-f, lower case")
	}
	return Digest(s), nil
}

// FromBytes returns the sha256 digest of b.
func FromBytes(b []byte) Digest {
	sum := sha256.Sum256(b)
	return Digest(SHA256 + ":" + hex.EncodeToString(sum[:]))
}

// FromHash returns the digest that h has computed under d's algorithm. It is
// the counterpart of NewHash.
func FromHash(algorithm string, h hash.Hash) Digest {
	return Digest(algorithm + ":" + hex.EncodeToString(h.Sum(nil)))
}

// NewHash returns a hash of d's algorithm, or nil when d is not well-formed.
func (d Digest) NewHash() hash.Hash {
	switch d.Algorithm() {
	case SHA256:
		return sha256.New()
	case SHA512:
		return sha512.New()
	}
	return nil
}

// Matches reports whether d is the digest of b.
func (d Digest) Matches(b []byte) bool {
	h := d.NewHash()
	if h == nil {
		return false
	}
	h.Write(b)
	return FromHash(d.Algorithm(), h) == d
}

// Algorithm returns the part before the colon.
func (d Digest) Algorithm() string {
	algorithm, _, _ := strings.Cut(string(d), ":")
	return algorithm
}

// Hex returns the part after the colon.
func (d Digest) Hex() string {
	_, digits, _ := strings.Cut(string(d), ":")
	return digits
}

// Short returns the first twelve digits, for people to read.
func (d Digest) Short() string {
	h := d.Hex()
	return h[:min(12, len(h))]
}

// MinPrefix is how many hexadecimal digits a digest prefix needs at least.
const MinPrefix = 8

// IsDigestPrefix reports whether s can be an abbreviated digest: an optional
// algorithm and at least MinPrefix lower-case hexadecimal digits.
func IsDigestPrefix(s string) bool {
	s = strings.TrimPrefix(strings.TrimPrefix(s, SHA256+":"), SHA512+":")
	return len(s) >= MinPrefix && len(s) <= 2*sha512.Size && isLowerHex(s)
}

func isLowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// quoteShort quotes s for an error message and cuts it when it is long: input
// from outside must not flood a log.
func quoteShort(s string) string {
	const limit = 100
	if len(s) > limit {
		return fmt.Sprintf("%q... (%d bytes)", s[:limit], len(s))
	}
	return fmt.Sprintf("%q", s)
}
