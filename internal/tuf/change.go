// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"dossier.dev/dossier"
)

// editRoot makes the next version of root, or changes one that nobody has signed.
func (c Ceremony) editRoot(f func(*metadata.RootType) error) error {
	write, err := c.nextRoot(f)
	if err != nil {
		return err
	}
	return write()
}

// nextRoot is editRoot, and leaves the writing to who calls it.
func (c Ceremony) nextRoot(f func(*metadata.RootType) error) (write func() error, err error) {
	n, err := c.newestRoot()
	if err != nil {
		return nil, err
	}
	root, err := readRole[metadata.RootType](c, Root)
	if err != nil {
		return nil, err
	}
	if len(root.Signatures) > 0 {
		if s, err := c.status(Root); err != nil {
			return nil, err
		} else if !s.Whole {
			return nil, &dossier.Error{Kind: dossier.KindConflict, Op: opCeremony, Subject: fileOfRoot(n),
				Err: errors.New("some have signed it and some have not"), Hint: "sign it to the end first, or delete it to make it again"}
		}
		n++
		root.Signed.Version = n
	}
	if err := f(&root.Signed); err != nil {
		return nil, err
	}
	root.Signed.Expires = instant(c.Now().Add(RootLife))
	root.ClearSignatures()
	dropUnused(&root.Signed)
	prefix, _ := root.Signed.UnrecognizedFields[fieldPrefix].(string)
	if err := checkRoot(root, prefix); err != nil {
		return nil, err
	}
	return func() error { return writeRole(c, fileOfRoot(n), Root, root) }, nil
}

// dropUnused removes keys that no role has.
func dropUnused(root *metadata.RootType) {
	used := map[string]bool{}
	for _, r := range root.Roles {
		for _, id := range r.KeyIDs {
			used[id] = true
		}
	}
	for id := range root.Keys {
		if !used[id] {
			delete(root.Keys, id)
		}
	}
}

// changeKeys adds a key to a list, takes one out, and sets how many must sign; empty and 0: as it was.
func changeKeys(role string, keys map[string]*metadata.Key, ids []string, threshold int, add []byte, remove string, want int) ([]string, int, error) {
	if remove != "" {
		at := slices.IndexFunc(ids, func(id string) bool { return strings.HasPrefix(id, remove) })
		if at < 0 || len(remove) < 8 {
			return nil, 0, &dossier.Error{Kind: dossier.KindNotFound, Op: opCeremony, Subject: role, Err: fmt.Errorf("it has no key %s", remove),
				Hint: "dossier tuf status lists the keys; give 8 digits or more"}
		}
		ids = slices.Delete(slices.Clone(ids), at, at+1)
	}
	if len(add) > 0 {
		key, id, err := ParsePublicKey(add)
		if err != nil {
			return nil, 0, err
		}
		if slices.Contains(ids, id) {
			return nil, 0, dossier.Errorf(dossier.KindConflict, opCeremony, role, "it has the key "+short(id)+" already")
		}
		keys[id] = key
		ids = append(slices.Clone(ids), id)
	}
	if want > 0 {
		threshold = want
	}
	return ids, threshold, checkThreshold(role, ids, threshold)
}

// KeyChange is a change to the keys of a role. What is empty stays as it is.
type KeyChange struct {
	Role      string // root, targets, online, or a delegated role
	Add       []byte // public key, PEM
	Remove    string // ID of a key, or 8 of its digits or more
	Threshold int
}

