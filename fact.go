// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// FactKind names what a fact is about and so the form of its body
// (docs/spec/facts.md).
type FactKind string

// The kinds of fact, with their subject and body.
const (
	// FactIndex is an image index. Subject: its digest. Body: its exact bytes.
	FactIndex FactKind = "image.index"
	// FactManifest is an image manifest. Subject: its digest. Body: its exact bytes.
	FactManifest FactKind = "image.manifest"
	// FactConfig is an image configuration. Subject: its digest. Body: its exact bytes.
	FactConfig FactKind = "image.config"
	// FactGoBuild is the Go build information of the image's entrypoint.
	// Subject: the manifest. Body: GoBuild as JSON.
	FactGoBuild FactKind = "go.build"
	// FactLayer is what one layer holds. Subject: the layer, as transferred.
	// Body: JSON compressed by zstd, see package contents.
	FactLayer FactKind = "layer.contents"
	// FactContents is what the layers of an image hold, laid over one another.
	// Subject: the manifest. Body: Contents as JSON.
	FactContents FactKind = "image.contents"
	// FactBill is a bill of materials that others wrote. Subject: the document,
	// as attached. Body: its exact bytes.
	FactBill FactKind = "bill"
	// FactAttached says that a bill of materials was found attached to an image.
	// Subject: the image or index. Body: AttachedBill as JSON.
	FactAttached FactKind = "image.bill"
	// FactVEX is a VEX document that others wrote. Subject: the document, as
	// attached. Body: its exact bytes.
	FactVEX FactKind = "vex"
	// FactAttachedVEX says that a VEX document was found attached to an image.
	// Subject: the image or index. Body: AttachedVEX as JSON.
	FactAttachedVEX FactKind = "image.vex"
	// FactSignature is something signed about an image. Subject: the image or index
	// that it is about. Body: the evidence, as package trust takes it, as JSON.
	FactSignature FactKind = "image.signature"
	// FactStatement is an in-toto statement about an image that nobody signed. Subject: the
	// image or index. Body: AttachedStatement as JSON.
	FactStatement FactKind = "image.statement"
	// FactName says that a digest was found under a repository name.
	// Subject: what was found. Body: NameBody as JSON.
	FactName FactKind = "image.name"
	// FactTag says that a tag began or ceased to point at a digest.
	// Subject: that digest. Body: TagBody as JSON.
	FactTag FactKind = "image.tag"
	// FactRun says that a workload began or ceased to run a digest.
	// Subject: that digest. Body: RunBody as JSON.
	FactRun FactKind = "cluster.run"
	// FactPush says that a manifest or a blob came into the registry. Subject: its
	// digest. Body: EventBody as JSON, as for the events below.
	FactPush FactKind = "registry.push"
	// FactMount says that a blob was taken from another repository. Subject: its digest.
	FactMount FactKind = "registry.mount"
	// FactRetag says that tags were pointed at something that was there already.
	// Subject: what they point at.
	FactRetag FactKind = "registry.tag"
	// FactDelete says that a manifest, a blob or a tag was removed. Subject: what
	// was removed, or what the tag had pointed at.
	FactDelete FactKind = "registry.delete"
	// FactDamage says that the bytes of a blob were found not to be those of its
	// digest. Subject: the digest.
	FactDamage FactKind = "registry.damage"
	// FactHeal says that the bytes of a damaged blob are those of its digest again.
	FactHeal FactKind = "registry.heal"
	// FactSignedTag says that a tag was verified to mean a digest, or another one, by signed
	// metadata (docs/spec/tuf.md). Subject: the digest. Body: SignedTagBody as JSON.
	FactSignedTag FactKind = "tag.signed"
	// FactPin says who is pinned as the signer of a repository. Subject: ScopeSubject of its
	// name. Body: SignerPin as JSON.
	FactPin FactKind = "trust.pin"
	// FactRetraction takes back an earlier fact of the same subject.
	// Body: RetractionBody as JSON.
	FactRetraction FactKind = "retraction"
)

// NameBody is the body of a FactName.
type NameBody struct {
	Name string `json:"name"` // registry and repository
}

