// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"dossier.dev/dossier"
)

// notationFile says where the configuration of notation lies, and what it leaves open.
type notationFile struct {
	Config     string   `yaml:"config"` // directory with trustpolicy.json and truststore
	CRLs       []string `yaml:"crls"`
	Revocation string   `yaml:"revocation"` // "", offline or online
}

// notationPolicies is a trust policy of notation: trustpolicy.oci.json or trustpolicy.json,
// version 1.0.
type notationPolicies struct {
	Version  string           `json:"version"`
	Policies []notationPolicy `json:"trustPolicies"`
}

type notationPolicy struct {
	Name         string   `json:"name"`
	Scopes       []string `json:"registryScopes"`
	Verification struct {
		Level     string            `json:"level"`
		Override  map[string]string `json:"override"`
		Timestamp string            `json:"verifyTimestamp"`
	} `json:"signatureVerification"`
	Stores     []string `json:"trustStores"`       // TYPE:NAME
	Identities []string `json:"trustedIdentities"` // "x509.subject: NAME", or "*"
}

// notationKinds are what a level of notation can enforce, log or skip, and our checks that
// do so. Integrity is always enforced.
var notationKinds = map[string][]string{
	"authenticity":       {checkNotaryChain, checkNotaryIdentity},
	"authenticTimestamp": {checkNotaryTime, checkNotaryValidity},
	"expiry":             {checkNotaryExpiry},
	"revocation":         {checkNotaryRevocation},
}

// notationLevels are what the levels only log.
var notationLevels = map[string][]string{
	"strict":     nil,
	"permissive": {"authenticTimestamp", "expiry", "revocation"},
	"audit":      {"authenticity", "authenticTimestamp", "expiry", "revocation"},
}

// Types of trust stores.
const (
	storeCA        = "ca"
	storeAuthority = "signingAuthority"
	storeStamper   = "tsa"
)

var (
	storeName     = regexp.MustCompile(`\A[a-zA-Z0-9_.-]+\z`)
	registryScope = regexp.MustCompile(`\A[a-zA-Z0-9][a-zA-Z0-9.-]*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+\z`)
)

// notation makes rules of notation's own configuration: those for one repository first.
func (r *policyReader) notation(f notationFile, before []rule) []rule {
	const where = "notation"
	for i, own := range before {
		if slices.ContainsFunc(own.patterns, func(p pattern) bool { return p.text == "**" }) {
			r.fail(where, fmt.Sprintf("images[%d] matches all images, so that notation's trust policies would never be asked: they come after images", i))
		}
	}
	if f.Config == "" {
		r.fail(where, "config is missing: name the directory with notation's trustpolicy.json")
		return nil
	}
	if !slices.Contains([]string{"", "offline", "online"}, f.Revocation) {
		r.fail(where, fmt.Sprintf("revocation is %q: write offline or online", f.Revocation))
	}
	name, ok := r.notationName(f.Config)
	if !ok {
		return nil
	}
	b, ok := r.file(where, name)
	if !ok {
		return nil
	}
	var file notationPolicies
	if err := decodeStrictly(b, &file); err != nil {
		r.fail(where, name+": "+plain(err))
		return nil
	}
	if file.Version != "1.0" {
		r.fail(where, fmt.Sprintf("%s: its version is %q, 1.0 is known", name, file.Version))
	}
	if len(file.Policies) == 0 {
		r.fail(where, name+": it has no trust policies")
	}
	var lists [][]byte
	for _, p := range f.CRLs {
		if b, ok := r.file(where, p); ok {
			lists = append(lists, b)
		}
	}
	s := notationReader{policyReader: r, dir: f.Config, file: name, online: f.Revocation == "online", lists: lists, scopes: map[string]string{}, stores: map[string][]*x509.Certificate{}}
	var out []rule
	names := map[string]bool{}
	for _, p := range file.Policies[:min(len(file.Policies), maxRules)] {
		if p.Name == "" || names[p.Name] {
			s.bad(p, "its name is missing, or another one's")
		}
		names[p.Name] = true
		out = append(out, s.rule(p))
	}
	slices.SortStableFunc(out, func(a, b rule) int { return boolInt(a.forAll()) - boolInt(b.forAll()) })
	return out
}

// forAll reports whether a rule of notation has the scope "*".
func (r *rule) forAll() bool { return len(r.patterns) == 1 && r.patterns[0].text == "**" }

