// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// Limits of one verification.
const (
	maxRoots = 256 // that are followed
	maxVisit = 32  // roles that are looked into for one target
	// maxSkew is by how much clocks may differ.
	maxSkew = 5 * time.Minute
)

// rolePinned is the name under which the root that was pinned first is kept.
const rolePinned = "pinned"

// Verifier says what is signed of tags. What it has seen it keeps in its store, so that nothing
// goes back: who asks later, from another process too, relies on it.
type Verifier struct {
	Store  store.Store
	Source Source // nil: offline, what is kept is all there is
	Now    func() time.Time

	dropped string // a check that is not made: tests say so, to see that each is missed
}

// checks are the names under which a check of this package, beside those of go-tuf, can be dropped.
func checks() []string {
	return []string{
		"prefix of root", "pinned root", "expiry of root", "clock", "expiry of timestamp", "version of snapshot", "age", "age unknown",
		"roles looked into", "role named twice", "two delegators", "version of role", "rollback of role", "digest", "length",
	}
}

// makes reports whether a check is made.
func (v Verifier) makes(check string) bool { return v.dropped != check }

// Verify answers a request. That a tag is not verified is a result; an error says that the
// verifier itself could not work: KindInvalid, or those of the store.
//
// It is the client workflow of the specification (section 5), with these additions: the time when
// the timestamp was signed bounds its age; this clock must not be behind what was signed; a file
// of a role does not go back either, as long as the keys that signed the newer one still may; and
// a role is not believed under a second delegator.
func (v Verifier) Verify(ctx context.Context, q Request) (Result, error) {
	target, err := TargetName(q.Repository, q.Tag)
	if err != nil {
		return Result{}, err
	}
	if q.Digest != "" {
		if _, err := dossier.ParseDigest(string(q.Digest)); err != nil {
			return Result{}, err
		}
	}
	r, again, err := v.verify(ctx, q, target)
	if err == nil && again {
		pinned := r.Pinned
		r, _, err = v.verify(ctx, q, target)
		r.Pinned = cmp.Or(r.Pinned, pinned)
	}
	return r, err
}

// verify is one attempt. It is to be made again when keys were replaced between its look for roots and its look for
// the timestamp: that is not found under the root's version.
func (v Verifier) verify(ctx context.Context, q Request, target string) (r Result, again bool, err error) {
	var kept []store.TUFFile
	err = v.Store.View(ctx, func(r store.Reader) (err error) {
		kept, err = r.TUFTrusted(ctx, q.Source)
		return err
	})
	if err != nil {
		return Result{}, false, err
	}
	s := &session{Verifier: v, q: q, now: v.Now().UTC(), kept: byRole(kept), next: map[string]store.TUFFile{},
		result: Result{Source: q.Source, Target: target, Asked: q.Digest, Offline: v.Source == nil}}
	failed := s.run(ctx)
	if ctx.Err() != nil {
		return Result{}, false, ctx.Err()
	}
	if err := s.keep(ctx); err != nil {
		return Result{}, false, err
	}
	r = s.result
	if failed != nil {
		f := classify("target", failed)
		r.Reason, r.Why = f.reason, f.why.Error()
		r.Checks = append(r.Checks, Check{Name: f.check, Reason: f.reason, Why: f.why.Error()})
		again = f.check == Timestamp && f.reason == ReasonThreshold && s.hasNextRoot(ctx)
	}
	r.Verified = failed == nil
	return r, again, nil
}

// hasNextRoot reports whether there is a root after the newest that was found.
func (s *session) hasNextRoot(ctx context.Context) bool {
	if s.Source == nil {
		return false
	}
	_, err := s.Source.Fetch(ctx, fmt.Sprintf("%d.root.json", s.trusted.Root.Signed.Version+1), MaxRoot)
	return err == nil
}

func byRole(files []store.TUFFile) map[string]store.TUFFile {
	m := make(map[string]store.TUFFile, len(files))
	for _, f := range files {
		m[f.Role] = f
	}
	return m
}

