// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// visit is a role to look into, and who delegates to it.
type visit struct{ role, parent string }

// target looks for the target in the roles that may speak of it, in the order of
// their delegations, depth first (5.6, 5.7), and compares it with what is asked.
func (s *session) target(ctx context.Context) error {
	name := s.result.Target
	s.parents = map[string]string{Targets: Root}
	todo := []visit{{Targets, Root}}
	for n := 0; len(todo) > 0; n++ {
		if n == maxVisit && s.makes("roles looked into") {
			return fail("target", ReasonUnknown, "more than %d roles may speak of it", maxVisit)
		}
		at := todo[0]
		todo = todo[1:]
		m, err := s.role(ctx, at)
		if err != nil {
			return err
		}
		if m == nil {
			continue
		}
		if found, ok := m.Signed.Targets[name]; ok {
			s.until(m.Signed.Expires)
			return s.compare(at, found)
		}
		children, terminating, err := s.children(at.role, m)
		if err != nil {
			return err
		}
		if terminating {
			todo = nil
		}
		todo = slices.Concat(children, todo)
	}
	return fail("target", ReasonUnknown, "nothing is signed of it")
}

// children returns the roles that may speak of the target by the delegations of a role.
// A name that another role has delegated to is refused: go-tuf and others keep what they read under
// the name alone, and would believe one delegator's keys for the other.
func (s *session) children(role string, m *metadata.Metadata[metadata.TargetsType]) (list []visit, terminating bool, err error) {
	d := m.Signed.Delegations
	if d == nil {
		return nil, false, nil
	}
	seen := map[string]bool{}
	for _, r := range d.Roles {
		if (seen[r.Name] || isTopLevel(r.Name)) && s.makes("role named twice") {
			return nil, false, fail(r.Name, ReasonShared, "%s delegates to the name twice, or to one that is taken", role)
		}
		seen[r.Name] = true
		if parent, ok := s.parents[r.Name]; ok && parent != role && s.makes("two delegators") {
			return nil, false, fail(r.Name, ReasonShared, "both %s and %s delegate to it", parent, role)
		}
		s.parents[r.Name] = role
	}
	for _, r := range d.GetRolesForTarget(s.result.Target) {
		if parent, ok := s.parents[r.Name]; ok && parent != role && s.makes("two delegators") {
			return nil, false, fail(r.Name, ReasonShared, "both %s and %s delegate to it", parent, role)
		}
		s.parents[r.Name] = role
		list = append(list, visit{r.Name, role})
		if r.Terminating {
			return list, true, nil
		}
	}
	return list, false, nil
}

// role reads the file of a role, the kept one when it is still the one that the snapshot
// names. nil: the snapshot names none, so it says nothing.
func (s *session) role(ctx context.Context, at visit) (*metadata.Metadata[metadata.TargetsType], error) {
	meta := s.trusted.Snapshot.Signed.Meta[at.role+".json"]
	if meta == nil {
		if at.role == Targets {
			return nil, fail(at.role, ReasonMix, "the snapshot does not name it")
		}
		return nil, nil
	}
	kept, ok := s.kept[at.role]
	if ok && kept.Version == meta.Version {
		m, err := s.trusted.UpdateDelegatedTargets(kept.Body, at.role, at.parent)
		if err == nil {
			return s.passRole(at, m)
		}
		if isExpired(err) {
			return nil, classify(at.role, err)
		}
	}
	limit := int64(MaxTargets)
	if meta.Length > 0 {
		limit = min(limit, meta.Length)
	}
	body, err := s.fetch(ctx, at.role, s.fileName(at.role, meta.Version), limit)
	if err != nil {
		return nil, err
	}
	h, err := header(at.role, body)
	if err != nil {
		return nil, classify(at.role, err)
	}
	if h.Version != meta.Version && s.makes("version of role") {
		return nil, fail(at.role, ReasonMix, "its version is %d, the snapshot names %d", h.Version, meta.Version)
	}
	if ok && h.Version < kept.Version && s.signs(at, kept.Body) && s.makes("rollback of role") {
		return nil, fail(at.role, ReasonRollback, "its version is %d, and %d was seen", h.Version, kept.Version)
	}
	m, err := s.trusted.UpdateDelegatedTargets(body, at.role, at.parent)
	if err != nil {
		return nil, classify(at.role, err)
	}
	s.keepFile(at.role, body)
	return s.passRole(at, m)
}