// TagBody is the body of a FactTag.
type TagBody struct {
	Name   string `json:"name"` // registry and repository
	Tag    string `json:"tag"`
	Points bool   `json:"points"` // false: no longer
}

// RunBody is the body of a FactRun.
type RunBody struct {
	Run
	Cluster string `json:"clusterName,omitempty"`
	Runs    bool   `json:"runs"` // false: no longer
}

// EventBody is the body of what somebody did in the registry.
type EventBody struct {
	Name    string      `json:"name"` // registry and repository
	Object  AuditObject `json:"object"`
	Tags    []EventTag  `json:"tags,omitempty"`
	Source  string      `json:"source,omitempty"` // the repository that a blob was mounted from, or healed from
	Size    int64       `json:"size,omitempty"`   // in bytes, of what came in
	Damage  string      `json:"damage,omitempty"` // what is wrong with a blob, or was
	Reason  string      `json:"reason,omitempty"` // why the registry itself did it
	Caller  AuditCaller `json:"caller"`
	Address string      `json:"address,omitempty"`
	Client  string      `json:"client,omitempty"`
}

// EventTag is a tag that an event named.
type EventTag struct {
	Tag   string `json:"tag"`
	Was   Digest `json:"was,omitempty"`   // where it pointed before
	Moved bool   `json:"moved,omitempty"` // false: it had pointed there already
}

// Event reports whether facts of the kind say what somebody did in the registry,
// and so have an EventBody.
func (k FactKind) Event() bool { return strings.HasPrefix(string(k), "registry.") }

// SignedTagBody is the body of a FactSignedTag. Since when it is so, the fact says: that is when
// the metadata was signed.
type SignedTagBody struct {
	Name     string `json:"name"` // registry and repository
	Tag      string `json:"tag"`
	SignedBy string `json:"signedBy"` // "owner", or "online": the server's own key
	Role     string `json:"role"`     // that signed
	Metadata string `json:"metadata"` // whose it is: registry and prefix
	// Keys are the IDs of those that may sign for the role.
	Keys []string `json:"keys,omitempty"`
	// Until is how long that may be believed without looking again. Zero: it was not
	// kept, and a fact tells only of the time at which it was recorded.
	Until time.Time `json:"until,omitzero"`
	// Means is what the tag is signed to mean where that is not the subject; empty: the subject.
	Means Digest `json:"means,omitempty"`
}

// SignedTag returns the statement that a tag was verified to mean a digest, or body.Means, by
// metadata signed at a time.
func SignedTag(d Digest, body SignedTagBody, at time.Time) (Statement, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return Statement{}, &Error{Kind: KindInternal, Op: "writing fact", Subject: string(FactSignedTag), Err: err}
	}
	s := Statement{Subject: d, Kind: FactSignedTag, Source: "tuf:" + body.Name + ":" + body.Tag, ValidAt: Instant(at), Body: text}
	return s, s.Validate()
}

// RetractionBody is the body of a FactRetraction.
type RetractionBody struct {
	Fact   Digest `json:"fact"` // the ID of the fact taken back
	Reason string `json:"reason"`
}

// GoBuild is the body of a FactGoBuild: what debug/buildinfo read from the
// program that the image starts.
type GoBuild struct {
	Path      string            `json:"path"` // file in the image
	Layer     Digest            `json:"layer"`
	GoVersion string            `json:"goVersion"`
	Main      string            `json:"main"` // path of the main package
	Module    string            `json:"module,omitempty"`
	Version   string            `json:"version,omitempty"`
	Settings  map[string]string `json:"settings,omitempty"` // vcs.revision and its like, flags
	Deps      int               `json:"deps"`
}

// Fact is one immutable thing learnt about a digest. Its identity is its
// Statement; the rest is when and where it was recorded.
type Fact struct {
	ID Digest `json:"id"` // Statement.ID()
	Statement
	RecordedAt time.Time `json:"recordedAt"`
	Seq        int64     `json:"seq"`            // 1 for the first fact of the subject, then rising by one
	Prev       Digest    `json:"prev,omitempty"` // Leaf of the fact before it, empty for the first
	Salt       []byte    `json:"salt"`           // 32 random bytes
	Leaf       Digest    `json:"leaf"`           // what the log holds of it
}