// notationName finds the trust policy: the newer name first, as notation does.
func (r *policyReader) notationName(dir string) (string, bool) {
	entries, err := r.files.ReadDir(dir)
	if err != nil {
		r.faults = append(r.faults, fmt.Errorf("notation: %w", err))
		return "", false
	}
	for _, name := range []string{"trustpolicy.oci.json", "trustpolicy.json"} {
		for _, e := range entries {
			if e.Name() != name {
				continue
			}
			if !e.Type().IsRegular() {
				r.fail("notation", path.Join(dir, name)+" is no regular file: symbolic links are not followed")
				return "", false
			}
			return path.Join(dir, name), true
		}
	}
	r.fail("notation", fmt.Sprintf("%s has neither trustpolicy.oci.json nor trustpolicy.json", dir))
	return "", false
}

// decodeStrictly reads JSON in which nothing is unknown, and nothing follows.
func decodeStrictly(b []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows after the JSON object")
	}
	return nil
}

// notationReader reads the statements of a trust policy and the trust stores that they name.
type notationReader struct {
	*policyReader
	dir, file string
	online    bool
	lists     [][]byte
	scopes    map[string]string // names of the statements that have them
	stores    map[string][]*x509.Certificate
}

func (s *notationReader) bad(p notationPolicy, why string) {
	s.fail("notation", fmt.Sprintf("%s: trust policy %q: %s", s.file, p.Name, why))
}

// rule makes a rule of a statement.
func (s *notationReader) rule(p notationPolicy) rule {
	out := rule{patterns: s.patternsOf(p), terms: Terms{Need: 1}}
	v := p.Verification
	if v.Level == "skip" {
		if len(v.Override) > 0 || len(p.Stores)+len(p.Identities) > 0 {
			s.bad(p, "with the level skip it can have neither an override, nor trustStores, nor trustedIdentities")
		}
		out.accept, out.note = true, fmt.Sprintf("notation's trust policy %q has the level skip", p.Name)
		return out
	}
	n, err := newNotary(notaryFiles{crls: s.lists, subjects: s.subjects(p)})
	if err != nil {
		s.bad(p, plain(err))
		return out
	}
	n.online, n.revoked, n.logged = s.online, revocationKnown, map[string]bool{}
	actions := s.actions(p, n)
	digests := s.trust(p, n)
	switch v.Timestamp {
	case "", "always":
		if n.stamped = stampAlways; n.stamps == nil {
			n.stamped = stampMay
		}
	case "afterCertExpiry":
		n.stamped = stampAfterEnd
	default:
		s.bad(p, fmt.Sprintf("verifyTimestamp is %q: write always or afterCertExpiry", v.Timestamp))
	}
	signer := Signer{Name: fmt.Sprintf("notation policy %q", p.Name), Notary: n}
	out.terms.Signers = []Signer{signer}
	revoked := "offline"
	if s.online {
		revoked = "online"
	}
	out.note = fmt.Sprintf("level %s%s, trust stores %s, identities %s, revocation %s, %d lists", v.Level, actions, strings.Join(p.Stores, " "), strings.Join(p.Identities, "; "), revoked, len(n.crls))
	if n.stamps != nil {
		out.note += ", timestamps " + firstOf(v.Timestamp, "always")
	}
	m := member{name: signer.Name, signs: "certificates for " + strings.Join(p.Identities, "; "), limits: out.note + fmt.Sprint(digests)}
	s.members[signer.Name] = m
	out.members = []member{m}
	return out
}

func (s *notationReader) patternsOf(p notationPolicy) []pattern {
	if len(p.Scopes) == 0 {
		s.bad(p, "it has no registryScopes")
	}
	var out []pattern
	for _, scope := range p.Scopes {
		if other, ok := s.scopes[scope]; ok {
			s.bad(p, fmt.Sprintf("the scope %q stands in %q too", scope, other))
		}
		s.scopes[scope] = p.Name
		switch {
		case scope == "*" && len(p.Scopes) == 1:
			scope = "**"
		case scope == "*":
			s.bad(p, "the scope * stands beside others")
			continue
		case !registryScope.MatchString(scope):
			s.bad(p, fmt.Sprintf("the scope %q is no repository: write HOST/PATH, without a tag and without *, or * alone", scope))
			continue
		}
		one, err := parsePattern(scope)
		if err != nil {
			s.bad(p, plain(err))
		}
		out = append(out, one)
	}
	return out
}

// actions sets what is only logged, or not looked at, and says so in words.
func (s *notationReader) actions(p notationPolicy, n *Notary) string {
	loose, ok := notationLevels[p.Verification.Level]
	if !ok {
		s.bad(p, fmt.Sprintf("its level is %q: write strict, permissive, audit or skip", p.Verification.Level))
	}
	set := map[string]string{}
	for _, kind := range loose {
		set[kind] = "log"
	}
	for _, kind := range sortedKeys(p.Verification.Override) {
		action := p.Verification.Override[kind]
		switch _, known := notationKinds[kind]; {
		case kind == "integrity":
			s.bad(p, "integrity cannot be overridden")
		case !known:
			s.bad(p, fmt.Sprintf("the override of %q: known are %v", kind, sortedKeys(notationKinds)))
		case action != "enforce" && action != "log" && (action != "skip" || kind != "revocation"):
			s.bad(p, fmt.Sprintf("the override of %s is %q: write enforce or log; only revocation can have skip", kind, action))
		}
		set[kind] = action
	}
	text := ""
	for _, kind := range sortedKeys(set) {
		switch set[kind] {
		case "log":
			text += ", " + kind + " only logged"
			for _, check := range notationKinds[kind] {
				n.logged[check] = true
			}
		case "skip":
			text, n.revoked = text+", revocation skipped", revocationIgnored
		}
	}
	return text
}

