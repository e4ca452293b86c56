// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"crypto"
	"crypto/x509"

	"dossier.dev/dossier"
)

// Question is what is asked.
type Question struct {
	Digest dossier.Digest `json:"digest"`
	// Reference is the image as asked for; empty for a plain artifact.
	Reference string `json:"reference,omitempty"`
	// Predicate is the type of statement that is wanted, or SignatureOnly. Empty: any.
	Predicate string `json:"predicate,omitempty"`

	failed  bool   // a summary that says that verification failed will do
	content []byte // of an artifact that is not too large
	digests map[crypto.Hash][]byte
}

// maxContent is how large an artifact may be whose bytes are kept: a plain Ed25519
// signature verifies over the bytes, others over a digest.
const maxContent = 64 << 20

// About asks about the bytes of an artifact. Some signatures verify over bytes only.
func About(content []byte) Question {
	q, _ := AboutFile(bytes.NewReader(content)) // reading memory does not fail
	return q
}

// AboutFile asks about the bytes of an artifact of any size. Its error is the reader's.
func AboutFile(r io.Reader) (Question, error) {
	q := Question{digests: map[crypto.Hash][]byte{}}
	var kept bytes.Buffer
	sinks := []io.Writer{}
	hashes := map[crypto.Hash]hash.Hash{}
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		hashes[h] = h.New()
		sinks = append(sinks, hashes[h])
	}
	all := io.MultiWriter(sinks...)
	n, err := io.Copy(io.MultiWriter(all, &kept), io.LimitReader(r, maxContent))
	if err != nil {
		return Question{}, err
	}
	more, err := io.Copy(all, r)
	if err != nil {
		return Question{}, err
	}
	for h, w := range hashes {
		q.digests[h] = w.Sum(nil)
	}
	if more == 0 {
		q.content = kept.Bytes()
		if n == 0 {
			q.content = []byte{}
		}
	}
	q.Digest = dossier.Digest(fmt.Sprintf("%s:%x", dossier.SHA256, q.digests[crypto.SHA256]))
	return q, nil
}

// Evidence is one piece of it.
type Evidence struct {
	Form  Form   `json:"form"`
	Bytes []byte `json:"bytes"` // a bundle, the payload of simple signing, a DSSE envelope, or an OpenPGP message
	// Of what cosign kept in annotations before it made bundles.
	Signature   []byte `json:"signature,omitempty"`   // of a payload
	Certificate []byte `json:"certificate,omitempty"` // PEM
	Chain       []byte `json:"chain,omitempty"`       // PEM
	Log         []byte `json:"log,omitempty"`         // JSON, the promise of a log
}

// Stated returns the type and the predicate of the statement that the evidence signs, as
// the verifier reads it. Whether the signature is good it does not say. ok is false
// when it signs no statement.
func (e Evidence) Stated() (predicateType string, predicate []byte, ok bool) {
	if !e.Form.states() {
		return "", nil, false
	}
	s := e.read()
	var st statement
	if s.envelope == nil || s.envelope.payloadType != payloadInToto || json.Unmarshal(s.envelope.payload, &st) != nil || len(st.Predicate) == 0 {
		return "", nil, false
	}
	return st.PredicateType, st.Predicate, true
}

// Form is how evidence is written.
type Form string

// The forms.
const (
	FormBundle   Form = "bundle"       // Sigstore bundle, JSON
	FormPayload  Form = "payload"      // simple signing by cosign, with its signature beside it
	FormEnvelope Form = "envelope"     // DSSE, with the certificate beside it
	FormPGP      Form = "openpgp"      // simple signing by OpenPGP: a signed message
	FormJWS      Form = "notation-jws" // a signature of the Notary Project
	FormCOSE     Form = "notation-cose"
)

// states reports whether evidence of a form may hold a statement.
func (f Form) states() bool { return f == FormBundle || f == FormEnvelope }

// Digest is that of all parts of the evidence.
func (e Evidence) Digest() dossier.Digest {
	if len(e.Signature)+len(e.Certificate)+len(e.Chain)+len(e.Log) == 0 {
		return dossier.FromBytes(e.Bytes)
	}
	var all []byte
	for _, part := range [][]byte{e.Bytes, e.Signature, e.Certificate, e.Chain, e.Log} {
		all = append(all, dossier.FromBytes(part)...)
		all = append(all, '\n')
	}
	return dossier.FromBytes(all)
}

// Terms is under which evidence is looked at: whom to trust, and how far.
type Terms struct {
	Signers []Signer // any of them counts
	Need    int      // how many different keys must have signed; 0: one
	Root    *Root    // nil: no certificate, log or timestamp is trusted
	// Logs is in how many logs it must be; below 0: in none, although the root has logs.
	// 0: in one, if the root names any.
	Logs int
	// Match says which name must stand in simple signing by OpenPGP.
	Match Match
	// Scope is the repository for which signers of first use are pinned; empty: for none.
	Scope string
	// Pin is who is pinned there; nil: nobody is.
	Pin *dossier.SignerPin
	// MayPin is set where the decision may pin a signer.
	MayPin bool
	// Trust is the digest of what the terms come from.
	Trust dossier.Digest
}

