// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package notary1

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/pattern"
	"dossier.dev/dossier/internal/tuf"
)

// The roles of Notary.
const (
	roleRoot      = "root"
	roleTargets   = "targets"
	roleSnapshot  = "snapshot"
	roleTimestamp = "timestamp"
	// RoleReleases is the delegated role whose tags Docker takes before those of targets. What other
	// delegated roles say, it takes for nobody's but the signer's opinion.
	RoleReleases = "targets/releases"
)

// Limits.
const (
	maxRoles = 100 // delegated roles
	maxNest  = 4   // levels of them
)

var rolePattern = pattern.New(`^targets(/[a-z0-9_-]{1,64}){1,4}$`)

// Options say how a collection is read.
type Options struct {
	Name    string   // of the repository, as its root must name it: docker.io/library/nginx
	Roots   []string // IDs of keys of the root, one of which must have signed it; none: whoever has
	Expired bool     // read also what is past its time
	Now     time.Time
}

// Collection is what is signed of one repository.
type Collection struct {
	Name    string    `json:"name"`
	Root    []string  `json:"root"`              // IDs of the keys that have signed the root
	Expires time.Time `json:"expires"`           // the first of its files
	Expired []string  `json:"expired,omitempty"` // what is past its time: roles, and "certificate"
	Tags    []Tag     `json:"tags"`
}

// Tag is what a tag is signed to mean.
type Tag struct {
	Tag     string         `json:"tag"`
	Digest  dossier.Digest `json:"digest"`
	Length  int64          `json:"length"`            // of the manifest, in bytes
	Role    string         `json:"role"`              // that Docker takes it from: targets/releases or targets
	Keys    []string       `json:"keys"`              // IDs of those that have signed that role
	Signers []string       `json:"signers,omitempty"` // delegated roles that say the same
}

// Read reads a collection and verifies it from its root on.
//
// KindDenied: it does not verify; the error says what. KindInvalid, KindLimit: it is no such metadata. Else errors are
// those of the source.
func Read(ctx context.Context, from Source, o Options) (Collection, error) {
	r := &reader{Options: o, from: from, c: Collection{Name: o.Name, Tags: []Tag{}}, read: map[string]*targets{}}
	for _, step := range []func(context.Context) error{r.root, r.timestamp, r.snapshot, r.allTargets} {
		if err := step(ctx); err != nil {
			return Collection{}, err
		}
	}
	r.collect()
	return r.c, nil
}

// envelope is a file of metadata.
type envelope struct {
	Signed     json.RawMessage `json:"signed"`
	Signatures []struct {
		KeyID  string `json:"keyid"`
		Method string `json:"method"`
		Sig    []byte `json:"sig"`
	} `json:"signatures"`
}

// role is who may sign.
type role struct {
	Name      string   `json:"name,omitempty"`
	KeyIDs    []string `json:"keyids"`
	Threshold int      `json:"threshold"`
	Paths     []string `json:"paths,omitempty"`
}

// meta is what one file says of another.
type meta struct {
	Hashes map[string][]byte `json:"hashes"`
	Length int64             `json:"length"`
}

// common is what all files have.
type common struct {
	Type    string    `json:"_type"`
	Version int64     `json:"version"`
	Expires time.Time `json:"expires"`
}

// targets is the file of targets or of a delegated role.
type targets struct {
	common
	Targets     map[string]meta `json:"targets"`
	Delegations struct {
		Keys  map[string]key `json:"keys"`
		Roles []role         `json:"roles"`
	} `json:"delegations"`

	signedBy []string
	paths    []string // prefixes of tags that it may speak of; nil: all
}

type reader struct {
	Options
	from Source
	c    Collection

	keys     map[string]key  // of the root
	roles    map[string]role // of the root
	rootBody []byte
	stamp    map[string]meta
	snap     map[string]meta
	read     map[string]*targets
	order    []string // of what was read
}

func denied(role, format string, args ...any) error {
	return &dossier.Error{Kind: dossier.KindDenied, Op: op, Subject: role, Err: fmt.Errorf(format, args...)}
}

func invalid(role string, err error) error {
	return &dossier.Error{Kind: dossier.KindInvalid, Op: op, Subject: role, Err: err}
}

// open parses a file of a type, and checks its signatures. It returns the IDs of the keys that have signed.
func (r *reader) open(name string, body []byte, by role, keys map[string]key, into any) ([]string, error) {
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, invalid(name, err)
	}
	message, err := canonical(e.Signed)
	if err != nil {
		return nil, invalid(name, err)
	}
	// What is read is what is verified: the canonical form.
	var c common
	if err := errors.Join(json.Unmarshal(message, &c), json.Unmarshal(message, into)); err != nil {
		return nil, invalid(name, err)
	}
	want := strings.ToUpper(name[:1]) + name[1:]
	if rolePattern.MatchString(name) {
		want = "Targets"
	}
	if c.Type != want {
		return nil, invalid(name, fmt.Errorf("it is of type %.40q, want %q", c.Type, want))
	}
	signed, err := e.signers(message, by, keys)
	if err != nil {
		return nil, denied(name, "%w", err)
	}
	if by.Threshold < 1 || len(signed) < by.Threshold {
		return nil, denied(name, "%d keys have signed, %d must", len(signed), by.Threshold)
	}
	if c.Expires.Before(r.Now) {
		if !r.Expired {
			return nil, &dossier.Error{Kind: dossier.KindDenied, Op: op, Subject: name, Err: fmt.Errorf("it expired at %s", c.Expires.UTC().Format(time.RFC3339)),
				Hint: "--expired reads it nevertheless: who stands between, or has an old copy, could then give an old state"}
		}
		r.c.Expired = append(r.c.Expired, name)
	}
	if r.c.Expires.IsZero() || c.Expires.Before(r.c.Expires) {
		r.c.Expires = c.Expires.UTC()
	}
	return signed, nil
}