// ChangeKeys changes the keys of a role: in the next version of root, or of targets for a delegated
// role. The online key is replaced in root, and in targets when those delegate to it. It returns which files are
// to be signed.
func (c Ceremony) ChangeKeys(k KeyChange) ([]string, error) {
	switch k.Role {
	case Root, Targets:
		return []string{Root}, c.editRoot(func(root *metadata.RootType) error {
			r := root.Roles[k.Role]
			ids, threshold, err := changeKeys(k.Role, root.Keys, r.KeyIDs, r.Threshold, k.Add, k.Remove, k.Threshold)
			if err == nil {
				r.KeyIDs, r.Threshold = ids, threshold
			}
			return err
		})
	case Online, Snapshot, Timestamp:
		return c.replaceOnline(k.Add)
	}
	return []string{Targets}, c.edit(Targets, func(m *metadata.Metadata[metadata.TargetsType]) error {
		d := m.Signed.Delegations
		at := -1
		if d != nil {
			at = slices.IndexFunc(d.Roles, func(r metadata.DelegatedRole) bool { return r.Name == k.Role })
		}
		if at < 0 {
			return dossier.Errorf(dossier.KindNotFound, opCeremony, k.Role, "targets do not delegate to it")
		}
		r := &d.Roles[at]
		ids, threshold, err := changeKeys(k.Role, d.Keys, r.KeyIDs, r.Threshold, k.Add, k.Remove, k.Threshold)
		if err == nil {
			r.KeyIDs, r.Threshold = ids, threshold
		}
		return err
	})
}