// The names of the checks, in the order in which they are made.
const (
	checkFormat    = "format"
	checkContent   = "content"
	checkMaterial  = "material"
	checkLogFormat = "log-format"
	checkFirstUse  = "first-use"
)

// check is one check of the verifier.
type check struct {
	name string
	run  func(*attempt) (input string, f *fault)
}

// checks are all of them. Each looks at one thing, and none repeats what another one
// does: without any of them something gets through, or through for another reason.
func checks() []check {
	early := func(name string) check {
		return check{name, func(a *attempt) (string, *fault) { return a.form, a.faults[name] }}
	}
	return []check{
		early(checkFormat), early(checkContent), early(checkMaterial),
		{"signer", (*attempt).signerKind},
		{"pgp-key", (*attempt).pgpKey},
		{"pgp-strength", (*attempt).pgpStrength},
		{"artifact", (*attempt).artifact},
		{"signature", (*attempt).verifySignature},
		{"subject", (*attempt).subject},
		{"predicate", (*attempt).predicate},
		{"claim", (*attempt).claim},
		{"builder", (*attempt).builder},
		early(checkLogFormat),
		{"log-promise", (*attempt).logPromise},
		{"log-inclusion", (*attempt).logInclusion},
		{"log-checkpoint", (*attempt).logCheckpoint},
		{"log-entry", (*attempt).logEntry},
		{"log-threshold", (*attempt).logThreshold},
		{"timestamp", (*attempt).timestamp},
		{"log-time", (*attempt).logTime},
		{"time", (*attempt).time},
		{"key-time", (*attempt).keyTime},
		{"certificate", (*attempt).certificate},
		{"certificate-log", (*attempt).certificateLog},
		{"identity", (*attempt).identity},
		{checkNotaryChain, (*attempt).notaryChain},
		{checkNotaryIdentity, (*attempt).notaryIdentity},
		{checkNotaryTime, (*attempt).notaryTime},
		{checkNotaryValidity, (*attempt).notaryValidity},
		{checkNotaryExpiry, (*attempt).notaryExpiry},
		{checkNotaryRevocation, (*attempt).notaryRevocation},
		{"revocation", (*attempt).revocation},
		{"pgp-usage", (*attempt).pgpUsage},
		{"pgp-revocation", (*attempt).pgpRevocation},
		{"pgp-expiry", (*attempt).pgpExpiry},
		{checkFirstUse, (*attempt).firstUse},
	}
}

// attempt is one piece of evidence held against one signer, and what is found out on the
// way.
type attempt struct {
	*signed
	asked     Question
	signer    Signer
	root      *Root
	needLogs  int
	match     Match
	scope     string
	pin       *dossier.SignerPin
	mayPin    bool
	newcomer  bool
	at        time.Time        // that it is judged for
	until     time.Time        // it stops to hold by itself
	turns     []time.Time      // when a check may come out otherwise, before and after at
	public    crypto.PublicKey // that signed
	counted   string           // what it is counted by
	statement *statement
	times     []observed
	chains    [][]*x509.Certificate

	// Of signatures by notation.
	authentic   bool                // the chain is trusted
	between     []time.Time         // from when to when it may have been signed, by who vouches for that
	stampers    []*x509.Certificate // the chain of who made the timestamp
	revocations *revocations
	lookups     []Lookup
}

// verifier makes the checks. Tests drop one at a time.
type verifier struct{ dropped string }

// try holds evidence against one signer.
func (v verifier) try(q Question, e Evidence, s *signed, known *revocations, t Terms, signer Signer, at time.Time) (out Trial) {
	a := &attempt{signed: s, asked: q, signer: signer, root: t.Root, needLogs: t.Logs, match: t.Match, scope: t.Scope, pin: t.Pin, mayPin: t.MayPin, at: at, revocations: known}
	switch {
	case t.Logs < 0, s.pgp != nil, s.notary != nil: // no log takes OpenPGP messages, nor notation's signatures
		a.needLogs = 0
	case t.Logs == 0 && len(t.Root.logs()) > 0:
		a.needLogs = 1
	}
	out = Trial{Evidence: e.Digest(), Signer: signer.Name}
	defer func() { out.turns, out.lookups = a.turns, a.lookups }()
	for _, c := range checks() {
		until := a.until
		in, f := c.run(a)
		done := Check{Name: c.name, Outcome: Passed, Input: in}
		loose := s.notary != nil && signer.Notary != nil && signer.Notary.logged[c.name]
		if loose {
			a.until = until // when it fails later that changes nothing
		}
		switch {
		case f == nil || c.name == v.dropped:
		case loose:
			done.Outcome, done.Code, done.Detail = Logged, f.code, f.detail
		default:
			done.Outcome, done.Code, done.Detail = Failed, f.code, f.detail
			out.Checks = append(out.Checks, done)
			return out
		}
		out.Checks = append(out.Checks, done)
	}
	out.Verified, out.Key, out.Until, out.newcomer = true, a.counted, a.until, a.newcomer
	for _, o := range a.times {
		if out.SignedAt.IsZero() || o.at.Before(out.SignedAt) {
			out.SignedAt = o.at
		}
	}
	if a.statement != nil {
		out.Predicate = a.statement.PredicateType
	}
	return out
}