// session is one verification.
type session struct {
	Verifier
	q       Request
	now     time.Time
	kept    map[string]store.TUFFile // what was trusted before
	next    map[string]store.TUFFile // what came to be trusted
	reset   bool                     // timestamp and snapshot begin anew: their keys were replaced
	trusted *trustedmetadata.TrustedMetadata
	parents map[string]string // of the roles that were read
	expires time.Time
	result  Result
}

// pass notes a check that passed.
func (s *session) pass(name, input string) {
	s.result.Checks = append(s.result.Checks, Check{Name: name, Input: input, Passed: true})
}

// until notes that what is said holds no longer than t.
func (s *session) until(t time.Time) {
	if s.expires.IsZero() || t.Before(s.expires) {
		s.expires = t.UTC()
	}
}

func (s *session) run(ctx context.Context) error {
	steps := []func(context.Context) error{s.root, s.timestamp, s.snapshot, s.age}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return s.target(ctx)
}

// fetch reads a file from the source.
func (s *session) fetch(ctx context.Context, check, name string, limit int64) ([]byte, error) {
	if s.Source == nil {
		return nil, fail(check, ReasonUnreachable, "%s is needed, and the network must not be used", name)
	}
	body, err := s.Source.Fetch(ctx, name, limit)
	if err != nil {
		return nil, classify(check, err)
	}
	return body, nil
}

// root begins with the pinned root and follows it to the newest (5.2, 5.3).
func (s *session) root(ctx context.Context) error {
	const check = "root"
	first, err := s.pin(ctx)
	if err != nil {
		return err
	}
	if _, err := header(Root, first); err != nil {
		return classify(check, err)
	}
	if s.trusted, err = trustedmetadata.New(first); err != nil {
		return classify(check, err)
	}
	s.trusted.RefTime = s.now
	begin := s.trusted.Root
	if err := s.ofPrefix(begin); err != nil {
		return err
	}
	for range maxRoots * btoi(s.Source != nil) {
		version := s.trusted.Root.Signed.Version + 1
		body, err := s.Source.Fetch(ctx, fmt.Sprintf("%d.root.json", version), MaxRoot)
		if dossier.KindOf(err) == dossier.KindNotFound {
			break
		}
		if dossier.KindOf(err) == dossier.KindUnavailable && s.kept[Timestamp].Version > 0 {
			s.Source = nil // what is kept may be enough
			s.result.Offline = true
			break
		}
		if err != nil {
			return classify(check, err)
		}
		if _, err := header(Root, body); err != nil {
			return classify(check, err)
		}
		next, err := s.trusted.UpdateRoot(body)
		if err != nil {
			return classify(check, err)
		}
		if err := s.ofPrefix(next); err != nil {
			return err
		}
		s.keepFile(Root, body)
		s.reset = s.reset || changedKeys(begin, next, Timestamp) || changedKeys(begin, next, Snapshot) // 5.3.11
	}
	now := s.trusted.Root
	if now.Signed.IsExpired(s.now) && s.makes("expiry of root") {
		return fail(check, ReasonExpired, "version %d expired at %s", now.Signed.Version, now.Signed.Expires.Format(time.RFC3339))
	}
	s.until(now.Signed.Expires)
	s.pass(check, fmt.Sprintf("version %d", now.Signed.Version))
	return nil
}

// ofPrefix returns an error when a root says that it is for another prefix.
func (s *session) ofPrefix(root *metadata.Metadata[metadata.RootType]) error {
	prefix, ok := root.Signed.UnrecognizedFields[fieldPrefix].(string)
	if ok && s.makes("prefix of root") && (!below(prefix, s.q.Repository) || !strings.HasSuffix(s.q.Source, "/"+prefix)) {
		return fail("root", ReasonRoot, "it is for %s", prefix)
	}
	return nil
}

