// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"dossier.dev/dossier"
)

// Store is a database.
type Store interface {
	// View runs f on one consistent state. It returns f's error. What it sees may not
	// be durable yet.
	View(ctx context.Context, f func(Reader) error) error

	// Update runs f in one transaction. When f returns an error nothing of it
	// remains and Update returns that error. When Update returns nil, what f
	// wrote is durable. f is run again after a conflict with another writer.
	// KindStorage: the disk is full, read-only, or the schema is newer.
	Update(ctx context.Context, f func(Tx) error) error

	// UpdateSoon is an Update that waits for no disk: for what nobody was told of
	// and would be done again, such as uploads and jobs under way. All see it
	// when it returns, also when this process is killed. A power cut may undo
	// it, but not once a later Update has returned.
	UpdateSoon(ctx context.Context, f func(Tx) error) error

	// Settle returns when all that a View before it has seen is durable. Whoever does by
	// what a View has seen what cannot be undone, such as telling the world of a signed
	// head or deleting bytes, calls it in between.
	Settle(ctx context.Context) error

	// Wait returns when a job may be ready to lease, at the latest after d. It is a hint: it
	// may return early, and jobs of another process may go unnoticed until d.
	Wait(ctx context.Context, d time.Duration) error

	// Close waits for running transactions and releases the database.
	Close() error
}

// Reader reads every topic.
type Reader interface {
	FactReader
	ImageReader
	ContentsReader
	PackageReader
	TagReader
	PlaceReader
	TermReader
	JobReader
	BlobReader
	RegistryReader
	ContentReader
	LogReader
	MapReader
	GarbageReader
	UpstreamReader
	SigningKeyReader
	AdvisoryReader
	EcosystemReader
	FindingReader
	ExposureReader
	EventReader
	KeepingReader
	ScrubReader
	PinReader
	QuotaReader
	TUFReader
	TUFTrustReader
	SignerPinReader
	ToldReader
	DeliveryReader
	ProjectionReader
}

// Tx reads and writes every topic within one transaction. It sees its own
// writes.
type Tx interface {
	Reader
	FactWriter
	ImageWriter
	ContentsWriter
	TagWriter
	PlaceWriter
	JobWriter
	JobKeeper
	BlobWriter
	RegistryWriter
	ContentWriter
	UploadWriter
	LogWriter
	WitnessWriter
	GarbageWriter
	ScrubWriter
	UpstreamWriter
	SigningKeyWriter
	AdvisoryWriter
	FindingWriter
	EventWriter
	PinWriter
	QuotaWriter
	TUFWriter
	TUFTrustWriter
	SignerPinWriter
	ToldWriter
	DeliveryWriter
	ProjectionWriter
}

// FactWriter writes facts. Only the packages ingest and registry use it.
type FactWriter interface {
	// Record adds a fact and returns it as kept, with recorded true. When the
	// same statement was recorded before, it returns that fact and false.
	// The facts of a subject are chained by Seq and Prev without gaps, however
	// many writers there are. KindInvalid, KindLimit: see Statement.Validate.
	// A retraction must name a fact of its subject that is no retraction: else
	// it is KindInvalid.
	Record(ctx context.Context, s dossier.Statement) (fact dossier.Fact, recorded bool, err error)
}

// FactReader reads facts.
type FactReader interface {
	// Fact returns the fact with that ID, or KindNotFound.
	Fact(ctx context.Context, id dossier.Digest) (dossier.Fact, error)

	// Holding yields the facts about the subjects that hold at the given times:
	// of those with equal subject, kind and source, recorded at or before
	// Recorded and valid at or before Valid, and not taken back by a retraction
	// recorded by then, the one with the greatest ValidAt (then Seq). So when a
	// fact is taken back, the one before it holds again.
	// Retractions are not yielded. Without kinds, all kinds. Order: by subject, kind, source.
	Holding(ctx context.Context, subjects []dossier.Digest, at dossier.Times, kinds ...dossier.FactKind) iter.Seq2[dossier.Fact, error]

	// Chain yields all facts about a subject by rising Seq.
	Chain(ctx context.Context, subject dossier.Digest) iter.Seq2[dossier.Fact, error]

	// Facts yields facts in the order in which they were recorded, those after position
	// after, at most limit, each with its position.
	// A position is unique and rising within the database, but on PostgreSQL
	// one may appear below others that are already visible.
	Facts(ctx context.Context, after int64, limit int) ([]Positioned, error)
}

// Positioned is a fact with its place in the order of recording.
type Positioned struct {
	Position int64
	dossier.Fact
}

