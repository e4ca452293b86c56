// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/durable"
	"dossier.dev/dossier/internal/store"
)

// How long what owners sign holds, unless they say otherwise.
const (
	RootLife    = 365 * 24 * time.Hour
	TargetsLife = 90 * 24 * time.Hour
)

// Ceremony is a directory with the metadata that the owners of a prefix make and sign, on
// machines that need no network: N.root.json for each version of root, targets.json, and ROLE.json
// for each delegated role. It holds no private key. What is signed by too few is
// carried to the next owner as it is.
type Ceremony struct {
	Dir string
	Now func() time.Time

	point func(what string) // is told of each step that changes the directory; nil: nobody
}

// at tells that a step is about to be made.
func (c Ceremony) at(what string) {
	if c.point != nil {
		c.point(what)
	}
}

// Init says how a repository begins.
type Init struct {
	Prefix             string
	RootKeys           [][]byte // public, PEM
	RootThreshold      int
	TargetsKeys        [][]byte // public, PEM
	TargetsThreshold   int
	OnlineKey          []byte // public, PEM: of the server
	RootLife, RoleLife time.Duration
}

const opCeremony = "preparing metadata"

// Init makes the first root and targets, which nobody has signed yet.
// KindConflict: there are some.
func (c Ceremony) Init(i Init) error {
	if err := CheckPrefix(i.Prefix); err != nil {
		return err
	}
	if n, err := c.newestRoot(); err == nil || dossier.KindOf(err) != dossier.KindNotFound {
		return errors.Join(err, &dossier.Error{Kind: dossier.KindConflict, Op: opCeremony, Subject: c.Dir,
			Err: fmt.Errorf("it holds version %d of a root already", n), Hint: "choose another directory"})
	}
	root := metadata.Root(instant(c.Now().Add(orLife(i.RootLife, RootLife))))
	root.Signed.UnrecognizedFields = map[string]any{fieldPrefix: i.Prefix}
	for role, keys := range map[string][][]byte{Root: i.RootKeys, Targets: i.TargetsKeys, Snapshot: {i.OnlineKey}, Timestamp: {i.OnlineKey}} {
		r := root.Signed.Roles[role]
		for _, text := range keys {
			key, id, err := ParsePublicKey(text)
			if err != nil {
				return fmt.Errorf("key of %s: %w", role, err)
			}
			root.Signed.Keys[id] = key
			r.KeyIDs = append(r.KeyIDs, id)
		}
	}
	root.Signed.Roles[Root].Threshold, root.Signed.Roles[Targets].Threshold = i.RootThreshold, i.TargetsThreshold
	if err := checkRoot(root, i.Prefix); err != nil {
		return err
	}
	targets := metadata.Targets(instant(c.Now().Add(orLife(i.RoleLife, TargetsLife))))
	if err := durable.MkdirAll(c.Dir, 0o755); err != nil {
		return storage(c.Dir, err)
	}
	// Root comes last: without one there is nothing, and who was interrupted begins again.
	if err := writeRole(c, Targets+".json", Targets, targets); err != nil {
		return err
	}
	return writeRole(c, fileOfRoot(1), Root, root)
}

func orLife(life, usual time.Duration) time.Duration {
	if life > 0 {
		return life
	}
	return usual
}

func storage(path string, err error) error {
	return &dossier.Error{Kind: dossier.KindStorage, Op: opCeremony, Subject: path, Err: err}
}

func fileOfRoot(version int64) string { return fmt.Sprintf("%d.root.json", version) }

// newestRoot returns the greatest version of root in the directory. KindNotFound.
func (c Ceremony) newestRoot() (int64, error) {
	n := int64(0)
	for {
		_, err := os.Stat(filepath.Join(c.Dir, fileOfRoot(n+1)))
		switch {
		case err == nil:
			n++
		case !errors.Is(err, fs.ErrNotExist):
			return 0, storage(c.Dir, err)
		case n == 0:
			return 0, &dossier.Error{Kind: dossier.KindNotFound, Op: opCeremony, Subject: c.Dir, Err: errors.New("there is no root in it"),
				Hint: "begin with dossier tuf init, or name the directory with --dir"}
		default:
			return n, nil
		}
	}
}

