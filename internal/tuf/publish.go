// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// MaxRoots is how many versions of root one publication brings at most.
const MaxRoots = 256

// maxRoles is how many roles owners may delegate to.
const maxRoles = 1000

// Publication is what owners have signed.
type Publication struct {
	Roots [][]byte          `json:"roots,omitempty"` // of rising versions
	Roles map[string][]byte `json:"roles,omitempty"` // targets, and delegated roles
}

// Publish takes what owners have signed: all of it, or nothing. It is for the signatures to
// say whether it is theirs. What is there already is no fault.
//
// KindDenied: signatures are missing or wrong. KindConflict: a version goes back, or is not
// the next. KindInvalid, KindLimit: a file is malformed, or speaks of what is
// not its own.
func (r *Repository) Publish(ctx context.Context, prefix string, p Publication) error {
	if !slices.Contains(r.config.Prefixes, prefix) {
		return &dossier.Error{Kind: dossier.KindNotFound, Op: "publishing metadata", Subject: prefix,
			Err: errors.New("the server publishes none for this prefix"), Hint: "name it in registry.tuf.prefixes of the server's configuration"}
	}
	if len(p.Roots) > MaxRoots || len(p.Roles) > maxRoles {
		return dossier.Errorf(dossier.KindLimit, "publishing metadata", prefix, "there are too many files")
	}
	return r.config.Store.Update(ctx, func(tx store.Tx) error {
		s, err := r.lock(ctx, tx, prefix)
		if err != nil {
			return err
		}
		return s.publish(ctx, p)
	})
}

func (s *state) publish(ctx context.Context, p Publication) error {
	before := s.root
	for _, body := range p.Roots {
		if err := s.takeRoot(ctx, body); err != nil {
			return err
		}
	}
	if s.root == nil {
		return refused(dossier.KindConflict, Root, "there is no root yet: publish one first")
	}
	if s.root.Signed.IsExpired(s.now) {
		return refused(dossier.KindInvalid, Root, "it has expired")
	}
	if err := s.findKey(ctx); err != nil {
		return err
	}
	if err := s.takeTargets(ctx, p.Roles[Targets], before); err != nil {
		return err
	}
	if err := s.takeDelegated(ctx, p.Roles); err != nil {
		return err
	}
	if err := s.putOnline(ctx); err != nil {
		return err
	}
	if s.prefix.Online && before != nil && !slices.Equal(before.Signed.Roles[Snapshot].KeyIDs, s.root.Signed.Roles[Snapshot].KeyIDs) {
		if err := s.resignBins(ctx); err != nil {
			return err
		}
	}
	if len(s.changed) == 0 {
		return nil
	}
	return s.seal(ctx)
}

func refused(kind dossier.Kind, role, why string) error {
	return dossier.Errorf(kind, "publishing metadata", role, why)
}

// takeRoot takes a version of root: the first, or the one after that which is there,
// signed by both (specification 5.3).
func (s *state) takeRoot(ctx context.Context, body []byte) error {
	next, err := parse[metadata.RootType](Root, body)
	if err != nil {
		return err
	}
	if s.root != nil && next.Signed.Version <= s.root.Signed.Version {
		old, err := s.tx.TUFFile(ctx, s.prefix.Prefix, Root, next.Signed.Version)
		if err == nil && bytes.Equal(old.Body, body) {
			return nil // it is there
		}
		return refused(dossier.KindConflict, Root, fmt.Sprintf("version %d is published already, and is another file; the next is %d", next.Signed.Version, s.root.Signed.Version+1))
	}
	want := int64(1)
	if s.root != nil {
		want = s.root.Signed.Version + 1
		if err := s.root.VerifyDelegate(Root, next); err != nil {
			return denied(Root, "the owners of the root before it", err)
		}
	}
	if next.Signed.Version != want {
		return refused(dossier.KindConflict, Root, fmt.Sprintf("its version is %d, want %d", next.Signed.Version, want))
	}
	if err := next.VerifyDelegate(Root, next); err != nil {
		return denied(Root, "its own owners", err)
	}
	if err := checkRoot(next, s.prefix.Prefix); err != nil {
		return err
	}
	s.root = next
	f, err := asFile(Root, body)
	if err != nil {
		return err
	}
	return s.put(ctx, f)
}

