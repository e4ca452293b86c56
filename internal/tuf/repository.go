// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/seal"
	"dossier.dev/dossier/internal/store"
)

// Times of what the server signs, unless Config says otherwise. Bins and the online role
// expire late: that they are current is what snapshot and timestamp say.
const (
	TimestampLife = 6 * time.Hour
	RenewEvery    = time.Hour
	SnapshotLife  = 7 * 24 * time.Hour
	OnlineLife    = 90 * 24 * time.Hour

	// keepReplaced is how long a file that was replaced is served to those who had
	// begun to read.
	keepReplaced = 10 * time.Minute
	// pollEvery is how soon a tag that moved is signed.
	pollEvery = 500 * time.Millisecond
	// maxMoves is how many moves one transaction signs, maxRenewed how many bins it renews.
	maxMoves   = 5000
	maxRenewed = 256
)

// binBits says how many bins an online role has: 1024. One push signs one bin, so of 100,000
// tags about a hundred are written again.
const binBits = 10

// Config says what a Repository publishes. Store is required.
type Config struct {
	Store    store.Store
	Registry string        // what the registry is called in references
	Prefixes []string      // for which metadata is published; others are not served
	Life     time.Duration // of a timestamp; 0: TimestampLife
	Every    time.Duration // how often it is renewed; 0: RenewEvery, or a third of Life
	Seal     seal.Keys     // encrypt the online keys in the store; nil: they are not encrypted
	Now      func() time.Time
	Logger   *slog.Logger // nil: silent
}

// Repository is the metadata that a registry publishes, a set of files for each
// prefix. All replicas share it: what is signed is signed under a lock of the
// prefix, in one transaction that leaves either the old files or all new ones.
type Repository struct{ config Config }