// signs reports whether those who may sign for a role now have signed a file.
func (s *session) signs(at visit, body []byte) bool {
	m, err := parse[metadata.TargetsType](at.role, body)
	if err != nil {
		return false
	}
	if at.parent == Root {
		return s.trusted.Root.VerifyDelegate(at.role, m) == nil
	}
	return s.trusted.Targets[at.parent].VerifyDelegate(at.role, m) == nil
}

func (s *session) passRole(at visit, m *metadata.Metadata[metadata.TargetsType]) (*metadata.Metadata[metadata.TargetsType], error) {
	s.until(m.Signed.Expires)
	s.pass(at.role, fmt.Sprintf("version %d", m.Signed.Version))
	return m, nil
}

// compare fills in what is signed and compares it with what is asked.
func (s *session) compare(at visit, found *metadata.TargetFiles) error {
	d, err := digestOf(found)
	if err != nil {
		return classify("target", err)
	}
	r := &s.result
	r.Digest, r.Length, r.PushedAt, r.Role = d, found.Length, pushedAt(found), at.role
	r.Keys = s.keysOf(at)
	r.SignedBy, r.Expires = s.signedBy(at), s.expires
	s.pass("target", string(d))
	if s.q.Digest != "" {
		sum, ok := found.Hashes[s.q.Digest.Algorithm()]
		if (!ok || sum.String() != s.q.Digest.Hex()) && s.makes("digest") {
			return fail("digest", ReasonDigest, "the tag means %s, not %s", d, s.q.Digest)
		}
		s.pass("digest", string(s.q.Digest))
	}
	if s.q.Length > 0 {
		if found.Length != s.q.Length && s.makes("length") {
			return fail("length", ReasonLength, "the manifest has %d bytes, what is signed has %d", s.q.Length, found.Length)
		}
		s.pass("length", fmt.Sprint(s.q.Length))
	}
	return nil
}

// keysOf returns the IDs of the keys that may sign for a role.
func (s *session) keysOf(at visit) []string {
	if at.parent == Root {
		return s.trusted.Root.Signed.Roles[at.role].KeyIDs
	}
	d := s.trusted.Targets[at.parent].Signed.Delegations
	for _, r := range d.Roles {
		if r.Name == at.role {
			return r.KeyIDs
		}
	}
	if d.SuccinctRoles != nil {
		return d.SuccinctRoles.KeyIDs
	}
	return nil
}

// signedBy says whether the key of a role, or of one above it, is one that the server has: one
// that also signs the timestamp.
func (s *session) signedBy(at visit) SignedBy {
	online := slices.Concat(s.trusted.Root.Signed.Roles[Timestamp].KeyIDs, s.trusted.Root.Signed.Roles[Snapshot].KeyIDs)
	for at.role != Root {
		if at.role == Online || slices.ContainsFunc(s.keysOf(at), func(id string) bool { return slices.Contains(online, id) }) {
			return ByOnline
		}
		at = visit{at.parent, s.parents[at.parent]}
	}
	return ByOwner
}

func isEqualVersion(err error) bool { return errors.Is(err, &metadata.ErrEqualVersionNumber{}) }

func isExpired(err error) bool { return errors.Is(err, &metadata.ErrExpiredMetadata{}) }

// Fresh reports whether r holds at a time: verified, and not past Expires.
func (r Result) Fresh(at time.Time) bool { return r.Verified && !at.After(r.Expires) }