// ImageWriter writes what is known of images. All of it can be made again from facts.
type ImageWriter interface {
	// PutImage adds or replaces an image and its edges. A configuration replaces
	// nothing but a configuration: any image can name the digest of another's
	// manifest as its configuration.
	PutImage(ctx context.Context, image dossier.Image, edges []dossier.Edge) error
	// PutName remembers that a digest was found under a repository name at that
	// time, and reports whether that is new.
	PutName(ctx context.Context, d dossier.Digest, name string, at time.Time) (bool, error)
	// PutTerms replaces the search terms of a digest.
	PutTerms(ctx context.Context, d dossier.Digest, terms []Term) error
	// AddTerms adds search terms to those of a digest.
	AddTerms(ctx context.Context, d dossier.Digest, terms []Term) error
	// DropTerm removes a search term of a digest, if it is there.
	DropTerm(ctx context.Context, d dossier.Digest, term Term) error
}

// ImageReader reads what is known of images.
type ImageReader interface {
	// Images returns those of the digests that are known, by digest.
	Images(ctx context.Context, ds []dossier.Digest) (map[dossier.Digest]dossier.Image, error)
	// Edges returns the edges that lead from the parents, by parent and position.
	Edges(ctx context.Context, parents []dossier.Digest, roles ...dossier.Role) ([]dossier.Edge, error)
	// Parents returns the edges that lead to the children, by child, then parent.
	Parents(ctx context.Context, children []dossier.Digest, roles ...dossier.Role) ([]dossier.Edge, error)
	// Names returns the repository names under which each digest was found, the
	// first found first.
	Names(ctx context.Context, ds []dossier.Digest) (map[dossier.Digest][]Name, error)
	// MatchDigest returns up to limit digests of known images or places that
	// begin with prefix: hexadecimal digits, with or without algorithm. In order.
	MatchDigest(ctx context.Context, prefix string, limit int) ([]dossier.Digest, error)
	// ListImages returns up to limit images after a digest, in the order of digests.
	ListImages(ctx context.Context, after dossier.Digest, limit int) ([]dossier.Image, error)
}

// Name is a repository in which a digest was found.
type Name struct {
	Name      string // registry and repository
	FirstSeen time.Time
}

// Term is a word under which an image can be found.
type Term struct {
	Field dossier.Field
	Value string // as written
	Key   string // what is searched: Normal(Value)
}

// TermReader searches.
type TermReader interface {
	// FindTerms returns terms, ordered by key, field, digest.
	FindTerms(ctx context.Context, q TermQuery) ([]TermHit, error)
}

// TermQuery selects terms.
type TermQuery struct {
	Key    string          // Term.Key
	Prefix bool            // Term.Key begins with it
	Fields []dossier.Field // empty: any
	Limit  int
}

// TermHit is a term with the digest it was found at.
type TermHit struct {
	Term
	Digest dossier.Digest
}

// TagWriter writes tag intervals, as seen from outside: those of an own
// repository (RegistryWriter) it leaves as they are, reporting that nothing moved.
type TagWriter interface {
	// PointTag says that a tag was seen pointing at a digest. When the open
	// interval says so already, its CheckedAt moves to the later of both times and moved is
	// false. Else the open interval ends, a new one begins, and moved is true;
	// was is the digest of the interval that ended, if there was one. An
	// observation older than the beginning of the open interval, or than the end
	// of the last one when none is open, changes nothing.
	PointTag(ctx context.Context, name, tag string, d dossier.Digest, at time.Time) (was dossier.Digest, moved bool, err error)
	// DropTag ends the open interval of a tag that was seen to be gone. An
	// observation older than its beginning changes nothing.
	DropTag(ctx context.Context, name, tag string, at time.Time) (was dossier.Digest, dropped bool, err error)
}

// TagReader reads tag intervals. A zero time means now: only open intervals.
type TagReader interface {
	// TagsOf returns the tags that point at any of the digests at a time.
	TagsOf(ctx context.Context, ds []dossier.Digest, at time.Time) ([]dossier.TagInterval, error)
	// TagsAt returns where the named tags point at a time. Unknown ones are left out.
	TagsAt(ctx context.Context, tags []NameTag, at time.Time) ([]dossier.TagInterval, error)
	// TagHistory returns up to limit intervals of one tag, or of all tags of a repository
	// when tag is empty; newest first.
	TagHistory(ctx context.Context, name, tag string, limit int) ([]dossier.TagInterval, error)
	// TagPage returns the tags that point somewhere at a time, in the order of
	// name and tag.
	TagPage(ctx context.Context, q TagQuery) ([]dossier.TagInterval, error)
	// TagChanges compares the tags of a repository at two times. next is the tag
	// to go on after, or "" when there are no more.
	TagChanges(ctx context.Context, q TagChangesQuery) (changes []dossier.TagChange, next string, err error)
}

// TagQuery selects tags: of a digest, or of a repository.
type TagQuery struct {
	Digest dossier.Digest
	Name   string    // of the repository, when Digest is empty
	At     time.Time // zero: now
	After  NameTag   // tags after this one; of its Name no account is taken when Name is set
	Limit  int
}

// TagChangesQuery selects what is compared.
type TagChangesQuery struct {
	Name  string
	From  time.Time
	To    time.Time // zero: now
	After string    // tags after this one
	Limit int
}