// NewRepository returns a Repository. KindInvalid: a prefix is malformed, or lies
// below another.
func NewRepository(c Config) (*Repository, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Life = cmp.Or(c.Life, TimestampLife)
	c.Every = cmp.Or(c.Every, min(RenewEvery, c.Life/3))
	var faults []error
	for i, p := range c.Prefixes {
		faults = append(faults, CheckPrefix(p))
		for j, other := range c.Prefixes {
			if i != j && below(other, p) && (p != other || i > j) {
				faults = append(faults, dossier.Errorf(dossier.KindInvalid, "reading prefix", p, "it lies below "+other+", which has metadata of its own"))
			}
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return &Repository{c}, nil
}

func (r *Repository) now() time.Time { return r.config.Now().UTC() }

// name returns what references call a prefix.
func (r *Repository) name(prefix string) string { return r.config.Registry + "/" + prefix }

// OnlineKey returns the newest online key of a prefix, which it makes when there is none.
func (r *Repository) OnlineKey(ctx context.Context, prefix string) (Signer, error) {
	var s Signer
	err := r.config.Store.Update(ctx, func(tx store.Tx) (err error) {
		if _, err := tx.LockTUF(ctx, prefix, r.name(prefix)); err != nil {
			return err
		}
		keys, err := tx.TUFKeys(ctx, prefix)
		if err != nil {
			return err
		}
		if len(keys) > 0 {
			s, err = r.openKey(prefix, keys[0])
			return err
		}
		return r.addKey(ctx, tx, prefix, &s)
	})
	return s, err
}

// NewOnlineKey makes a further online key. It is used once a root names it.
func (r *Repository) NewOnlineKey(ctx context.Context, prefix string) (Signer, error) {
	var s Signer
	err := r.config.Store.Update(ctx, func(tx store.Tx) error { return r.addKey(ctx, tx, prefix, &s) })
	return s, err
}

func (r *Repository) addKey(ctx context.Context, tx store.Tx, prefix string, s *Signer) error {
	signer, kept, err := newOnlineKey(r.now())
	if err != nil {
		return err
	}
	*s = signer
	kept.Secret = r.config.Seal.Seal(sealLabel(prefix, kept.ID), kept.Secret)
	return tx.PutTUFKey(ctx, prefix, kept)
}

// sealLabel is what an online key is sealed for: no other key, and no other prefix.
func sealLabel(prefix, id string) string { return "online key " + id + " of " + prefix }

// openKey opens an online key as the store keeps it. KindDenied: it is encrypted by another key than those of
// Config.Seal. KindCorrupt.
func (r *Repository) openKey(prefix string, k store.SigningKey) (Signer, error) {
	secret, err := r.config.Seal.Open(sealLabel(prefix, k.ID), k.Secret)
	if err != nil {
		return Signer{}, err
	}
	k.Secret = secret
	return openOnlineKey(k)
}

// CheckKeys opens the online keys of all prefixes, and encrypts those that are not encrypted as Config.Seal says.
// KindDenied, KindCorrupt: one cannot be opened.
func (r *Repository) CheckKeys(ctx context.Context) error {
	return r.config.Store.Update(ctx, func(tx store.Tx) error {
		for _, prefix := range r.config.Prefixes {
			keys, err := tx.TUFKeys(ctx, prefix)
			if err != nil {
				return err
			}
			for _, k := range keys {
				if _, err := r.openKey(prefix, k); err != nil {
					return err
				}
				if r.config.Seal.Current(k.Secret) {
					continue
				}
				label := sealLabel(prefix, k.ID)
				plain, err := r.config.Seal.Open(label, k.Secret)
				if err != nil {
					return err
				}
				k.Secret = r.config.Seal.Seal(label, plain)
				if err := tx.PutTUFKey(ctx, prefix, k); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// state is one prefix within a transaction that has locked it.
type state struct {
	*Repository
	tx      store.Tx
	prefix  store.TUFPrefix
	now     time.Time
	root    *metadata.Metadata[metadata.RootType]
	targets *metadata.Metadata[metadata.TargetsType]
	online  Signer
	changed []store.TUFFile // in this transaction, but for snapshot and timestamp
}

// lock opens a prefix. Its root may be nil: nothing was published yet.
func (r *Repository) lock(ctx context.Context, tx store.Tx, prefix string) (*state, error) {
	p, err := tx.LockTUF(ctx, prefix, r.name(prefix))
	if err != nil {
		return nil, err
	}
	s := &state{Repository: r, tx: tx, prefix: p, now: r.now()}
	if s.root, err = load[metadata.RootType](ctx, tx, prefix, Root); err != nil || s.root == nil {
		return s, err
	}
	s.targets, err = load[metadata.TargetsType](ctx, tx, prefix, Targets)
	return s, err
}

// load reads the newest file of a role; nil: there is none.
func load[T metadata.Roles](ctx context.Context, r store.Reader, prefix, role string) (*metadata.Metadata[T], error) {
	f, err := r.TUFFile(ctx, prefix, role, 0)
	if dossier.KindOf(err) == dossier.KindNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := parse[T](role, f.Body)
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindCorrupt, Op: "reading metadata", Subject: prefix + "/" + role, Err: err}
	}
	return m, nil
}

// findKey finds the online key that the root names for both timestamp and snapshot.
func (s *state) findKey(ctx context.Context) error {
	keys, err := s.tx.TUFKeys(ctx, s.prefix.Prefix)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if signsAlone(s.root.Signed.Roles[Timestamp], k.ID) && signsAlone(s.root.Signed.Roles[Snapshot], k.ID) {
			s.online, err = s.openKey(s.prefix.Prefix, k)
			return err
		}
	}
	return &dossier.Error{Kind: dossier.KindConflict, Op: "signing metadata", Subject: s.prefix.Prefix,
		Err:  errors.New("the root does not let a key of this server sign timestamp and snapshot alone"),
		Hint: "take the online key of this server into the root: dossier tuf rotate online"}
}

// signsAlone reports whether one key is enough for a role.
func signsAlone(role *metadata.Role, id string) bool {
	if role == nil || role.Threshold != 1 {
		return false
	}
	for _, k := range role.KeyIDs {
		if k == id {
			return true
		}
	}
	return false
}

// put publishes a file in this transaction.
func (s *state) put(ctx context.Context, f store.TUFFile) error {
	if f.Role != Snapshot && f.Role != Timestamp {
		s.changed = append(s.changed, f)
	}
	return s.tx.PutTUFFile(ctx, s.prefix.Prefix, f, dossier.Instant(s.now))
}

// seal signs a snapshot of what changed, when it must be, and a timestamp, and says
// when something is due again. It ends each transaction that publishes.
func (s *state) seal(ctx context.Context) error {
	snapshot, err := load[metadata.SnapshotType](ctx, s.tx, s.prefix.Prefix, Snapshot)
	if err != nil {
		return err
	}
	fresh := snapshot == nil || s.root.VerifyDelegate(Snapshot, snapshot) != nil
	switch {
	case snapshot == nil:
		snapshot = metadata.Snapshot(s.now)
		clear(snapshot.Signed.Meta)
		snapshot.Signed.Version = 0
	case fresh || len(s.changed) > 0 || s.now.Add(SnapshotLife/2).After(snapshot.Signed.Expires):
		fresh = true
	}
	for _, f := range s.changed {
		if f.Role == Root {
			continue
		}
		meta := metadata.MetaFile(f.Version)
		if !binPattern.MatchString(f.Role) { // bins are signed by the same key, and there are many
			meta.Length, meta.Hashes = int64(len(f.Body)), hashOf(f.Body)
		}
		snapshot.Signed.Meta[f.Role+".json"] = meta
	}
	if fresh {
		snapshot.Signed.Version++
		snapshot.Signed.Expires = instant(s.now.Add(SnapshotLife))
		f, err := sign(Snapshot, snapshot, s.online)
		if err == nil {
			err = s.put(ctx, f)
		}
		if err != nil {
			return err
		}
	}
	body, err := s.tx.TUFFile(ctx, s.prefix.Prefix, Snapshot, 0)
	if err != nil {
		return err
	}
	if err := s.stamp(ctx, body); err != nil {
		return err
	}
	if err := s.tx.PruneTUF(ctx, s.prefix.Prefix, dossier.Instant(s.now.Add(-keepReplaced))); err != nil {
		return err
	}
	s.prefix.Due = dossier.Instant(s.now.Add(s.config.Every))
	return s.tx.PutTUF(ctx, s.prefix)
}

// stamp signs a timestamp of a snapshot.
func (s *state) stamp(ctx context.Context, snapshot store.TUFFile) error {
	old, err := load[metadata.TimestampType](ctx, s.tx, s.prefix.Prefix, Timestamp)
	if err != nil {
		return err
	}
	stamp := metadata.Timestamp(instant(s.now.Add(s.config.Life)))
	if old != nil {
		stamp.Signed.Version = old.Signed.Version + 1
	}
	stamp.Signed.Meta = map[string]*metadata.MetaFiles{
		Snapshot + ".json": {Version: snapshot.Version, Length: int64(len(snapshot.Body)), Hashes: hashOf(snapshot.Body)},
	}
	stamp.Signed.UnrecognizedFields = map[string]any{fieldSignedAt: instant(s.now).Format(time.RFC3339)}
	f, err := sign(Timestamp, stamp, s.online)
	if err != nil {
		return err
	}
	return s.put(ctx, f)
}

func hashOf(body []byte) metadata.Hashes {
	sum := sha256.Sum256(body)
	return metadata.Hashes{dossier.SHA256: sum[:]}
}

// Run signs tags that moved and renews what is due, until ctx ends. Any number of
// replicas may: a lock of the prefix lets one at a time, and the next finds
// nothing to do.
func (r *Repository) Run(ctx context.Context) error {
	for {
		n, err := r.Step(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return nil
		}
	}
}

// Step signs what there is to sign for each prefix, at most one transaction each, and
// returns for how many there was something.
func (r *Repository) Step(ctx context.Context) (int, error) {
	var work []string
	err := r.config.Store.View(ctx, func(reader store.Reader) error {
		work = work[:0]
		list, err := reader.TUFPrefixes(ctx)
		for _, p := range list {
			if err != nil {
				break
			}
			if !slices.Contains(r.config.Prefixes, p.Prefix) {
				continue
			}
			var has bool
			if has, err = r.hasWork(ctx, reader, p); has {
				work = append(work, p.Prefix)
			}
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	done := 0
	var faults []error
	for _, prefix := range work {
		acted := false
		err := r.config.Store.Update(ctx, func(tx store.Tx) (err error) {
			acted, err = r.work(ctx, tx, prefix)
			return err
		})
		if err != nil {
			faults = append(faults, fmt.Errorf("prefix %s: %w", prefix, err))
		} else if acted {
			done++
		}
	}
	return done, errors.Join(faults...)
}

func (r *Repository) hasWork(ctx context.Context, reader store.Reader, p store.TUFPrefix) (bool, error) {
	if p.Due.Unix() == 0 { // nothing was published yet
		return false, nil
	}
	if !r.now().Before(p.Due) {
		return true, nil
	}
	moves, err := reader.TUFMoves(ctx, p.Prefix, 1)
	return len(moves) > 0, err
}

// work signs the moves of a prefix, or renews what is due. It reports whether there was something.
func (r *Repository) work(ctx context.Context, tx store.Tx, prefix string) (bool, error) {
	s, err := r.lock(ctx, tx, prefix)
	if err != nil || s.root == nil {
		return false, err
	}
	if has, err := r.hasWork(ctx, tx, s.prefix); err != nil || !has {
		return false, err // another replica was quicker
	}
	if err := s.findKey(ctx); err != nil {
		return false, err
	}
	if err := s.signMoves(ctx); err != nil {
		return false, err
	}
	if err := s.renewBins(ctx); err != nil {
		return false, err
	}
	return true, s.seal(ctx)
}