// checkRoot checks what go-tuf leaves open.
func checkRoot(root *metadata.Metadata[metadata.RootType], prefix string) error {
	if p, _ := root.Signed.UnrecognizedFields[fieldPrefix].(string); p != prefix {
		return refused(dossier.KindInvalid, Root, fmt.Sprintf("it is for the prefix %.100q, want %q", p, prefix))
	}
	if !root.Signed.ConsistentSnapshot {
		return refused(dossier.KindInvalid, Root, "consistent_snapshot must be true")
	}
	for _, role := range []string{Root, Targets, Snapshot, Timestamp} {
		r := root.Signed.Roles[role]
		if r == nil {
			return refused(dossier.KindInvalid, Root, "it has no role "+role)
		}
		if err := checkThreshold(role, r.KeyIDs, r.Threshold); err != nil {
			return err
		}
	}
	online := root.Signed.Roles[Timestamp].KeyIDs
	for _, role := range []string{Root, Targets} {
		for _, id := range root.Signed.Roles[role].KeyIDs {
			if slices.Contains(online, id) {
				return refused(dossier.KindInvalid, Root, "the online key must not sign "+role)
			}
		}
	}
	return nil
}

// checkThreshold wants as many different keys as a threshold asks for.
func checkThreshold(role string, ids []string, threshold int) error {
	distinct := slices.Compact(slices.Sorted(slices.Values(ids)))
	if threshold < 1 || threshold > len(distinct) || len(distinct) != len(ids) {
		return refused(dossier.KindInvalid, role, fmt.Sprintf("%d signatures are wanted of %d different keys in a list of %d", threshold, len(distinct), len(ids)))
	}
	return nil
}

func denied(role, whose string, err error) error {
	return &dossier.Error{Kind: dossier.KindDenied, Op: "publishing metadata", Subject: role,
		Err: fmt.Errorf("it is not signed by enough of %s: %w", whose, err), Hint: "dossier tuf status says which signatures are missing"}
}

// takeTargets takes targets.json, when one is given, and checks that the one that is
// there fits the root.
func (s *state) takeTargets(ctx context.Context, body []byte, before *metadata.Metadata[metadata.RootType]) error {
	old := s.targets
	if body != nil {
		next, err := parse[metadata.TargetsType](Targets, body)
		if err != nil {
			return err
		}
		s.targets = next
	}
	if s.targets == nil {
		return refused(dossier.KindConflict, Targets, "there are no targets yet: publish them with the root")
	}
	if err := s.root.VerifyDelegate(Targets, s.targets); err != nil {
		return denied(Targets, "the owners that the root names", err)
	}
	if err := s.checkTargets(); err != nil { // also when it is the root that changed
		return err
	}
	if body == nil {
		return nil
	}
	// Whose keys were replaced may begin anew: somebody may have signed the last version that there can be.
	anew := before != nil && !slices.Equal(before.Signed.Roles[Targets].KeyIDs, s.root.Signed.Roles[Targets].KeyIDs)
	return s.take(ctx, Targets, body, old, s.targets, anew)
}

// take publishes a file of owners unless it is there.
func (s *state) take(ctx context.Context, role string, body []byte, old, next *metadata.Metadata[metadata.TargetsType], anew bool) error {
	if next.Signed.IsExpired(s.now) {
		return refused(dossier.KindInvalid, role, "it has expired")
	}
	f, err := asFile(role, body)
	if err != nil {
		return err
	}
	if old != nil && next.Signed.Version <= old.Signed.Version && !anew {
		there, err := s.tx.TUFFile(ctx, s.prefix.Prefix, role, 0)
		if err != nil {
			return err
		}
		if bytes.Equal(there.Body, body) {
			return nil
		}
		return refused(dossier.KindConflict, role, fmt.Sprintf("its version is %d; %d is published already", next.Signed.Version, old.Signed.Version))
	}
	return s.put(ctx, f)
}

