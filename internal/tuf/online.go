// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// delegatesOnline returns the delegation to the online role, or nil.
func delegatesOnline(targets *metadata.Metadata[metadata.TargetsType]) *metadata.DelegatedRole {
	if targets == nil || targets.Signed.Delegations == nil {
		return nil
	}
	roles := targets.Signed.Delegations.Roles
	if i := slices.IndexFunc(roles, func(d metadata.DelegatedRole) bool { return d.Name == Online }); i >= 0 {
		return &roles[i]
	}
	return nil
}

// putOnline publishes the online role, which delegates to bins, when the owners want
// one and there is none that the online key has signed.
func (s *state) putOnline(ctx context.Context) error {
	old, err := load[metadata.TargetsType](ctx, s.tx, s.prefix.Prefix, Online)
	if err != nil {
		return err
	}
	if s.prefix.Online = delegatesOnline(s.targets) != nil; !s.prefix.Online {
		return nil
	}
	if old != nil && s.targets.VerifyDelegate(Online, old) == nil && s.now.Add(OnlineLife/2).Before(old.Signed.Expires) {
		return nil
	}
	m := metadata.Targets(instant(s.now.Add(OnlineLife)))
	if old != nil {
		m.Signed.Version = old.Signed.Version + 1
	}
	m.Signed.Delegations = &metadata.Delegations{
		Keys:          map[string]*metadata.Key{s.online.ID: s.online.Key},
		SuccinctRoles: &metadata.SuccinctRoles{KeyIDs: []string{s.online.ID}, Threshold: 1, BitLength: binBits, NamePrefix: Online},
	}
	f, err := sign(Online, m, s.online)
	if err != nil {
		return err
	}
	return s.put(ctx, f)
}

// signsOnline reports whether the first role that may speak of a target is the online one.
func (s *state) signsOnline(target string) bool {
	if s.targets == nil || s.targets.Signed.Delegations == nil {
		return false
	}
	roles := s.targets.Signed.Delegations.GetRolesForTarget(target)
	return len(roles) > 0 && roles[0].Name == Online
}

// bin is the file that holds a target.
func bin(target string) string {
	roles := (&metadata.SuccinctRoles{BitLength: binBits, NamePrefix: Online}).GetRolesForTarget(target)
	return roles[0].Name
}

// change is what a tag of the registry means now.
type change struct {
	target string
	now    *metadata.TargetFiles // nil: nothing
}

// signMoves signs where the tags that moved point now: each bin that holds one of them is
// written once.
func (s *state) signMoves(ctx context.Context) error {
	moves, err := s.tx.TUFMoves(ctx, s.prefix.Prefix, maxMoves)
	if err != nil || len(moves) == 0 {
		return err
	}
	changes, err := s.changesOf(ctx, moves)
	if err != nil {
		return err
	}
	byBin := map[string][]change{}
	for _, c := range changes {
		if s.signsOnline(c.target) {
			byBin[bin(c.target)] = append(byBin[bin(c.target)], c)
		}
	}
	for _, name := range sortedKeys(byBin) {
		if err := s.changeBin(ctx, name, byBin[name]); err != nil {
			return err
		}
	}
	return s.tx.DoneTUF(ctx, moves)
}

// changesOf reads where tags point now, with the length of each manifest.
func (s *state) changesOf(ctx context.Context, moves []store.TUFMove) ([]change, error) {
	var tags []store.NameTag
	seen := map[store.NameTag]bool{}
	for _, m := range moves {
		if !seen[m.NameTag] {
			seen[m.NameTag] = true
			tags = append(tags, m.NameTag)
		}
	}
	open, err := s.tx.TagsAt(ctx, tags, time.Time{})
	if err != nil {
		return nil, err
	}
	points := make(map[store.NameTag]dossier.TagInterval, len(open))
	for _, i := range open {
		points[store.NameTag{Name: i.Name, Tag: i.Tag}] = i
	}
	var changes []change
	for _, tag := range tags {
		path := strings.TrimPrefix(tag.Name, s.config.Registry+"/")
		target, err := TargetName(path, tag.Tag)
		if err != nil {
			continue // no client can ask for it
		}
		c := change{target: target}
		if i, ok := points[tag]; ok {
			m, err := s.tx.Manifest(ctx, path, i.Digest)
			if dossier.KindOf(err) == dossier.KindNotFound {
				m.Size = 0 // gone: the tag means nothing
			} else if err != nil {
				return nil, err
			}
			if m.Size > 0 {
				if c.now, err = newTarget(target, i.Digest, m.Size, i.From); err != nil {
					return nil, err
				}
			}
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// changeBin signs a bin with what changed in it. A bin that there is not yet comes to be.
func (s *state) changeBin(ctx context.Context, name string, changes []change) error {
	m, err := load[metadata.TargetsType](ctx, s.tx, s.prefix.Prefix, name)
	if err != nil {
		return err
	}
	if m == nil {
		m = metadata.Targets(s.now)
		m.Signed.Version = 0
	}
	for _, c := range changes {
		delete(m.Signed.Targets, c.target)
		if c.now != nil {
			m.Signed.Targets[c.target] = c.now
		}
	}
	return s.signBin(ctx, name, m)
}

func (s *state) signBin(ctx context.Context, name string, m *metadata.Metadata[metadata.TargetsType]) error {
	m.Signed.Version++
	m.Signed.Expires = instant(s.now.Add(OnlineLife))
	f, err := sign(name, m, s.online)
	if err != nil {
		return err
	}
	return s.put(ctx, f)
}

// renewBins signs again the bins that expire within half their life, and the online role,
// some at a time.
func (s *state) renewBins(ctx context.Context) error {
	if !s.prefix.Online {
		return nil
	}
	if err := s.putOnline(ctx); err != nil {
		return err
	}
	list, err := s.tx.TUFRoles(ctx, s.prefix.Prefix, dossier.Instant(s.now.Add(OnlineLife/2)), maxRenewed)
	if err != nil {
		return err
	}
	for _, f := range list {
		if !binPattern.MatchString(f.Role) {
			continue
		}
		if err := s.changeBin(ctx, f.Role, nil); err != nil {
			return err
		}
	}
	return nil
}

// resignBins signs all bins again, with a new key.
func (s *state) resignBins(ctx context.Context) error {
	list, err := s.tx.TUFRoles(ctx, s.prefix.Prefix, time.Time{}, 1<<binBits+1000)
	if err != nil {
		return err
	}
	for _, f := range list {
		if binPattern.MatchString(f.Role) {
			if err := s.changeBin(ctx, f.Role, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
