// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// How many bytes a file of metadata has at most, as the clients of others have it.
const (
	MaxRoot      = 512_000
	MaxTimestamp = 16_384
	MaxSnapshot  = 2_000_000
	MaxTargets   = 5_000_000
)

// limitOf returns how many bytes the file of a role has at most.
func limitOf(role string) int64 {
	switch role {
	case Root:
		return MaxRoot
	case Timestamp:
		return MaxTimestamp
	case Snapshot:
		return MaxSnapshot
	}
	return MaxTargets
}

// Fields beside those of the specification, which all clients sign and verify as they are.
const (
	fieldPrefix   = "x-dossier-prefix"    // of root: the prefix that it is for
	fieldSignedAt = "x-dossier-signed-at" // of timestamp: RFC 3339
)

// signed is what the files of all roles have in common, and what of them may be
// null in JSON, which go-tuf does not expect.
type signed struct {
	Type        string    `json:"_type"`
	Version     int64     `json:"version"`
	Expires     time.Time `json:"expires"`
	Meta        entries   `json:"meta"`
	Targets     entries   `json:"targets"`
	Keys        entries   `json:"keys"`
	Roles       entries   `json:"roles"`
	Delegations struct {
		Keys entries `json:"keys"`
	} `json:"delegations"`
}

// entries are the members of an object; nil: null.
type entries map[string]*json.RawMessage

// header reads what all files have in common, and checks that it is of a role.
func header(role string, body []byte) (signed, error) {
	const op = "reading metadata"
	var file struct {
		Signed signed `json:"signed"`
	}
	fail := func(kind dossier.Kind, why error) (signed, error) {
		return signed{}, &dossier.Error{Kind: kind, Op: op, Subject: role, Err: why}
	}
	if limit := limitOf(role); int64(len(body)) > limit {
		return fail(dossier.KindLimit, fmt.Errorf("it has more than %d bytes", limit))
	}
	if err := json.Unmarshal(body, &file); err != nil {
		return fail(dossier.KindInvalid, err)
	}
	s := file.Signed
	for _, list := range []entries{s.Meta, s.Targets, s.Keys, s.Roles, s.Delegations.Keys} {
		for name, v := range list {
			if v == nil {
				return fail(dossier.KindInvalid, fmt.Errorf("%.100q is null", name))
			}
		}
	}
	want := role
	if !isTopLevel(role) {
		want = Targets
	}
	switch {
	case s.Type != want:
		return fail(dossier.KindInvalid, fmt.Errorf("it is of type %.40q, want %q", s.Type, want))
	case role == Timestamp && s.Meta[Snapshot+".json"] == nil:
		return fail(dossier.KindInvalid, errors.New("it names no snapshot"))
	case s.Version < 1:
		return fail(dossier.KindInvalid, errors.New("its version is not positive"))
	}
	return s, nil
}

// parse reads a file of metadata. KindInvalid, KindLimit.
func parse[T metadata.Roles](role string, body []byte) (*metadata.Metadata[T], error) {
	if _, err := header(role, body); err != nil {
		return nil, err
	}
	m, err := new(metadata.Metadata[T]).FromBytes(body)
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: "reading metadata", Subject: role, Err: err}
	}
	return m, nil
}

// sign signs m with keys alone, and returns it as a file.
func sign[T metadata.Roles](role string, m *metadata.Metadata[T], signers ...Signer) (store.TUFFile, error) {
	m.ClearSignatures()
	for _, s := range signers {
		if _, err := m.Sign(s.Signer); err != nil {
			return store.TUFFile{}, &dossier.Error{Kind: dossier.KindInternal, Op: "signing metadata", Subject: role, Err: err}
		}
	}
	return encode(role, m)
}

// encode writes m as a file. KindLimit: it is larger than clients take.
func encode[T metadata.Roles](role string, m *metadata.Metadata[T]) (store.TUFFile, error) {
	body, err := m.ToBytes(false)
	if err != nil {
		return store.TUFFile{}, &dossier.Error{Kind: dossier.KindInternal, Op: "writing metadata", Subject: role, Err: err}
	}
	h, err := header(role, body)
	return store.TUFFile{Role: role, Version: h.Version, Expires: dossier.Instant(h.Expires), Body: body}, err
}

// asFile returns the body of a file with what its header says.
func asFile(role string, body []byte) (store.TUFFile, error) {
	h, err := header(role, body)
	return store.TUFFile{Role: role, Version: h.Version, Expires: dossier.Instant(h.Expires), Body: bytes.Clone(body)}, err
}

// instant is a time as metadata holds it: in whole seconds (specification 4.2).
func instant(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// custom is what a target says beside digest and length.
type custom struct {
	PushedAt time.Time `json:"pushedAt,omitzero"` // when the tag came to point there
}

// newTarget returns the target for a manifest.
func newTarget(name string, d dossier.Digest, length int64, pushedAt time.Time) (*metadata.TargetFiles, error) {
	const op = "naming target"
	sum, err := hex.DecodeString(d.Hex())
	if err != nil || length < 1 {
		return nil, dossier.Errorf(dossier.KindInvalid, op, name, "a target has a digest and a length")
	}
	t := &metadata.TargetFiles{Length: length, Hashes: metadata.Hashes{d.Algorithm(): sum}, Path: name}
	text, err := json.Marshal(map[string]custom{"dossier": {PushedAt: instant(pushedAt)}})
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInternal, Op: op, Subject: name, Err: err}
	}
	t.Custom = (*json.RawMessage)(&text)
	return t, nil
}

// digestOf returns the digest of a target, the strongest that there is.
func digestOf(t *metadata.TargetFiles) (dossier.Digest, error) {
	for _, algorithm := range []string{dossier.SHA512, dossier.SHA256} {
		if sum, ok := t.Hashes[algorithm]; ok {
			return dossier.ParseDigest(algorithm + ":" + sum.String())
		}
	}
	return "", dossier.Errorf(dossier.KindInvalid, "reading target", t.Path, "it has no digest that is known here")
}

// pushedAt returns when the tag of a target came to point there; zero: it does not say.
func pushedAt(t *metadata.TargetFiles) time.Time {
	var all map[string]custom
	if t.Custom == nil || json.Unmarshal(*t.Custom, &all) != nil {
		return time.Time{}
	}
	return all["dossier"].PushedAt
}

// signedAt returns when a timestamp was signed; zero: it does not say.
func signedAt(t *metadata.Metadata[metadata.TimestampType]) time.Time {
	text, _ := t.Signed.UnrecognizedFields[fieldSignedAt].(string)
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}