// pin returns the root to begin with: the one that is trusted, or the one that is to be pinned.
func (s *session) pin(ctx context.Context) ([]byte, error) {
	const check = "root"
	if old, ok := s.kept[Root]; ok {
		if len(s.q.Root) > 0 && !s.knows(s.q.Root) && s.makes("pinned root") {
			return nil, fail(check, ReasonRoot, "another root is pinned than the one that was given")
		}
		return old.Body, nil
	}
	body := s.q.Root
	switch {
	case len(body) > 0:
		s.result.Pinned = "given"
	case s.q.FirstUse:
		var err error
		if body, err = s.fetch(ctx, check, "1.root.json", MaxRoot); err != nil {
			return nil, err
		}
		s.result.Pinned = "first use"
	default:
		return nil, fail(check, ReasonRoot, "no root of %s is pinned", s.q.Source)
	}
	if _, err := header(Root, body); err != nil {
		return nil, classify(check, err)
	}
	s.keepFile(rolePinned, body)
	s.keepFile(Root, body)
	return body, nil
}

// knows reports whether a root is the one that was pinned, or the one that is trusted now.
func (s *session) knows(root []byte) bool {
	return bytes.Equal(root, s.kept[rolePinned].Body) || bytes.Equal(root, s.kept[Root].Body)
}

// keepFile notes a file that came to be trusted.
func (s *session) keepFile(role string, body []byte) {
	var h signed
	if role == rolePinned {
		h, _ = header(Root, body) // was read before
	} else {
		h, _ = header(role, body)
	}
	s.next[role] = store.TUFFile{Role: role, Version: h.Version, Expires: dossier.Instant(h.Expires), Body: bytes.Clone(body)}
}

// changedKeys reports whether the keys of a role were replaced between two roots.
func changedKeys(a, b *metadata.Metadata[metadata.RootType], role string) bool {
	x, y := slices.Clone(a.Signed.Roles[role].KeyIDs), slices.Clone(b.Signed.Roles[role].KeyIDs)
	slices.Sort(x)
	slices.Sort(y)
	return !slices.Equal(x, y)
}

// timestamp reads the newest timestamp (5.4).
func (s *session) timestamp(ctx context.Context) error {
	const check = "timestamp"
	old, ok := s.kept[Timestamp]
	if ok && !s.reset {
		_, _ = s.trusted.UpdateTimestamp(old.Body) // when it has expired it is still what must not go back
		if s.trusted.Timestamp != nil {
			if err := s.clock(s.trusted.Timestamp); err != nil {
				return err
			}
		}
	}
	if s.Source != nil || s.trusted.Timestamp == nil {
		body, err := s.fetch(ctx, check, "timestamp.json", MaxTimestamp)
		if err != nil {
			return err
		}
		if _, err := header(Timestamp, body); err != nil {
			return classify(check, err)
		}
		before := s.trusted.Timestamp
		_, err = s.trusted.UpdateTimestamp(body)
		switch {
		case s.trusted.Timestamp != before: // it is newer, and signed; it may have expired
			if err := s.clock(s.trusted.Timestamp); err != nil {
				return err
			}
			s.keepFile(Timestamp, body)
		case err != nil && !isEqualVersion(err):
			return classify(check, err)
		}
	}
	t := s.trusted.Timestamp
	if t.Signed.IsExpired(s.now) && s.makes("expiry of timestamp") {
		return fail(check, ReasonFreeze, "the newest that is to be had, version %d, expired at %s", t.Signed.Version, t.Signed.Expires.Format(time.RFC3339))
	}
	s.result.AsOf = signedAt(t)
	s.until(t.Signed.Expires)
	s.pass(check, fmt.Sprintf("version %d", t.Signed.Version))
	return nil
}

// clock returns an error when this clock is behind the time of signing: a clock that was put
// back would make what has expired good again.
func (s *session) clock(t *metadata.Metadata[metadata.TimestampType]) error {
	if at := signedAt(t); at.After(s.now.Add(maxSkew)) && s.makes("clock") {
		return fail("timestamp", ReasonClock, "it was signed at %s, and by this clock it is %s", at.Format(time.RFC3339), s.now.Format(time.RFC3339))
	}
	return nil
}