// subjects reads the identities of a statement, as newNotary takes them.
func (s *notationReader) subjects(p notationPolicy) []string {
	var out []string
	var names []map[string]string
	for _, identity := range p.Identities {
		kind, name, ok := strings.Cut(identity, ":")
		switch {
		case identity == "*" && len(p.Identities) == 1:
			return []string{"*"}
		case identity == "*" || !ok:
			s.bad(p, fmt.Sprintf("the identity %q: write \"x509.subject: NAME\", or \"*\" alone", identity))
			continue
		case kind != "x509.subject":
			continue // for a plugin
		}
		is, err := parseName(name)
		if err != nil || is["C"] == "" || is["ST"] == "" || is["O"] == "" || strings.Contains(name, "=#") {
			s.bad(p, fmt.Sprintf("the identity %q is no distinguished name with C, ST and O", identity))
			continue
		}
		for _, other := range names {
			if includes(is, other) || includes(other, is) {
				s.bad(p, fmt.Sprintf("the identity %q overlaps with another one", identity))
			}
		}
		names, out = append(names, is), append(out, name)
	}
	return out
}

// trust reads the trust stores that a statement names, and returns their digests.
func (s *notationReader) trust(p notationPolicy, n *Notary) []dossier.Digest {
	if len(p.Stores) == 0 {
		s.bad(p, "it has no trustStores")
	}
	var digests []dossier.Digest
	seen := map[string]bool{}
	for _, text := range p.Stores {
		kind, name, ok := strings.Cut(text, ":")
		if !ok || !slices.Contains([]string{storeCA, storeAuthority, storeStamper}, kind) || !storeName.MatchString(name) || name == "." || name == ".." {
			s.bad(p, fmt.Sprintf("the trust store %q: write ca:NAME, signingAuthority:NAME or tsa:NAME", text))
			continue
		}
		if seen[text] {
			continue
		}
		seen[text] = true
		list := s.store(p, kind, name)
		for _, c := range list {
			digests = append(digests, dossier.FromBytes(c.Raw))
		}
		switch kind {
		case storeCA:
			n.roots = append(n.roots, list...)
		case storeAuthority:
			n.authorities = append(n.authorities, list...)
		case storeStamper:
			n.trustStampers(list)
		}
	}
	return digests
}

// store reads the certificates of a trust store, once.
func (s *notationReader) store(p notationPolicy, kind, name string) []*x509.Certificate {
	dir := path.Join(s.dir, "truststore", "x509", kind, name)
	if list, ok := s.stores[dir]; ok {
		return list
	}
	entries, err := s.files.ReadDir(dir)
	if err != nil {
		s.bad(p, fmt.Sprintf("the trust store %s:%s: %s", kind, name, plain(err)))
		return nil
	}
	out := []*x509.Certificate{}
	for _, e := range entries {
		file := path.Join(dir, e.Name())
		if !e.Type().IsRegular() {
			s.bad(p, file+" is no regular file: symbolic links are not followed, and directories not read")
			continue
		}
		b, ok := s.policyReader.file("notation", file)
		if !ok {
			continue
		}
		list, err := parseCertificates(b)
		if err != nil {
			s.bad(p, file+": "+plain(err))
		}
		for _, c := range list {
			if why := unfit(c, kind); why != "" {
				s.bad(p, fmt.Sprintf("%s: the certificate of %s %s", file, c.Subject, why))
			}
		}
		out = append(out, list...)
	}
	if len(entries) == 0 {
		s.bad(p, fmt.Sprintf("the trust store %s:%s has no certificate: %s is empty", kind, name, dir))
	}
	s.stores[dir] = out
	return out
}

// unfit says why a certificate cannot be in a trust store, or "": authorities can, and
// certificates that vouch for themselves.
func unfit(c *x509.Certificate, kind string) string {
	itself := c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
	switch {
	case kind == storeStamper && (c.CheckSignatureFrom(c) != nil || !bytes.Equal(c.RawSubject, c.RawIssuer)):
		return "is no root of a timestamp authority"
	case !c.IsCA && !itself:
		return "is neither that of an authority nor signed by itself"
	}
	return ""
}