// Decide judges evidence about an artifact at a time.
func Decide(q Question, t Terms, evidence []Evidence, at time.Time) Decision {
	return verifier{}.decide(q, t, evidence, at)
}

func (v verifier) decide(q Question, t Terms, evidence []Evidence, at time.Time) Decision {
	d := Decision{Asked: q, Trust: t.Trust, At: at.UTC(), Need: max(t.Need, 1), Evidence: []dossier.Digest{}, Trials: []Trial{}, Counted: []string{}}
	t.Signers = namedFirst(t.Signers)
	known := readRevocations(evidence)
	for _, e := range evidence {
		d.Evidence = append(d.Evidence, e.Digest())
		if e.Form.revokes() {
			continue
		}
		s := e.read()
		for _, signer := range s.likely(t.Signers) {
			trial := v.try(q, e, s, known, t, signer, at)
			d.Trials = append(d.Trials, trial)
			if f := trial.failure(); f != nil && f.Code == CodeSignerRevoked {
				break // whatever else the signer is called
			}
			if !trial.Verified {
				continue
			}
			if !trial.newcomer && !slices.Contains(d.Counted, trial.Key) {
				d.Counted = append(d.Counted, trial.Key)
			}
			break // it has one signature: nobody else made it
		}
	}
	d.pinFirst(t)
	slices.Sort(d.Counted)
	d.conclude()
	return d
}

// likely puts the signer first whose key the evidence names. That it does proves nothing;
// it saves to try the others. But before all come those who are revoked.
func (s *signed) likely(signers []Signer) []Signer {
	revoked := func(x Signer) bool { return x.Revoked != "" }
	if i := slices.IndexFunc(signers, revoked); i >= 0 {
		signers = slices.Clone(signers)
		slices.SortStableFunc(signers, func(a, b Signer) int { return cmp.Compare(boolInt(revoked(b)), boolInt(revoked(a))) })
		return signers
	}
	at := slices.IndexFunc(signers, func(x Signer) bool { return s.hint != "" && x.Key != nil && x.Key.ID == s.hint })
	if at <= 0 {
		return signers
	}
	return slices.Concat(signers[at:at+1], signers[:at], signers[at+1:])
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// conclude says what came of the trials.
func (d *Decision) conclude() {
	switch {
	case len(d.Counted) >= d.Need:
		d.Verified, d.Until = true, d.end()
		d.Reason = "signed by " + count(len(d.Counted), "key")
	case len(d.Evidence) == 0:
		d.Code, d.Reason = CodeNoEvidence, "nothing is signed"
	case len(d.Trials) == 0:
		d.Code, d.Reason = CodeNoSigner, "nobody may sign"
	case len(d.Counted) > 0:
		d.Code = CodeThreshold
		d.Reason = "signed by " + count(len(d.Counted), "key") + ", " + count(d.Need, "different key") + " must have signed"
		for _, t := range d.Trials {
			if f := t.failure(); f != nil && (f.Code == CodeSignerRevoked || f.Code == CodeKeyRevoked || f.Code == CodeKeyExpired) {
				d.Reason += "; " + f.Detail
			}
		}
	default:
		best := slices.MaxFunc(d.Trials, func(a, b Trial) int { return cmp.Compare(len(a.Checks), len(b.Checks)) })
		if f := best.failure(); f != nil {
			d.Code, d.Reason = f.Code, f.Name+": "+f.Detail
		}
	}
}

// end is when a decision that verifies stops to hold by itself: when too few keys are left
// whose signatures still do.
func (d *Decision) end() time.Time {
	longest := map[string]int64{} // by key, in seconds
	for _, t := range d.Trials {
		if t.Verified {
			longest[t.Key] = max(longest[t.Key], seconds(t.Until))
		}
	}
	ends := slices.SortedFunc(maps.Values(longest), func(a, b int64) int { return cmp.Compare(b, a) })
	if last := ends[d.Need-1]; last != math.MaxInt64 {
		return time.Unix(last, 0).UTC()
	}
	return time.Time{}
}

// seconds is a time as a number; never, the zero time, is the greatest.
func seconds(t time.Time) int64 {
	if t.IsZero() {
		return math.MaxInt64
	}
	return t.Unix()
}

// unhex decodes hexadecimal; nil: it is none.
func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil
	}
	return b
}

// count writes "1 key" or "2 keys".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
