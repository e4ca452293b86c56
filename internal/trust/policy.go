// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/form"
)

// policyFile is trust.yaml (docs/spec/trust.md).
type policyFile struct {
	Roots   map[string]string     `yaml:"roots"` // name: path
	Signers map[string]signerFile `yaml:"signers"`
	Images  []ruleFile            `yaml:"images"`
	// Lookaside says where signatures by OpenPGP lie that are not in the registry.
	Lookaside []lookasideFile `yaml:"lookaside"`
	Notation  *notationFile   `yaml:"notation"`
	Logs      yaml.Node       `yaml:"logs"` // of proofs (docs/spec/proof.md)
}

type signerFile struct {
	Key             string    `yaml:"key"` // path, or the PEM or the armor itself
	From            time.Time `yaml:"from"`
	Until           time.Time `yaml:"until"`
	Issuer          string    `yaml:"issuer"`
	IssuerPattern   string    `yaml:"issuerPattern"`
	Identity        string    `yaml:"identity"`
	IdentityPattern string    `yaml:"identityPattern"`
	Builders        []string  `yaml:"builders"`
	FirstUse        string    `yaml:"firstUse"` // "pin": of all whom it speaks of the first that signs in a repository
	// Of the Notary Project: paths of certificates, of those of signing authorities, of
	// timestamp authorities and of revocation lists, and distinguished names.
	Certificates       []string `yaml:"certificates"`
	SigningAuthorities []string `yaml:"signingAuthorities"`
	Subjects           []string `yaml:"subjects"`
	Timestampers       []string `yaml:"timestampers"`
	CRLs               []string `yaml:"crls"`
	Revocation         string   `yaml:"revocation"` // "", offline or online
	Revoked            string   `yaml:"revoked"`    // why; it then signs nothing
}

type ruleFile struct {
	Match     []string `yaml:"match"`
	Signers   []string `yaml:"signers"`
	Need      int      `yaml:"need"`
	Root      string   `yaml:"root"`
	IgnoreLog bool     `yaml:"ignoreLog"`
	Statement string   `yaml:"statement"`
	Identity  Match    `yaml:"signedIdentity"`
	Accept    bool     `yaml:"accept"`
	Reject    bool     `yaml:"reject"`
}

// lookasideFile is one place, as registries.d has them.
type lookasideFile struct {
	Match []string `yaml:"match"`
	URL   string   `yaml:"url"`
}

// Policy is whom is trusted with which images.
type Policy struct {
	Digest  dossier.Digest // of the file and all that it names
	rules   []rule
	places  []lookaside
	members []member // in the order of their names

	judged memory // what was decided by it
}

// lookaside is where signatures of images lie.
type lookaside struct {
	patterns []pattern
	url      string
}

// rule says what the images that it matches need.
type rule struct {
	patterns  []pattern
	terms     Terms
	statement string
	accept    bool
	reject    bool
	members   []member
	root      dossier.Digest // of the file
	note      string         // what else Words says
}

// Files are what a policy names, by the paths in it. A path is relative to the policy.
type Files interface {
	ReadFile(path string) ([]byte, error)
	ReadDir(path string) ([]fs.DirEntry, error) // sorted by name
}

// Limits of a policy.
const (
	maxPolicy = 1 << 20 // bytes
	maxRules  = 1000
)

// ParsePolicy reads trust.yaml and the files that it names.
// KindInvalid: all that is wrong, as one joined error.
func ParsePolicy(b []byte, files Files) (*Policy, error) {
	const op = "reading trust policy"
	if len(b) > maxPolicy {
		return nil, dossier.Errorf(dossier.KindLimit, op, "", fmt.Sprintf("it has %d bytes, at most %d are read", len(b), maxPolicy))
	}
	var file policyFile
	if err := form.Decode(b, &file, op, "docs/spec/trust.md says what it may hold"); err != nil {
		return nil, err
	}
	r := policyReader{files: files, hash: sha256.New(), roots: map[string]*Root{}, signers: map[string]*Signer{}, members: map[string]member{}, rooted: map[string]dossier.Digest{}}
	r.hash.Write(b)
	r.readRoots(file.Roots)
	r.readSigners(file.Signers)
	p := &Policy{}
	if len(file.Images) == 0 && file.Notation == nil {
		r.fail("images", "there is no rule: nothing would be trusted")
	}
	for i, f := range file.Images[:min(len(file.Images), maxRules)] {
		p.rules = append(p.rules, r.rule(fmt.Sprintf("images[%d]", i), f))
	}
	if file.Notation != nil {
		p.rules = append(p.rules, r.notation(*file.Notation, p.rules)...)
	}
	for i, f := range file.Lookaside[:min(len(file.Lookaside), maxRules)] {
		p.places = append(p.places, r.lookaside(fmt.Sprintf("lookaside[%d]", i), f))
	}
	if len(r.faults) > 0 {
		for i, fault := range r.faults {
			r.faults[i] = &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: fault}
		}
		return nil, errors.Join(r.faults...)
	}
	p.Digest = dossier.FromHash(dossier.SHA256, r.hash)
	for _, name := range sortedKeys(r.members) {
		p.members = append(p.members, r.members[name])
	}
	for i := range p.rules {
		p.rules[i].terms.Trust = p.Digest
	}
	return p, nil
}