// signers returns the IDs of the keys of a role that have signed, each key once, under whatever names.
func (e *envelope) signers(message []byte, by role, keys map[string]key) ([]string, error) {
	seen := map[string]bool{}
	var ids []string
	for _, s := range e.Signatures {
		k, ok := keys[s.KeyID]
		if !ok || !slices.Contains(by.KeyIDs, s.KeyID) {
			continue
		}
		if k.id() != s.KeyID {
			return nil, fmt.Errorf("the key under the ID %.8s has another ID", s.KeyID)
		}
		public, name, err := k.public()
		if err != nil || seen[name] || verify(public, s.Method, message, s.Sig) != nil {
			continue
		}
		seen[name] = true
		ids = append(ids, s.KeyID)
	}
	return ids, nil
}

// check compares a file with what another says of it.
func (m meta) check(body []byte) error {
	if m.Length != int64(len(body)) {
		return fmt.Errorf("it has %d bytes, want %d", len(body), m.Length)
	}
	known := 0
	for algorithm, want := range m.Hashes {
		var sum []byte
		switch algorithm {
		case "sha256":
			s := sha256.Sum256(body)
			sum = s[:]
		case "sha512":
			s := sha512.Sum512(body)
			sum = s[:]
		default:
			continue
		}
		known++
		if subtle.ConstantTimeCompare(sum, want) != 1 {
			return errors.New("its " + algorithm + " digest is another")
		}
	}
	if known == 0 {
		return errors.New("no digest that is known is given of it")
	}
	return nil
}

// root reads the root, which its own keys have signed, and checks whose it is.
func (r *reader) root(ctx context.Context) error {
	body, err := r.from.Fetch(ctx, roleRoot, tuf.MaxRoot)
	if err != nil {
		return err
	}
	// Who may sign it stands in it; what that is worth, Roots says.
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil {
		return invalid(roleRoot, err)
	}
	message, err := canonical(e.Signed)
	if err != nil {
		return invalid(roleRoot, err)
	}
	type rootFile struct {
		Keys  map[string]key  `json:"keys"`
		Roles map[string]role `json:"roles"`
	}
	var claimed, root rootFile
	if err := json.Unmarshal(message, &claimed); err != nil {
		return invalid(roleRoot, err)
	}
	if r.c.Root, err = r.open(roleRoot, body, claimed.Roles[roleRoot], claimed.Keys, &root); err != nil {
		return err
	}
	r.rootBody = body
	r.keys, r.roles = root.Keys, root.Roles
	if err := r.checkCertificates(); err != nil {
		return err
	}
	if len(r.Roots) > 0 && !slices.ContainsFunc(r.c.Root, func(id string) bool { return slices.Contains(r.Roots, id) }) {
		return denied(roleRoot, "it is signed by %s, which is none of the keys that are trusted", strings.Join(r.c.Root, ", "))
	}
	return nil
}

// checkCertificates checks that a root whose keys are certificates is that of the repository: they name it.
func (r *reader) checkCertificates() error {
	named, live := false, false
	for _, id := range r.c.Root {
		cert, err := r.keys[id].certificate()
		if err != nil {
			return invalid(roleRoot, err)
		}
		if cert == nil {
			named, live = true, true // a plain key names nobody
			continue
		}
		if cert.Subject.CommonName == r.Name {
			named = true
			live = live || !r.Now.After(cert.NotAfter) && !r.Now.Before(cert.NotBefore)
		}
	}
	if !named {
		return denied(roleRoot, "its certificates do not name %s", r.Name)
	}
	if !live {
		if !r.Expired {
			return &dossier.Error{Kind: dossier.KindDenied, Op: op, Subject: roleRoot, Err: errors.New("the certificate of its key has expired"), Hint: "--expired reads it nevertheless"}
		}
		r.c.Expired = append(r.c.Expired, "certificate")
	}
	return nil
}

func (r *reader) timestamp(ctx context.Context) error {
	body, err := r.from.Fetch(ctx, roleTimestamp, tuf.MaxTimestamp)
	if err != nil {
		return err
	}
	var f struct {
		Meta map[string]meta `json:"meta"`
	}
	_, err = r.open(roleTimestamp, body, r.roles[roleTimestamp], r.keys, &f)
	r.stamp = f.Meta
	return err
}