// snapshot reads the snapshot that the timestamp names (5.5).
func (s *session) snapshot(ctx context.Context) error {
	const check = "snapshot"
	meta := s.trusted.Timestamp.Signed.Meta[Snapshot+".json"]
	if old, ok := s.kept[Snapshot]; ok && !s.reset {
		_, err := s.trusted.UpdateSnapshot(old.Body, true)
		if err == nil && meta.VerifyLengthHashes(old.Body) == nil {
			return s.passSnapshot()
		}
		if isExpired(err) && s.trusted.Snapshot != nil && s.trusted.Snapshot.Signed.Version == meta.Version {
			return classify(check, err)
		}
	}
	limit := int64(MaxSnapshot)
	if meta.Length > 0 {
		limit = min(limit, meta.Length)
	}
	body, err := s.fetch(ctx, check, s.fileName(Snapshot, meta.Version), limit)
	if err != nil {
		return err
	}
	h, err := header(Snapshot, body)
	if err != nil {
		return classify(check, err)
	}
	if h.Version != meta.Version && s.makes("version of snapshot") {
		return fail(check, ReasonMix, "its version is %d, the timestamp names %d", h.Version, meta.Version)
	}
	if _, err := s.trusted.UpdateSnapshot(body, false); err != nil {
		f := classify(check, err)
		if f.reason == ReasonMalformed && strings.Contains(err.Error(), "missing info") { // a role is not there any more
			f.reason = ReasonRollback
		}
		return f
	}
	s.keepFile(Snapshot, body)
	return s.passSnapshot()
}

func (s *session) passSnapshot() error {
	s.until(s.trusted.Snapshot.Signed.Expires)
	s.pass("snapshot", fmt.Sprintf("version %d", s.trusted.Snapshot.Signed.Version))
	return nil
}

// fileName is what the file of a role is called.
func (s *session) fileName(role string, version int64) string {
	if s.trusted.Root.Signed.ConsistentSnapshot {
		return fmt.Sprintf("%d.%s.json", version, role)
	}
	return role + ".json"
}

// age compares the time of signing with the age that is asked for.
func (s *session) age(context.Context) error {
	const check = "age"
	if s.q.MaxAge <= 0 {
		return nil
	}
	at := s.result.AsOf
	if at.IsZero() && s.makes("age unknown") {
		return fail(check, ReasonAge, "the timestamp does not say when it was signed")
	}
	if age := s.now.Sub(at); age > s.q.MaxAge && !at.IsZero() && s.makes("age") {
		return fail(check, ReasonFreeze, "it was signed %s ago, at most %s are allowed", age.Round(time.Second), s.q.MaxAge)
	}
	s.until(at.Add(s.q.MaxAge))
	s.pass(check, "signed at "+at.Format(time.RFC3339))
	return nil
}

// keep writes what came to be trusted. What another has written meanwhile does not go back.
func (s *session) keep(ctx context.Context) error {
	if len(s.next) == 0 || s.trusted == nil {
		return nil
	}
	return s.Store.Update(ctx, func(tx store.Tx) error {
		list, err := tx.LockTUFTrust(ctx, s.q.Source)
		if err != nil {
			return err
		}
		now := byRole(list)
		if now[Root].Version > max(s.next[Root].Version, s.kept[Root].Version) {
			return nil // it knows more than this one
		}
		anew := s.reset && now[Root].Version == s.kept[Root].Version
		if anew {
			delete(now, Timestamp)
			delete(now, Snapshot)
		}
		for role, f := range s.next {
			old, ok := now[role]
			goesBack := ok && (role == Root || role == Timestamp || role == Snapshot) && old.Version > f.Version
			if !goesBack && (role != rolePinned || !ok) {
				now[role] = f
			}
		}
		files := make([]store.TUFFile, 0, len(now))
		for _, role := range sortedKeys(now) {
			files = append(files, now[role])
		}
		return tx.TrustTUF(ctx, s.q.Source, files)
	})
}