// policyReader collects what a policy names, and what is wrong with it.
type policyReader struct {
	files   Files
	hash    hash.Hash
	roots   map[string]*Root
	signers map[string]*Signer
	members map[string]member
	rooted  map[string]dossier.Digest // digests of roots, by their names
	faults  []error
}

func (r *policyReader) fail(where, why string) {
	r.faults = append(r.faults, dossier.Errorf(dossier.KindInvalid, where, "", why))
}

// file reads a file that the policy names, and counts its bytes to the policy.
func (r *policyReader) file(where, path string) ([]byte, bool) {
	b, err := r.files.ReadFile(path)
	if err != nil {
		r.faults = append(r.faults, fmt.Errorf("%s: %w", where, err))
		return nil, false
	}
	sum := sha256.Sum256(b)
	r.hash.Write(sum[:])
	return b, true
}

func (r *policyReader) readRoots(roots map[string]string) {
	for _, name := range sortedKeys(roots) {
		b, ok := r.file("roots."+name, roots[name])
		if !ok {
			continue
		}
		root, err := ParseRoot(b)
		if err != nil {
			r.faults = append(r.faults, fmt.Errorf("roots.%s: %w", name, err))
		}
		r.roots[name], r.rooted[name] = root, dossier.FromBytes(b)
	}
}

func (r *policyReader) readSigners(signers map[string]signerFile) {
	for _, name := range sortedKeys(signers) {
		s, err := r.signer(name, signers[name])
		if err == nil {
			err = s.firstUse(signers[name].FirstUse)
		}
		if err != nil {
			r.faults = append(r.faults, fmt.Errorf("signers.%s: %w", name, err))
		}
		if r.signers[name] = s; s != nil {
			r.members[name] = memberOf(s, signers[name])
		}
	}
}

// notary reads a signer by certificates.
func (r *policyReader) notary(s *Signer, name string, f signerFile, named bool) (*Signer, error) {
	if f.Key != "" || named || !f.From.IsZero() || !f.Until.IsZero() || len(f.Builders) > 0 {
		return nil, dossier.Errorf(dossier.KindInvalid, "reading signer", "", "with certificates it can have subjects, timestampers, crls and revocation, and nothing else")
	}
	read := notaryFiles{subjects: f.Subjects}
	for _, part := range []struct {
		paths []string
		to    *[][]byte
	}{{f.Certificates, &read.certificates}, {f.SigningAuthorities, &read.authorities}, {f.Timestampers, &read.stampers}, {f.CRLs, &read.crls}} {
		for _, path := range part.paths {
			b, ok := r.file("signers."+name, path)
			if !ok {
				return nil, nil
			}
			*part.to = append(*part.to, b)
		}
	}
	n, err := newNotary(read)
	switch {
	case err != nil:
		return nil, err
	case f.Revocation == "online":
		n.online, n.revoked = true, revocationKnown
	case f.Revocation != "" && f.Revocation != "offline":
		return nil, dossier.Errorf(dossier.KindInvalid, "reading signer", "", fmt.Sprintf("revocation is %q: write offline or online", f.Revocation))
	}
	s.Notary = n
	return s, nil
}