// checkTargets checks what owners delegate.
func (s *state) checkTargets() error {
	if err := checkNames(Targets, s.targets, s.prefix.Prefix, nil); err != nil {
		return err
	}
	d := s.targets.Signed.Delegations
	if d == nil {
		return nil
	}
	if d.SuccinctRoles != nil {
		return refused(dossier.KindUnsupported, Targets, "owners delegate by paths, not by bins")
	}
	if len(d.Roles) > maxRoles {
		return refused(dossier.KindLimit, Targets, fmt.Sprintf("it delegates to more than %d roles", maxRoles))
	}
	seen := map[string]bool{}
	for _, role := range d.Roles {
		if seen[role.Name] { // two delegators of one name would each believe the other's keys
			return refused(dossier.KindInvalid, role.Name, "it is delegated to twice")
		}
		seen[role.Name] = true
		if err := s.checkDelegation(role); err != nil {
			return err
		}
	}
	return nil
}

func (s *state) checkDelegation(role metadata.DelegatedRole) error {
	if role.Name == Online {
		if !slices.Equal(role.KeyIDs, []string{s.online.ID}) || role.Threshold != 1 {
			return refused(dossier.KindInvalid, Online, "its one key must be the online key of this server, "+s.online.ID)
		}
	} else if err := checkRole(role.Name); err != nil {
		return err
	}
	if len(role.PathHashPrefixes) > 0 || len(role.Paths) == 0 {
		return refused(dossier.KindUnsupported, role.Name, "a role is delegated to by paths")
	}
	for _, p := range role.Paths {
		if err := checkPath(s.prefix.Prefix, p); err != nil {
			return refused(dossier.KindInvalid, role.Name, err.Error())
		}
	}
	return checkThreshold(role.Name, role.KeyIDs, role.Threshold)
}

// checkNames checks the targets of a role. d is its delegation; nil: all below the prefix are its own.
func checkNames(role string, m *metadata.Metadata[metadata.TargetsType], prefix string, d *metadata.DelegatedRole) error {
	for name, t := range m.Signed.Targets {
		repository, _, err := ParseTarget(name)
		if err != nil {
			return refused(dossier.KindInvalid, role, err.Error())
		}
		own := below(prefix, repository)
		if d != nil && own {
			own, _ = d.IsDelegatedPath(name)
		}
		if !own {
			return refused(dossier.KindInvalid, role, "it may not speak of "+name)
		}
		if _, err := digestOf(t); err != nil || t.Length < 1 {
			return refused(dossier.KindInvalid, role, name+" needs a digest and a length")
		}
	}
	return nil
}

// takeDelegated takes the files of delegated roles.
func (s *state) takeDelegated(ctx context.Context, files map[string][]byte) error {
	var roles []metadata.DelegatedRole
	if s.targets.Signed.Delegations != nil {
		roles = s.targets.Signed.Delegations.Roles
	}
	for name := range files {
		known := slices.ContainsFunc(roles, func(d metadata.DelegatedRole) bool { return d.Name == name })
		if name != Targets && (!known || name == Online) {
			return refused(dossier.KindInvalid, name, "the owners of targets do not delegate to it")
		}
	}
	for i := range roles {
		d := &roles[i]
		if d.Name == Online {
			continue
		}
		old, err := load[metadata.TargetsType](ctx, s.tx, s.prefix.Prefix, d.Name)
		if err != nil {
			return err
		}
		body, given := files[d.Name]
		if !given {
			if old != nil && s.targets.VerifyDelegate(d.Name, old) != nil {
				return refused(dossier.KindDenied, d.Name, "its keys changed: publish the role signed by the new ones with it")
			}
			continue
		}
		next, err := parse[metadata.TargetsType](d.Name, body)
		if err != nil {
			return err
		}
		if err := s.targets.VerifyDelegate(d.Name, next); err != nil {
			return denied(d.Name, "those whom the owners of targets name", err)
		}
		if next.Signed.Delegations != nil {
			return refused(dossier.KindUnsupported, d.Name, "a delegated role does not delegate further")
		}
		if err := checkNames(d.Name, next, s.prefix.Prefix, d); err != nil {
			return err
		}
		anew := old != nil && s.targets.VerifyDelegate(d.Name, old) != nil
		if err := s.take(ctx, d.Name, body, old, next, anew); err != nil {
			return err
		}
	}
	return nil
}