// replaceOnline puts another online key in the place of the one that there is.
func (c Ceremony) replaceOnline(text []byte) ([]string, error) {
	key, id, err := ParsePublicKey(text)
	if err != nil {
		return nil, err
	}
	writeRoot, err := c.nextRoot(func(root *metadata.RootType) error {
		if slices.Contains(root.Roles[Timestamp].KeyIDs, id) {
			return dossier.Errorf(dossier.KindConflict, opCeremony, Online, "it is the online key already")
		}
		root.Keys[id] = key
		for _, role := range []string{Snapshot, Timestamp} {
			root.Roles[role].KeyIDs, root.Roles[role].Threshold = []string{id}, 1
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	changed := []string{Root}
	targets, err := readRole[metadata.TargetsType](c, Targets)
	if err == nil && delegatesOnline(targets) != nil {
		changed = append(changed, Targets)
		err = c.edit(Targets, func(m *metadata.Metadata[metadata.TargetsType]) error {
			m.Signed.Delegations.Keys[id] = key
			delegatesOnline(m).KeyIDs = []string{id}
			return nil
		})
	}
	if err != nil {
		return nil, err
	}
	return changed, writeRoot() // last: until then the key is not the online key, and who was interrupted begins again
}

// Delegation says which repositories a role speaks for.
type Delegation struct {
	Role         string // Online: the server signs
	Repositories []string
	Keys         [][]byte // public, PEM; for Online none
	Threshold    int
}

// Delegate lets a role speak for repositories, in the next version of targets: before the online role, so that
// what owners sign goes before what the server does. A role that is there is replaced. Roles are terminating: what
// they do not name, no later role does.
func (c Ceremony) Delegate(d Delegation) error {
	root, err := readRole[metadata.RootType](c, Root)
	if err != nil {
		return err
	}
	prefix, err := c.Prefix()
	if err != nil {
		return err
	}
	role := metadata.DelegatedRole{Name: d.Role, Threshold: max(1, d.Threshold), Terminating: true}
	keys := map[string]*metadata.Key{}
	if d.Role == Online {
		role.KeyIDs = slices.Clone(root.Signed.Roles[Timestamp].KeyIDs)
		for _, id := range role.KeyIDs {
			keys[id] = root.Signed.Keys[id]
		}
	} else if err := checkRole(d.Role); err != nil {
		return err
	}
	for _, text := range d.Keys {
		key, id, err := ParsePublicKey(text)
		if err != nil {
			return err
		}
		keys[id] = key
		role.KeyIDs = append(role.KeyIDs, id)
	}
	if err := checkThreshold(d.Role, role.KeyIDs, role.Threshold); err != nil {
		return err
	}
	for _, pattern := range d.Repositories {
		paths, err := Patterns(prefix, pattern)
		if err != nil {
			return err
		}
		role.Paths = append(role.Paths, paths...)
	}
	if len(role.Paths) == 0 {
		return dossier.Errorf(dossier.KindInvalid, opCeremony, d.Role, "name the repositories that it speaks for")
	}
	return c.edit(Targets, func(m *metadata.Metadata[metadata.TargetsType]) error {
		if m.Signed.Delegations == nil {
			m.Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}}
		}
		putDelegation(m.Signed.Delegations, role, keys)
		return nil
	})
}

// putDelegation adds or replaces a role, and keeps the online one last.
func putDelegation(d *metadata.Delegations, role metadata.DelegatedRole, keys map[string]*metadata.Key) {
	for id, key := range keys {
		d.Keys[id] = key
	}
	if at := slices.IndexFunc(d.Roles, func(r metadata.DelegatedRole) bool { return r.Name == role.Name }); at >= 0 {
		d.Roles[at] = role
		return
	}
	if last := len(d.Roles) - 1; last >= 0 && d.Roles[last].Name == Online {
		d.Roles = slices.Insert(d.Roles, last, role)
		return
	}
	d.Roles = append(d.Roles, role)
}

// Status says how far the signing of each file has come: root first, then targets, then the
// delegated roles that there are files of.
func (c Ceremony) Status() ([]Signing, error) {
	if _, err := c.newestRoot(); err != nil {
		return nil, err
	}
	roles := []string{Root, Targets}
	targets, err := readRole[metadata.TargetsType](c, Targets)
	if err != nil {
		return nil, err
	}
	if targets.Signed.Delegations != nil {
		for _, d := range targets.Signed.Delegations.Roles {
			if d.Name != Online {
				roles = append(roles, d.Name)
			}
		}
	}
	var list []Signing
	for _, role := range roles {
		s, err := c.status(role)
		if dossier.KindOf(err) == dossier.KindNotFound && role != Root && role != Targets {
			continue // nothing was said by it yet
		}
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

// status says how far the signing of a file has come.
func (c Ceremony) status(role string) (Signing, error) {
	root, err := readRole[metadata.RootType](c, Root)
	if err != nil {
		return Signing{}, err
	}
	if role == Root {
		s := signing(Root, root.Signed.Version, root.Signed, root.Signed.Roles[Root].KeyIDs, root.Signed.Roles[Root].Threshold, root)
		if root.Signed.Version > 1 {
			body, err := c.file(fileOfRoot(root.Signed.Version-1), Root)
			if err != nil {
				return s, err
			}
			old, err := parse[metadata.RootType](Root, body)
			if err != nil {
				return s, err
			}
			before := signing(Root, root.Signed.Version, old.Signed, old.Signed.Roles[Root].KeyIDs, old.Signed.Roles[Root].Threshold, root)
			s.Before = &before
			s.Whole = s.Whole && before.Whole
		}
		s.Expires = root.Signed.Expires
		return s, nil
	}
	m, err := readRole[metadata.TargetsType](c, role)
	if err != nil {
		return Signing{}, err
	}
	if role == Targets {
		r := root.Signed.Roles[Targets]
		s := signing(role, m.Signed.Version, root.Signed, r.KeyIDs, r.Threshold, m)
		s.Expires = m.Signed.Expires
		return s, nil
	}
	return c.delegatedStatus(role, m)
}

func (c Ceremony) delegatedStatus(role string, m *metadata.Metadata[metadata.TargetsType]) (Signing, error) {
	if err := c.delegated(role); err != nil {
		return Signing{}, err
	}
	targets, err := readRole[metadata.TargetsType](c, Targets)
	if err != nil {
		return Signing{}, err
	}
	d := targets.Signed.Delegations
	i := slices.IndexFunc(d.Roles, func(r metadata.DelegatedRole) bool { return r.Name == role })
	keys := metadata.RootType{Keys: d.Keys}
	s := signing(role, m.Signed.Version, keys, d.Roles[i].KeyIDs, d.Roles[i].Threshold, m)
	s.Expires = m.Signed.Expires
	return s, nil
}

// signing finds which of the keys of a role have signed a file.
func signing[T metadata.Roles](role string, version int64, keys metadata.RootType, ids []string, threshold int, m *metadata.Metadata[T]) Signing {
	s := Signing{Role: role, Version: version, Threshold: threshold, Signed: []string{}}
	for _, id := range ids {
		// A delegator of this one key, as go-tuf verifies.
		one := metadata.Root()
		one.Signed.Keys = keys.Keys
		one.Signed.Roles = map[string]*metadata.Role{role: {KeyIDs: []string{id}, Threshold: 1}}
		if one.VerifyDelegate(role, m) == nil {
			s.Signed = append(s.Signed, id)
		} else {
			s.Missing = append(s.Missing, id)
		}
	}
	s.Whole = len(s.Signed) >= threshold
	return s
}