// memberOf says who a signer is.
func memberOf(s *Signer, f signerFile) member {
	m := member{name: s.Name, revoked: f.Revoked, limits: fmt.Sprint(f.From, f.Until, f.Builders, f.Certificates, f.SigningAuthorities, f.Timestampers, f.CRLs, f.Revocation, f.FirstUse)}
	switch {
	case s.Keyring != nil:
		m.signs = strings.Join(s.Keyring.ids, ", ")
	case s.Key != nil:
		m.signs = s.Key.ID
	case s.Notary != nil:
		m.signs = fmt.Sprintf("certificates for %s", strings.Join(f.Subjects, "; "))
	case s.Identity != nil:
		m.signs = strings.TrimSpace(s.Identity.text)
	}
	return m
}

// signer reads one.
func (r *policyReader) signer(name string, f signerFile) (*Signer, error) {
	s := &Signer{Name: name, Revoked: f.Revoked}
	for _, b := range f.Builders {
		re, err := regexp.Compile(`\A(?:` + b + `)\z`)
		if err != nil {
			return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: "reading builder", Err: err}
		}
		s.Builders = append(s.Builders, re)
	}
	named := f.Issuer+f.IssuerPattern+f.Identity+f.IdentityPattern != ""
	switch {
	case len(f.Certificates)+len(f.SigningAuthorities) > 0:
		return r.notary(s, name, f, named)
	case len(f.Subjects)+len(f.Timestampers)+len(f.CRLs)+len(f.Revocation) > 0:
		return nil, dossier.Errorf(dossier.KindInvalid, "reading signer", "", "subjects, timestampers, crls and revocation belong to certificates, and it has none")
	case f.Key != "" && named:
		return nil, dossier.Errorf(dossier.KindInvalid, "reading signer", "", "it has a key and an identity: make two signers")
	case f.Key != "":
		b := []byte(f.Key)
		if !bytes.Contains(b, []byte("-----BEGIN")) {
			var ok bool
			if b, ok = r.file("signers."+name, f.Key); !ok {
				return nil, nil
			}
		}
		if isKeyring(b) {
			ring, err := ParseKeyring(b)
			if err == nil && (!f.From.IsZero() || !f.Until.IsZero()) {
				err = dossier.Errorf(dossier.KindInvalid, "reading signer", "", "from and until need a time of signing that somebody trusted vouches for, and OpenPGP has none")
			}
			if err != nil {
				return nil, err
			}
			s.Keyring = ring
			return s, nil
		}
		key, err := ParseKey(b)
		if err != nil {
			return nil, err
		}
		key.From, key.Until = f.From, f.Until
		s.Key = &key
	default:
		id, err := NewIdentity(f.Issuer, f.IssuerPattern, f.Identity, f.IdentityPattern)
		if err != nil {
			return nil, err
		}
		s.Identity = id
	}
	return s, nil
}

func (r *policyReader) rule(where string, f ruleFile) rule {
	out := rule{terms: Terms{Need: max(f.Need, 1)}, statement: f.Statement, accept: f.Accept, reject: f.Reject}
	out.patterns = r.patterns(where, f.Match)
	if out.terms.Match = f.Identity; f.Identity.check() != nil {
		r.faults = append(r.faults, fmt.Errorf("%s: %w", where, f.Identity.check()))
	}
	ways := 0
	for _, way := range []bool{f.Accept, f.Reject, len(f.Signers) > 0} {
		if way {
			ways++
		}
	}
	if ways != 1 {
		r.fail(where, "it must say one of signers, accept and reject")
	}
	keys, many := map[string]bool{}, false // how many different keys there are; an identity may have any number
	first := 0                             // of those of first use one signs
	for _, name := range f.Signers {
		s, ok := r.signers[name]
		if !ok {
			r.fail(where, "there is no signer "+name)
		}
		if s == nil {
			continue
		}
		out.members = append(out.members, r.members[name])
		if s.Identity != nil && r.roots[f.Root] == nil {
			r.fail(where, "signer "+name+" is an identity, which needs a root")
		}
		switch {
		case s.FirstUse:
			first = 1
		case s.Key != nil:
			keys[s.Key.ID] = true
		case s.Keyring != nil:
			for _, id := range s.Keyring.ids {
				keys[id] = true
			}
		default:
			many = true
		}
		out.terms.Signers = append(out.terms.Signers, *s)
	}
	if len(out.terms.Signers) > 0 && !many && f.Need > len(keys)+first {
		r.fail(where, fmt.Sprintf("it needs %d different keys, and its signers have %d", f.Need, len(keys)+first))
	}
	if f.Root != "" {
		out.root = r.rooted[f.Root]
		if out.terms.Root = r.roots[f.Root]; out.terms.Root == nil {
			r.fail(where, "there is no root "+f.Root)
		}
	}
	if f.IgnoreLog {
		out.terms.Logs = -1
	}
	return out
}