// Statement is the content of a fact: who says what of which digest.
type Statement struct {
	Subject Digest   `json:"subject"`
	Kind    FactKind `json:"kind"`
	// Source is who says it and, where one source says several things of a
	// subject that hold at the same time, which of them this is:
	// "image", "registry:docker.io/library/nginx:1.27",
	// "cluster:UID/NAMESPACE/KIND/NAME/CONTAINER". Of the facts with equal
	// subject, kind and source the newest holds.
	Source string `json:"source"`
	// ValidAt is since when it is so. It is zero for properties of bytes,
	// which are so at all times.
	ValidAt time.Time `json:"validAt,omitzero"`
	Body    []byte    `json:"body"`
}

// Limits of a statement.
const (
	MaxFactSource = 1024     // bytes
	MaxFactBody   = 16 << 20 // bytes
)

// Validate reports what is wrong with s as a KindInvalid or KindLimit error.
func (s Statement) Validate() error {
	fail := func(kind Kind, why string) error {
		return Errorf(kind, "checking fact", string(s.Kind)+" of "+string(s.Subject), why)
	}
	if _, err := ParseDigest(string(s.Subject)); err != nil {
		return fmt.Errorf("checking fact %s: %w", s.Kind, err)
	}
	switch {
	case s.Kind == "" || strings.ContainsAny(string(s.Kind), "\n\x00"):
		return fail(KindInvalid, "the kind must be a word")
	case s.Source == "" || strings.ContainsAny(s.Source, "\n\x00"):
		return fail(KindInvalid, "the source must be one line")
	case len(s.Source) > MaxFactSource:
		return fail(KindLimit, fmt.Sprintf("the source has %d bytes, MaxFactSource is %d", len(s.Source), MaxFactSource))
	case len(s.Body) > MaxFactBody:
		return fail(KindLimit, fmt.Sprintf("the body has %d bytes, MaxFactBody is %d", len(s.Body), MaxFactBody))
	case !s.ValidAt.Equal(Instant(s.ValidAt)):
		return fail(KindInvalid, "validAt must be in whole microseconds")
	}
	return nil
}

// ID returns the identity of the statement: SHA-256 over its canonical text
// (docs/spec/facts.md). Equal statements have equal IDs, so recording one twice
// changes nothing.
func (s Statement) ID() Digest {
	body := sha256.Sum256(s.Body)
	return FromBytes([]byte(strings.Join([]string{
		"dossier/fact/v1",
		string(s.Subject),
		string(s.Kind),
		s.Source,
		micros(s.ValidAt),
		hex.EncodeToString(body[:]),
		"",
	}, "\n")))
}

// LeafHash returns what the log holds of f: SHA-256 over its canonical header,
// in which the body stands as a hash salted with f.Salt. The body can be erased
// and the leaf still be proven; without the salt nobody can guess at it.
func (f Fact) LeafHash() Digest {
	return f.LeafOf(BodyHash(f.Salt, f.Body))
}

// LeafOf is LeafHash for a fact whose body was erased, from the salted hash
// that was kept of it.
func (f Fact) LeafOf(bodyHash Digest) Digest {
	return FromBytes([]byte(strings.Join([]string{
		"dossier/leaf/v1",
		hex.EncodeToString(f.Salt),
		string(f.Subject),
		string(f.Kind),
		f.Source,
		micros(f.ValidAt),
		micros(f.RecordedAt),
		strconv.FormatInt(f.Seq, 10),
		string(f.Prev),
		string(bodyHash),
		"",
	}, "\n")))
}

// BodyHash is the salted hash of a body.
func BodyHash(salt, body []byte) Digest {
	h := sha256.New()
	h.Write(salt)
	h.Write(body)
	return FromHash(SHA256, h)
}

// micros writes a time as microseconds since 1970, or "-" for the zero time.
func micros(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return strconv.FormatInt(t.UnixMicro(), 10)
}