// NameTag is a tag of a repository.
type NameTag struct{ Name, Tag string }

// PlaceWriter writes what runs where.
type PlaceWriter interface {
	// PutCluster adds a cluster or changes its name.
	PutCluster(ctx context.Context, c dossier.Cluster) error
	// PutPlaces makes places the open ones under their keys (Place.Key) of a
	// cluster: those that are not open begin at that time, open ones that are not
	// among them end then. A key without places has none from then on; keys that
	// are not named stay as they are.
	PutPlaces(ctx context.Context, cluster string, places map[string][]dossier.Place, at time.Time) (PlaceChanges, error)
	// SyncRuns compares each run with the open places that are part of it and
	// begins or ends its interval at that time where they disagree. It returns
	// the runs that changed, with what they are now.
	SyncRuns(ctx context.Context, runs []dossier.Run, at time.Time) ([]RunChange, error)
}

// PlaceChanges is what PutPlaces has changed.
type PlaceChanges struct {
	Keys int           // under which places began or ended
	Runs []dossier.Run // that those places are part of, each once
}

// RunChange is a run that began (Runs) or ended.
type RunChange struct {
	dossier.Run
	Runs bool
}

// PlaceReader reads what runs where.
type PlaceReader interface {
	// Clusters returns all clusters by name.
	Clusters(ctx context.Context) ([]dossier.Cluster, error)
	// Places yields the places that q selects, ordered by cluster and key.
	Places(ctx context.Context, q PlaceQuery) iter.Seq2[dossier.Place, error]
	// ComparePlaces compares places, by Place.Key, with the open ones of a cluster
	// in those namespaces (none: in all). It returns the keys, sorted, under which
	// other places are open than those given, and the open places of keys that
	// are not given.
	ComparePlaces(ctx context.Context, cluster string, namespaces []string, places map[string][]dossier.Place) (different []string, others []dossier.Place, err error)
	// FirstRun returns when each digest was first seen running anywhere.
	// Digests that never ran are left out.
	FirstRun(ctx context.Context, ds []dossier.Digest) (map[dossier.Digest]time.Time, error)
}

// PlaceQuery selects places. Empty fields select everything.
type PlaceQuery struct {
	Clusters   []string // IDs
	Namespaces []string
	Key        string           // Place.Key
	Digests    []dossier.Digest // Place.Digest
	Asked      []string         // Place.Asked
	// Related selects, instead of the places that have one of Digests and one of
	// Asked, those that have either, and all that ask for the same as a place
	// that has one of Digests.
	Related bool
	At      time.Time // zero: open ones
}

// BlobWriter keeps where the bytes of a digest lie.
type BlobWriter interface {
	// PutBlob says that the bytes of d lie in the blob store under key. The
	// first key given for a digest stays, unless its bytes are known to be
	// damaged: then they are condemned. kept reports whether it is this key now.
	PutBlob(ctx context.Context, b Blob) (kept bool, err error)
	// PutSmallBlob keeps bytes in a row, and returns a key for it (IsSmallKey) that no
	// other bytes ever have.
	PutSmallBlob(ctx context.Context, content []byte) (key string, err error)
	// DeleteSmallBlobs removes the rows of keys, those that are there. KindInvalid: one is
	// no such key.
	DeleteSmallBlobs(ctx context.Context, keys []string) error
}

// BlobReader reads where the bytes of a digest lie.
type BlobReader interface {
	// Blob returns the record of d, or KindNotFound.
	Blob(ctx context.Context, d dossier.Digest) (Blob, error)
	// SmallBlob returns the bytes in the row of a key. KindNotFound. KindInvalid: it is
	// no such key.
	SmallBlob(ctx context.Context, key string) ([]byte, error)
	// SmallBlobKeys returns up to limit keys of rows, in the order of keys, after one or
	// from the first on (empty).
	SmallBlobKeys(ctx context.Context, after string, limit int) ([]string, error)
}

// smallPrefix begins the keys of blobs that lie in rows. No other key has it.
const smallPrefix = "row-"

// SmallKey returns the key of the bytes in a row.
func SmallKey(id int64) string { return fmt.Sprintf("%s%016x", smallPrefix, uint64(id)) }

// IsSmallKey reports whether the bytes of a key lie in a row of the database.
func IsSmallKey(key string) bool { return strings.HasPrefix(key, smallPrefix) }

// ParseSmallKey returns the row of a key. KindInvalid: it is not one that SmallKey gives.
func ParseSmallKey(key string) (id int64, err error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(key, smallPrefix), 16, 63)
	if err != nil || SmallKey(int64(n)) != key {
		return 0, dossier.Errorf(dossier.KindInvalid, "reading key", key, "it is not the key of a row")
	}
	return int64(n), nil
}

// Blob says where the bytes of a digest lie.
type Blob struct {
	Digest dossier.Digest
	Key    string // in the blob store, or of a row: IsSmallKey
	Size   int64
}