// file reads a file of the directory. KindNotFound.
func (c Ceremony) file(name, role string) ([]byte, error) {
	f, err := os.Open(filepath.Join(c.Dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, dossier.Errorf(dossier.KindNotFound, opCeremony, name, "there is no such file in "+c.Dir)
	}
	if err != nil {
		return nil, storage(name, err)
	}
	defer f.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(io.LimitReader(f, limitOf(role)+1)); err != nil {
		return nil, storage(name, err)
	}
	return b.Bytes(), nil
}

// nameOf returns the file and the version of root that a role is written to.
func (c Ceremony) nameOf(role string) (string, error) {
	if role != Root {
		if role != Targets {
			if err := checkRole(role); err != nil {
				return "", err
			}
		}
		return role + ".json", nil
	}
	n, err := c.newestRoot()
	return fileOfRoot(n), err
}

func readRole[T metadata.Roles](c Ceremony, role string) (*metadata.Metadata[T], error) {
	name, err := c.nameOf(role)
	if err != nil {
		return nil, err
	}
	body, err := c.file(name, role)
	if err != nil {
		return nil, err
	}
	return parse[T](role, body)
}

// writeRole writes a file whole or not at all.
func writeRole[T metadata.Roles](c Ceremony, name, role string, m *metadata.Metadata[T]) error {
	f, err := encode(role, m)
	if err != nil {
		return err
	}
	return c.write(name, f.Body)
}

func (c Ceremony) write(name string, body []byte) error {
	c.at("making " + name)
	f, err := os.CreateTemp(c.Dir, ".tuf-*")
	if err != nil {
		return storage(name, err)
	}
	c.at("writing " + name)
	_, err = f.Write(body)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		c.at("renaming " + name)
		err = os.Rename(f.Name(), filepath.Join(c.Dir, name))
	}
	if err == nil {
		c.at("renamed " + name)
		err = durable.Sync(c.Dir)
	}
	if err != nil {
		return errors.Join(storage(name, err), ignoreMissing(os.Remove(f.Name())))
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Prefix returns what the directory is for.
func (c Ceremony) Prefix() (string, error) {
	root, err := readRole[metadata.RootType](c, Root)
	if err != nil {
		return "", err
	}
	p, _ := root.Signed.UnrecognizedFields[fieldPrefix].(string)
	return p, CheckPrefix(p)
}

// Signing says how far the signing of a file has come.
type Signing struct {
	Role      string    `json:"role"`
	Version   int64     `json:"version"`
	Expires   time.Time `json:"expires"`
	Threshold int       `json:"threshold"`
	Signed    []string  `json:"signed"`            // IDs of the keys that have signed
	Missing   []string  `json:"missing,omitempty"` // IDs of those that may
	// Before is the same for the owners of the version of root before it, who must sign as well.
	Before *Signing `json:"before,omitempty"`
	Whole  bool     `json:"whole"` // enough have signed
}

// Sign adds the signature of a key to a file: root, targets, or a delegated role. KindDenied: the key may
// not sign it.
func (c Ceremony) Sign(role string, s Signer) (Signing, error) {
	name, err := c.nameOf(role)
	if err != nil {
		return Signing{}, err
	}
	before, err := c.status(role)
	if err != nil {
		return Signing{}, err
	}
	may := slices.Concat(before.Signed, before.Missing)
	if before.Before != nil {
		may = slices.Concat(may, before.Before.Signed, before.Before.Missing)
	}
	if !slices.Contains(may, s.ID) {
		return Signing{}, &dossier.Error{Kind: dossier.KindDenied, Op: "signing metadata", Subject: role,
			Err: fmt.Errorf("key %s is not one of its keys", short(s.ID)), Hint: "dossier tuf status says which keys may sign"}
	}
	if role == Root {
		err = addSignature[metadata.RootType](c, name, role, s)
	} else {
		err = addSignature[metadata.TargetsType](c, name, role, s)
	}
	if err != nil {
		return Signing{}, err
	}
	return c.status(role)
}

func addSignature[T metadata.Roles](c Ceremony, name, role string, s Signer) error {
	m, err := readRole[T](c, role)
	if err != nil {
		return err
	}
	m.Signatures = slices.DeleteFunc(m.Signatures, func(old metadata.Signature) bool { return old.KeyID == s.ID })
	if _, err := m.Sign(s.Signer); err != nil {
		return &dossier.Error{Kind: dossier.KindInternal, Op: "signing metadata", Subject: role, Err: err}
	}
	return writeRole(c, name, role, m)
}

// Merge adds to root the signatures of another copy of it, which must say the same.
func (c Ceremony) Merge(other []byte) (Signing, error) {
	name, err := c.nameOf(Root)
	if err != nil {
		return Signing{}, err
	}
	mine, err := readRole[metadata.RootType](c, Root)
	if err != nil {
		return Signing{}, err
	}
	theirs, err := parse[metadata.RootType](Root, other)
	if err != nil {
		return Signing{}, err
	}
	a, b := *mine, *theirs
	a.ClearSignatures()
	b.ClearSignatures()
	x, errA := a.ToBytes(false)
	y, errB := b.ToBytes(false)
	if err := errors.Join(errA, errB); err != nil {
		return Signing{}, err
	}
	if !bytes.Equal(x, y) {
		return Signing{}, dossier.Errorf(dossier.KindConflict, "merging signatures", name, "the two copies do not say the same")
	}
	for _, s := range theirs.Signatures {
		if !slices.ContainsFunc(mine.Signatures, func(old metadata.Signature) bool { return old.KeyID == s.KeyID }) {
			mine.Signatures = append(mine.Signatures, s)
		}
	}
	if err := writeRole(c, name, Root, mine); err != nil {
		return Signing{}, err
	}
	return c.status(Root)
}

func short(id string) string { return id[:min(8, len(id))] }

// Publication returns what is to be published: all versions of root, and all roles that are whole. Roles that
// are not are named in missing.
func (c Ceremony) Publication() (p Publication, missing []Signing, err error) {
	n, err := c.newestRoot()
	if err != nil {
		return p, nil, err
	}
	list, err := c.Status()
	if err != nil {
		return p, nil, err
	}
	p.Roles = map[string][]byte{}
	for _, s := range list {
		if !s.Whole {
			missing = append(missing, s)
			continue
		}
		if s.Role == Root {
			continue
		}
		name, err := c.nameOf(s.Role)
		if err != nil {
			return p, nil, err
		}
		if p.Roles[s.Role], err = c.file(name, s.Role); err != nil {
			return p, nil, err
		}
	}
	for v := int64(1); v <= n; v++ {
		body, err := c.file(fileOfRoot(v), Root)
		if err != nil {
			return p, nil, err
		}
		if v < n || list[0].Whole {
			p.Roots = append(p.Roots, body)
		}
	}
	return p, missing, nil
}

// Meaning is what a tag is to mean.
type Meaning struct {
	Target string // REPOSITORY:TAG
	Digest dossier.Digest
	Length int64 // of the manifest, in bytes
}

// AddTarget says in a role's file that a tag means a digest. It is AddTargets of one.
func (c Ceremony) AddTarget(role, target string, d dossier.Digest, length int64) error {
	return c.AddTargets(role, []Meaning{{target, d, length}})
}

// AddTargets says in a role's file what tags mean, for TargetsLife from now on. The
// version becomes the next; all signatures are gone.
func (c Ceremony) AddTargets(role string, list []Meaning) error {
	files := make(map[string]*metadata.TargetFiles, len(list))
	for _, m := range list {
		if _, _, err := ParseTarget(m.Target); err != nil {
			return err
		}
		t, err := newTarget(m.Target, m.Digest, m.Length, c.Now())
		if err != nil {
			return err
		}
		files[m.Target] = t
	}
	return c.edit(role, func(m *metadata.Metadata[metadata.TargetsType]) error {
		maps.Copy(m.Signed.Targets, files)
		return nil
	})
}

// RemoveTarget takes a tag out of a role's file. KindNotFound.
func (c Ceremony) RemoveTarget(role, target string) error {
	return c.edit(role, func(m *metadata.Metadata[metadata.TargetsType]) error {
		if _, ok := m.Signed.Targets[target]; !ok {
			return dossier.Errorf(dossier.KindNotFound, opCeremony, target, "the role "+role+" does not speak of it")
		}
		delete(m.Signed.Targets, target)
		return nil
	})
}

// Renew makes the next version of a file, that holds longer. Nothing else changes.
func (c Ceremony) Renew(role string) error {
	if role == Root {
		return c.editRoot(func(*metadata.RootType) error { return nil })
	}
	return c.edit(role, func(*metadata.Metadata[metadata.TargetsType]) error { return nil })
}

// edit changes the file of targets or of a delegated role. A file that nobody has signed stays of
// its version.
func (c Ceremony) edit(role string, f func(*metadata.Metadata[metadata.TargetsType]) error) error {
	name, err := c.nameOf(role)
	if err != nil {
		return err
	}
	m, err := readRole[metadata.TargetsType](c, role)
	switch {
	case role != Targets && dossier.KindOf(err) == dossier.KindNotFound:
		if err := c.delegated(role); err != nil {
			return err
		}
		m = metadata.Targets()
	case err != nil:
		return err
	case len(m.Signatures) > 0:
		m.Signed.Version++
	}
	if err := f(m); err != nil {
		return err
	}
	m.Signed.Expires = instant(c.Now().Add(TargetsLife))
	m.ClearSignatures()
	return writeRole(c, name, role, m)
}

// delegated returns a KindNotFound error unless targets delegate to a role.
func (c Ceremony) delegated(role string) error {
	m, err := readRole[metadata.TargetsType](c, Targets)
	if err != nil {
		return err
	}
	if d := m.Signed.Delegations; d == nil || !slices.ContainsFunc(d.Roles, func(r metadata.DelegatedRole) bool { return r.Name == role }) {
		return &dossier.Error{Kind: dossier.KindNotFound, Op: opCeremony, Subject: role, Err: errors.New("targets do not delegate to it"),
			Hint: "dossier tuf delegate " + role + " makes it"}
	}
	return nil
}

// Update takes over a file that was published and is newer than the one in the directory, which must not hold
// changes: so that owners on different machines go on from one another.
func (c Ceremony) Update(f store.TUFFile) error {
	name, err := c.nameOf(f.Role)
	if err != nil {
		return err
	}
	return c.write(name, f.Body)
}
