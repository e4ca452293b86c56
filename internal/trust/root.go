// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore/pkg/signature"

	"dossier.dev/dossier"
)

// Root is whom the infrastructure of signing is trusted to be: certificate
// authorities, logs, and timestamp authorities (trustroot.v1 of Sigstore).
type Root struct {
	material *root.TrustedRoot
	digest   dossier.Digest
}

// ParseRoot reads a trusted_root.json. KindInvalid.
func ParseRoot(b []byte) (*Root, error) {
	material, err := root.NewTrustedRootFromJSON(b)
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: "reading trusted root", Err: err}
	}
	return &Root{material, dossier.FromBytes(b)}, nil
}

// authorities are the parts of a root; all are empty without one.
func (r *Root) logs() map[string]*root.TransparencyLog {
	if r == nil {
		return nil
	}
	return r.material.RekorLogs()
}

func (r *Root) certificateLogs() map[string]*root.TransparencyLog {
	if r == nil {
		return nil
	}
	return r.material.CTLogs()
}

func (r *Root) timestampers() []root.TimestampingAuthority {
	if r == nil {
		return nil
	}
	return r.material.TimestampingAuthorities()
}

func (r *Root) certifiers() []root.CertificateAuthority {
	if r == nil {
		return nil
	}
	return r.material.FulcioCertificateAuthorities()
}

// logVerifier returns what verifies signatures of a log.
func logVerifier(l *root.TransparencyLog) (signature.Verifier, error) {
	return signature.LoadVerifier(l.PublicKey, l.SignatureHashFunc)
}

// sameKey reports whether two public keys are one.
func sameKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// keyName is what a public key is counted by.
func keyName(public crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return ""
	}
	return string(dossier.FromBytes(der))
}

// hashesOf are the hashes that a key may have signed over, the usual one first: old
// clients took SHA-256 with every curve.
func hashesOf(public crypto.PublicKey) []crypto.Hash {
	if k, ok := public.(*ecdsa.PublicKey); ok {
		switch size := k.Curve.Params().BitSize; {
		case size > 384:
			return []crypto.Hash{crypto.SHA512, crypto.SHA256}
		case size > 256:
			return []crypto.Hash{crypto.SHA384, crypto.SHA256}
		}
	}
	return []crypto.Hash{crypto.SHA256}
}
