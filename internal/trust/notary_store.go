// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"dossier.dev/dossier"
)

// Notary is who signs as the Notary Project specifies it, by certificates: a trust store
// and the identities that are trusted of it, and how strictly they are held to it.
type Notary struct {
	roots       []*x509.Certificate // one of them must be in the chain, with the scheme notary.x509
	authorities []*x509.Certificate // the same with notary.x509.signingAuthority
	subjects    []map[string]string // attributes that the subject must have; nil: any subject
	stamps      *x509.CertPool      // roots of timestamp authorities; nil: none is trusted
	stamped     stampWanted
	crls        []*x509.RevocationList
	revoked     revocationWanted
	online      bool            // revocation may be asked for where certificates say
	logged      map[string]bool // checks that may fail
}

// stampWanted is when a signature needs a timestamp of the signer's authorities.
type stampWanted int

const (
	stampMay      stampWanted = iota // one that is there counts
	stampAlways                      // as notation's verifyTimestamp has it
	stampAfterEnd                    // when a certificate has ended; else it does not count
)

// revocationWanted is what must be known about the revocation of certificates.
type revocationWanted int

const (
	revocationIgnored revocationWanted = iota
	revocationListed                   // there must be a list of who issued the certificate
	revocationKnown                    // of each certificate that says where that is known
)

// notaryFiles is what a Notary is read from: PEM or DER.
type notaryFiles struct {
	certificates, authorities, stampers, crls [][]byte
	subjects                                  []string
}

// newNotary reads a trust store. KindInvalid.
func newNotary(f notaryFiles) (*Notary, error) {
	bad := func(err error) error {
		return &dossier.Error{Kind: dossier.KindInvalid, Op: "reading trust store", Err: err}
	}
	n := &Notary{}
	var stampers []*x509.Certificate
	for _, part := range []struct {
		name string
		from [][]byte
		to   *[]*x509.Certificate
	}{{"certificates", f.certificates, &n.roots}, {"signingAuthorities", f.authorities, &n.authorities}, {"timestampers", f.stampers, &stampers}} {
		for _, b := range part.from {
			list, err := parseCertificates(b)
			if err != nil {
				return nil, bad(fmt.Errorf("%s: %w", part.name, err))
			}
			*part.to = append(*part.to, list...)
		}
	}
	n.trustStampers(stampers)
	for _, b := range f.crls {
		crl, err := parseList(b)
		if err != nil {
			return nil, bad(fmt.Errorf("crls: %w", err))
		}
		n.crls, n.revoked = append(n.crls, crl), revocationListed
	}
	for _, text := range f.subjects {
		if text == "*" && len(f.subjects) == 1 {
			return n, nil
		}
		name, err := parseName(text)
		if err != nil {
			return nil, bad(fmt.Errorf("subjects: %w", err))
		}
		n.subjects = append(n.subjects, name)
	}
	if len(n.subjects) == 0 {
		return nil, bad(errors.New("subjects is empty: name who is trusted, or \"*\" for all that the certificates vouch for"))
	}
	return n, nil
}

func (n *Notary) trustStampers(roots []*x509.Certificate) {
	for _, c := range roots {
		if n.stamps == nil {
			n.stamps = x509.NewCertPool()
		}
		n.stamps.AddCert(c)
	}
}

// parseCertificates reads all certificates of a file: PEM, or DER one after another.
func parseCertificates(b []byte) ([]*x509.Certificate, error) {
	block, rest := pem.Decode(b)
	if block == nil {
		list, err := x509.ParseCertificates(b)
		if err == nil && len(list) == 0 {
			err = errors.New("there is no certificate in it")
		}
		return list, err
	}
	var out []*x509.Certificate
	for ; block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("there is a PEM %q in it, no certificate", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// parseList reads a revocation list: PEM or DER.
func parseList(b []byte) (*x509.RevocationList, error) {
	if block, _ := pem.Decode(b); block != nil {
		b = block.Bytes
	}
	return x509.ParseRevocationList(b)
}

// parseName reads a distinguished name (RFC 4514), each attribute once.
func parseName(text string) (map[string]string, error) {
	out := map[string]string{}
	var part strings.Builder
	end := func() error {
		key, value, ok := strings.Cut(part.String(), "=")
		key, value = strings.ToUpper(strings.TrimSpace(key)), strings.TrimSpace(value)
		part.Reset()
		if key == "S" {
			key = "ST"
		}
		if _, twice := out[key]; !ok || key == "" || value == "" || twice {
			return fmt.Errorf("%q is no distinguished name in which each attribute stands once", text)
		}
		out[key] = value
		return nil
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+2 < len(text) && unhex(text[i+1:i+3]) != nil:
			part.Write(unhex(text[i+1 : i+3]))
			i += 2
		case c == '\\' && i+1 < len(text):
			i++
			part.WriteByte(text[i])
		case c == '+':
			return nil, fmt.Errorf("%q has two attributes in one place", text)
		case c == ',':
			if err := end(); err != nil {
				return nil, err
			}
		default:
			part.WriteByte(c)
		}
	}
	return out, end()
}

// includes reports whether a name has all attributes of another one, with the same values.
func includes(name, wanted map[string]string) bool {
	for k, v := range wanted {
		if name[k] != v {
			return false
		}
	}
	return true
}
