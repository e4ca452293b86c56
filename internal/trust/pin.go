// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
)

// firstUsePin is the word of the policy for trust on first use.
const firstUsePin = "pin"

// Pin is who is pinned for the repository that a decision is about.
type Pin struct {
	dossier.SignerPin
	// Made is set by the decision that pins: it counts once it is kept.
	Made bool `json:"made"`
}

// Scope is what a signer is pinned for: the repository of an image, as patterns compare it.
// All spellings of a repository are one scope.
func Scope(ref dossier.Reference) string {
	host, path := repository(ref)
	return host + "/" + path
}

// firstUse takes the setting of that name. KindInvalid: it is no word that is known, or there
// would be nothing to pin.
func (s *Signer) firstUse(word string) error {
	if s == nil || word == "" {
		return nil
	}
	bad := func(why string) error { return dossier.Errorf(dossier.KindInvalid, "reading firstUse", word, why) }
	switch {
	case word != firstUsePin:
		return bad("the only word is " + firstUsePin)
	case s.Key != nil:
		return bad("a signature by a public key does not carry the key, so that it must be named here, and then nothing is left to pin: leave firstUse out, or name an identity, several OpenPGP keys or certificates")
	case s.Keyring != nil && len(s.Keyring.ids) == 1:
		return bad("it has one OpenPGP key, so that nothing is left to pin: leave firstUse out")
	case s.Identity != nil && s.Identity.exact:
		return bad("issuer and identity name one signer, so that nothing is left to pin: leave firstUse out, or give a pattern")
	}
	s.FirstUse = true
	return nil
}

// FirstUse reports whether signers are pinned by the rule for an image.
func (p *Policy) FirstUse(ref dossier.Reference) bool {
	r := p.ruleFor(ref)
	return r != nil && slices.ContainsFunc(r.terms.Signers, func(s Signer) bool { return s.FirstUse })
}

// in returns the terms for the repository of an image.
func (t Terms) in(ref dossier.Reference, pin *dossier.SignerPin, mayPin bool) Terms {
	t.Scope, t.MayPin = Scope(ref), mayPin
	if pin != nil && pin.Scope == t.Scope {
		t.Pin = pin
	}
	return t
}

// firstUse says in words that a rule pins, or "".
func (r *rule) firstUse() string {
	var names []string
	for _, s := range r.terms.Signers {
		if s.FirstUse {
			names = append(names, s.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("; of %v only who signs first in a repository, and is pinned there", names)
}

// namedFirst puts those of first use behind all others: who is named is not pinned.
func namedFirst(signers []Signer) []Signer {
	if !slices.ContainsFunc(signers, func(s Signer) bool { return s.FirstUse }) {
		return signers
	}
	signers = slices.Clone(signers)
	slices.SortStableFunc(signers, func(a, b Signer) int { return boolInt(a.FirstUse) - boolInt(b.FirstUse) })
	return signers
}

// firstUse holds a signer of first use, all else being good, against who is pinned.
func (a *attempt) firstUse() (string, *fault) {
	switch {
	case !a.signer.FirstUse:
		return "", nil
	case a.pin != nil && a.pin.Signer == a.counted:
		return a.counted, nil
	case a.pin != nil:
		return a.counted, faultf(CodeOtherSigner, "%s signed it, and for %s %s is pinned since %s, by %s", a.counted, a.pin.Scope, a.pin.Signer, stamp(a.pin.At), a.pin.Image)
	case a.scope == "":
		return a.counted, faultf(CodeNotPinned, "nobody can be pinned without a repository")
	case !a.mayPin:
		return a.counted, faultf(CodeNotPinned, "%s signed it, and nobody is pinned for %s: dossier verify pins who signs first", a.counted, a.scope)
	}
	a.newcomer = true
	return a.counted, nil
}

// RefusePin takes back what a decision pins, for a reason: it is as if that signer had not signed.
func (d *Decision) RefusePin(why string) {
	if d.Pin == nil || !d.Pin.Made {
		return
	}
	signer := d.Pin.Signer
	d.Pin, d.Verified, d.Until = nil, false, time.Time{}
	d.Counted = slices.DeleteFunc(d.Counted, func(s string) bool { return s == signer })
	d.failNewcomers([]string{signer}, faultf(CodeNotPinned, "%s", why))
	d.conclude()
}

// pinFirst pins the one newcomer without whom too few have signed. Others do not count.
func (d *Decision) pinFirst(t Terms) {
	if t.Pin != nil && slices.ContainsFunc(t.Signers, func(s Signer) bool { return s.FirstUse }) {
		d.Pin = &Pin{SignerPin: *t.Pin}
	}
	var fresh []string
	for _, trial := range d.Trials {
		if trial.newcomer && !slices.Contains(fresh, trial.Key) && !slices.Contains(d.Counted, trial.Key) {
			fresh = append(fresh, trial.Key)
		}
	}
	var f *fault
	switch {
	case len(fresh) == 0:
		return
	case len(d.Counted) >= d.Need:
		f = faultf(CodeNotPinned, "enough have signed who are named, so that nobody is pinned")
	case len(fresh) > 1:
		f = faultf(CodeManyFirst, "%s signed it, and nobody is pinned for %s: name one of them in the trust policy", strings.Join(fresh, " and "), t.Scope)
	case len(d.Counted)+1 < d.Need:
		f = faultf(CodeNotPinned, "too few others signed it for %s to be pinned", fresh[0])
	default:
		d.Counted = append(d.Counted, fresh[0])
		d.Pin = &Pin{SignerPin: dossier.SignerPin{Scope: t.Scope, Signer: fresh[0], Image: d.Asked.Digest, At: dossier.Instant(d.At), Trust: t.Trust}, Made: true}
		return
	}
	d.failNewcomers(fresh, f)
}

// failNewcomers lets first use fail for signers that could be pinned.
func (d *Decision) failNewcomers(signers []string, f *fault) {
	for i := range d.Trials {
		trial := &d.Trials[i]
		if trial.newcomer && slices.Contains(signers, trial.Key) {
			last := &trial.Checks[len(trial.Checks)-1]
			last.Outcome, last.Code, last.Detail = Failed, f.code, f.detail
			trial.Verified, trial.Key, trial.Until = false, "", time.Time{}
		}
	}
}