// patterns reads the patterns of a rule or a place.
func (r *policyReader) patterns(where string, texts []string) []pattern {
	if len(texts) == 0 {
		r.fail(where, "it matches nothing: give patterns, ** for all")
	}
	var out []pattern
	for _, text := range texts {
		p, err := parsePattern(text)
		if err != nil {
			r.faults = append(r.faults, fmt.Errorf("%s: %w", where, err))
		}
		out = append(out, p)
	}
	return out
}

func (r *policyReader) lookaside(where string, f lookasideFile) lookaside {
	u, err := url.Parse(f.URL)
	if err != nil || !slices.Contains([]string{"file", "http", "https"}, u.Scheme) || u.RawQuery != "" || u.Fragment != "" || u.User != nil || (u.Scheme == "file") != (u.Host == "") {
		r.fail(where, fmt.Sprintf("%q is no place: write file:///DIR or https://HOST/PATH", f.URL))
	}
	return lookaside{r.patterns(where, f.Match), f.URL}
}

// Lookaside returns where signatures by OpenPGP of an image lie, or "" when the policy
// says nothing of that.
func (p *Policy) Lookaside(ref dossier.Reference) string {
	for _, place := range p.places {
		if slices.ContainsFunc(place.patterns, func(p pattern) bool { return p.matches(ref) }) {
			return place.url
		}
	}
	return ""
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// For returns the number of the rule for an image, the first that matches, or -1.
func (p *Policy) For(ref dossier.Reference) int {
	return slices.IndexFunc(p.rules, func(r rule) bool {
		return slices.ContainsFunc(r.patterns, func(p pattern) bool { return p.matches(ref) })
	})
}

// Decide judges an image by the rule for it. pin is who is pinned for its repository, nil when
// nobody is: then the decision may pin somebody, for whoever asked to keep.
func (p *Policy) Decide(ref dossier.Reference, digest dossier.Digest, evidence []Evidence, pin *dossier.SignerPin, at time.Time) Decision {
	return p.decide(ref, digest, evidence, pin, true, at)
}

func (p *Policy) decide(ref dossier.Reference, digest dossier.Digest, evidence []Evidence, pin *dossier.SignerPin, mayPin bool, at time.Time) Decision {
	q := Question{Digest: digest, Reference: ref.String()}
	n := p.For(ref)
	if n < 0 || p.rules[n].reject || p.rules[n].accept {
		d := Decision{Asked: q, Trust: p.Digest, At: at.UTC(), Evidence: []dossier.Digest{}, Trials: []Trial{}, Counted: []string{}, Reason: p.Words(n)}
		switch {
		case n < 0:
			d.Code = CodeNoRule
		case p.rules[n].reject:
			d.Code = CodeRejected
		default:
			d.Verified = true
		}
		return d
	}
	r := p.rules[n]
	q.Predicate = r.statement
	if q.Predicate == "" {
		q.Predicate = SignatureOnly
	}
	return Decide(q, r.terms.in(ref, pin, mayPin), evidence, at)
}

// Statement judges a statement about an image, of the type predicate, by who may sign
// for the image. A rule that takes or refuses an image whatever is signed names
// nobody who may state anything about it. It pins nobody.
func (p *Policy) Statement(ref dossier.Reference, digest dossier.Digest, evidence []Evidence, predicate string, pin *dossier.SignerPin, at time.Time) Decision {
	q := Question{Digest: digest, Reference: ref.String(), Predicate: predicate}
	n := p.For(ref)
	if n >= 0 && !p.rules[n].reject && !p.rules[n].accept && predicate != "" {
		return Decide(q, p.rules[n].terms.in(ref, pin, false), evidence, at)
	}
	d := Decision{Asked: q, Trust: p.Digest, At: at.UTC(), Evidence: []dossier.Digest{}, Trials: []Trial{}, Counted: []string{}, Reason: p.Words(n)}
	switch {
	case n < 0:
		d.Code = CodeNoRule
	case p.rules[n].reject:
		d.Code = CodeRejected
	case predicate == "":
		d.Code, d.Reason = CodePredicate, "the statement has no type"
	default:
		d.Code, d.Reason = CodeNoSigner, d.Reason+", so nobody may sign statements about it"
	}
	return d
}