func (r *reader) snapshot(ctx context.Context) error {
	body, err := r.from.Fetch(ctx, roleSnapshot, tuf.MaxSnapshot)
	if err != nil {
		return err
	}
	if err := r.stamp[roleSnapshot].check(body); err != nil {
		return denied(roleSnapshot, "it is not the one that the timestamp names: %w", err)
	}
	var f struct {
		Meta map[string]meta `json:"meta"`
	}
	if _, err := r.open(roleSnapshot, body, r.roles[roleSnapshot], r.keys, &f); err != nil {
		return err
	}
	r.snap = f.Meta
	if err := r.snap[roleRoot].check(r.rootBody); err != nil {
		return denied(roleRoot, "it is not the one that the snapshot names: %w", err)
	}
	return nil
}

// allTargets reads targets, and the delegated roles below it that the snapshot names.
func (r *reader) allTargets(ctx context.Context) error {
	if _, ok := r.snap[roleTargets]; !ok {
		return denied(roleTargets, "the snapshot does not name it")
	}
	if err := r.one(ctx, roleTargets, r.roles[roleTargets], r.keys, nil); err != nil {
		return err
	}
	for at := 0; at < len(r.order); at++ {
		parent := r.order[at]
		from := r.read[parent]
		for _, d := range from.Delegations.Roles {
			if !rolePattern.MatchString(d.Name) || d.Name[:strings.LastIndexByte(d.Name, '/')] != parent {
				return denied(parent, "it delegates to %.100q, which is not a role below it", d.Name)
			}
			if r.read[d.Name] != nil {
				return denied(parent, "it delegates to %s twice", d.Name)
			}
			if _, ok := r.snap[d.Name]; !ok {
				continue // it has signed nothing yet
			}
			if len(r.order) > maxRoles || strings.Count(d.Name, "/") > maxNest {
				return &dossier.Error{Kind: dossier.KindLimit, Op: op, Subject: d.Name, Err: fmt.Errorf("there are more than %d delegated roles", maxRoles)}
			}
			if d.Paths == nil {
				d.Paths = []string{}
			}
			if err := r.one(ctx, d.Name, d, from.Delegations.Keys, from); err != nil {
				return err
			}
		}
	}
	return nil
}

// one reads the file of one role. parent is who delegates to it; nil: the root.
func (r *reader) one(ctx context.Context, name string, by role, keys map[string]key, parent *targets) error {
	body, err := r.from.Fetch(ctx, name, tuf.MaxTargets)
	if err != nil {
		return err
	}
	if err := r.snap[name].check(body); err != nil {
		return denied(name, "it is not the one that the snapshot names: %w", err)
	}
	t := &targets{}
	if t.signedBy, err = r.open(name, body, by, keys, t); err != nil {
		return err
	}
	if parent != nil {
		t.paths = by.Paths
		// A role speaks of no more than who delegates to it.
		t.paths = slices.DeleteFunc(slices.Clone(t.paths), func(p string) bool { return !parent.may(p) })
	}
	r.read[name] = t
	r.order = append(r.order, name)
	return nil
}

// may reports whether a role may speak of a tag, or of all that begin so.
func (t *targets) may(tag string) bool {
	return t.paths == nil || slices.ContainsFunc(t.paths, func(p string) bool { return strings.HasPrefix(tag, p) })
}

// collect lists the tags that Docker would take: of targets/releases before those of targets.
func (r *reader) collect() {
	seen := map[string]int{}
	for _, first := range []string{RoleReleases, roleTargets} {
		t := r.read[first]
		if t == nil {
			continue
		}
		for name, m := range t.Targets {
			if _, _, err := tuf.ParseTarget("x:" + name); err != nil || !t.may(name) {
				continue // Docker asks for no such tag
			}
			d, ok := m.digest()
			if _, there := seen[name]; there || !ok {
				continue
			}
			seen[name] = len(r.c.Tags)
			r.c.Tags = append(r.c.Tags, Tag{Tag: name, Digest: d, Length: m.Length, Role: first, Keys: t.signedBy})
		}
	}
	for _, role := range r.order {
		if role == roleTargets || role == RoleReleases {
			continue
		}
		for name, m := range r.read[role].Targets {
			i, there := seen[name]
			if d, ok := m.digest(); there && ok && r.read[role].may(name) && d == r.c.Tags[i].Digest && m.Length == r.c.Tags[i].Length {
				r.c.Tags[i].Signers = append(r.c.Tags[i].Signers, role)
			}
		}
	}
	slices.SortFunc(r.c.Tags, func(a, b Tag) int { return cmp.Compare(a.Tag, b.Tag) })
	slices.Sort(r.c.Expired)
	r.c.Expired = slices.Compact(r.c.Expired)
}

// digest returns the digest of a manifest.
func (m meta) digest() (dossier.Digest, bool) {
	sum, ok := m.Hashes["sha256"]
	if !ok || len(sum) != sha256.Size || m.Length < 1 || bytes.Equal(sum, make([]byte, sha256.Size)) {
		return "", false
	}
	d, err := dossier.ParseDigest(fmt.Sprintf("sha256:%x", sum))
	return d, err == nil
}
