// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package care

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// JobScrub compares the bytes of blobs with their digests. There is one: whoever
// leases it does it, so that no two servers read the same bytes, and all together no
// more than Scrub.Rate. What was checked is a row of the blob: whoever is next goes on there.
const JobScrub = "registry.scrub"

// Defaults of scrubbing.
const (
	DefaultScrubRate = 16 << 20 // bytes a second
	DefaultScrubAge  = 30 * 24 * time.Hour
)

// damagedAge is how old the check of a damaged blob may be: its bytes may be there
// again, or those that its upstream has.
const damagedAge = 10 * time.Minute

// scrubPage is how many blobs are looked up at a time.
const scrubPage = 100

// Scrubbed is what a round of scrubbing did.
type Scrubbed struct {
	Blobs   int   // that were compared with their digests
	Bytes   int64 // that were read for it
	Damaged int   // of which it was not known
	Healed  int   // whose bytes are as they should be again
	Failed  int   // that could not be read at the moment
}

// RunScrub scrubs, again and again, until ctx ends. What fails is logged and tried
// again.
func (c *Collector) RunScrub(ctx context.Context) {
	if c.config.Policy.Scrub.Off || c.config.Blobs == nil {
		return
	}
	for {
		if _, err := c.Scrub(ctx); err != nil && ctx.Err() == nil {
			c.config.Logger.ErrorContext(ctx, "blobs could not be checked", "error", err)
		}
		pause := c.config.Policy.Every
		timer := time.NewTimer(pause - pause/8 + rand.N(pause/4+1))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// Scrub compares all blobs with their digests whose last check is too old, unless
// somebody else does so at this moment. Blobs that cannot be read now are left for the
// next time. KindStorage: the place of the blobs is not the right one.
func (c *Collector) Scrub(ctx context.Context) (Scrubbed, error) {
	if c.config.Blobs == nil {
		return Scrubbed{}, nil
	}
	if err := c.schedule(ctx, JobScrub); err != nil {
		return Scrubbed{}, err
	}
	jobs, err := c.lease(ctx, []string{JobScrub})
	if err != nil || len(jobs) == 0 {
		return Scrubbed{}, err
	}
	s := &scrub{Collector: c, beat: c.beat(jobs[0]), pace: pace{rate: int64(c.config.Policy.Scrub.Rate), now: time.Now, sleep: sleep}}
	err = s.round(ctx)
	err = errors.Join(err, s.write(context.WithoutCancel(ctx)))
	if dossier.KindOf(err) == dossier.KindConflict {
		return s.Scrubbed, nil // somebody else goes on by now
	}
	if err == nil && s.Failed > 0 {
		err = dossier.Errorf(dossier.KindUnavailable, "checking blobs", "", fmt.Sprintf("%d could not be read: %v", s.Failed, s.last))
	}
	return s.Scrubbed, errors.Join(err, c.putBack(context.WithoutCancel(ctx), jobs[0], err, c.now()))
}

// scrub is one round.
type scrub struct {
	*Collector
	Scrubbed
	beat func(context.Context) error
	pace pace
	last error // by which a blob could not be read
	// placed: a blob was found in the place of the blobs, or that is known to be right.
	placed bool
	// found waits to be written down: a transaction for each blob would burden the
	// database when there are many small ones.
	found []Check
}

// round looks at blobs that are known to be damaged, then at all whose check is old.
func (s *scrub) round(ctx context.Context) error {
	var after dossier.Digest
	begun := s.now()
	err := s.pages(ctx, func(r store.Reader) ([]store.BlobState, error) {
		page, err := r.DamagedBlobs(ctx, after, scrubPage)
		if len(page) > 0 {
			after = page[len(page)-1].Digest
		}
		return page, err
	}, func(b store.BlobState) bool { return !b.CheckedAt.After(begun.Add(-damagedAge)) })
	if err != nil {
		return err
	}
	var last store.BlobState
	return s.pages(ctx, func(r store.Reader) ([]store.BlobState, error) {
		page, err := r.BlobsToCheck(ctx, begun.Add(-s.config.Policy.Scrub.Age), last, scrubPage)
		if len(page) > 0 {
			last = page[len(page)-1]
		}
		return page, err
	}, func(b store.BlobState) bool { return b.Damage == "" })
}

// pages checks those blobs of all pages that are due.
func (s *scrub) pages(ctx context.Context, next func(store.Reader) ([]store.BlobState, error), due func(store.BlobState) bool) error {
	for {
		var page []store.BlobState
		err := s.config.Store.View(ctx, func(r store.Reader) (err error) {
			page, err = next(r)
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		for _, b := range page {
			if !due(b) {
				continue
			}
			if err := s.check(ctx, b); err != nil {
				return err
			}
		}
	}
}

// check compares one blob with its digest and writes down what it found.
func (s *scrub) check(ctx context.Context, b store.BlobState) error {
	if err := s.beat(ctx); err != nil {
		return err
	}
	damage, err := s.compare(ctx, b.Blob)
	inPlace := !store.IsSmallKey(b.Key)
	if err == nil && damage == Missing && inPlace && !s.placed {
		err = s.rightPlace(ctx, b.Blob) // nothing was found there yet
	}
	if ctx.Err() != nil || dossier.KindOf(err) == dossier.KindConflict || errors.Is(err, errPlace) {
		return err
	}
	if err != nil {
		s.Failed, s.last = s.Failed+1, err
		return nil
	}
	s.Blobs, s.placed = s.Blobs+1, s.placed || inPlace
	s.found = append(s.found, Check{Registry: s.config.Registry, Blob: b.Blob, At: s.now(), Damage: damage})
	if damage == "" && len(s.found) < scrubPage {
		return nil
	}
	if err := s.write(ctx); err != nil || damage == "" {
		return err
	}
	s.restore(ctx, b.Digest)
	return nil
}

// write writes down what was found. What is lost in between is checked again.
func (s *scrub) write(ctx context.Context) error {
	if len(s.found) == 0 {
		return nil
	}
	slices.SortFunc(s.found, func(a, b Check) int { return cmp.Compare(a.Blob.Digest, b.Blob.Digest) }) // in which all lock
	var was map[dossier.Digest]string
	err := s.config.Store.Update(ctx, func(tx store.Tx) error {
		was = map[dossier.Digest]string{}
		for _, k := range s.found {
			damage, err := k.Record(ctx, tx)
			if dossier.KindOf(err) == dossier.KindNotFound {
				continue // it was collected, or healed, meanwhile
			}
			if err != nil {
				return err
			}
			was[k.Blob.Digest] = damage
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, k := range s.found {
		if before, ok := was[k.Blob.Digest]; ok {
			s.tell(ctx, k, before)
		}
	}
	s.found = s.found[:0]
	return nil
}

// tell counts and logs a check.
func (s *scrub) tell(ctx context.Context, k Check, was string) {
	switch {
	case k.Damage != "" && was == "":
		s.Damaged++
		s.config.Logger.ErrorContext(ctx, "a blob is damaged", "digest", k.Blob.Digest, "key", k.Blob.Key, "damage", k.Damage)
	case k.Damage == "" && was != "":
		s.Healed++
		s.config.Logger.InfoContext(ctx, "a blob is as it should be again", "digest", k.Blob.Digest, "was", was)
	}
	if s.config.Scrubbed != nil {
		s.config.Scrubbed(was, k.Damage)
	}
}

// BadRow is the damage of a blob that lies in a row which the database cannot read.
const BadRow = "its bytes cannot be read: the database has a damaged page"

// IsBadRow reports whether reading a key failed for that.
func IsBadRow(key string, err error) bool {
	return store.IsSmallKey(key) && dossier.KindOf(err) == dossier.KindCorrupt
}

// compare returns what is wrong with the bytes of a blob; empty: nothing. An error
// says that they cannot be read at the moment.
func (s *scrub) compare(ctx context.Context, b store.Blob) (damage string, err error) {
	from, err := s.config.Blobs.Open(ctx, b.Key, 0, -1)
	if err == nil {
		hash, n := b.Digest.NewHash(), int64(0)
		n, err = io.Copy(hash, &paced{ctx: ctx, scrub: s, from: from})
		_ = from.Close() // of what was only read
		if err == nil && n < leastCost {
			err = s.pace.took(ctx, int(leastCost-n))
		}
		switch got := dossier.FromHash(b.Digest.Algorithm(), hash); {
		case err != nil:
		case n != b.Size:
			return WrongSize(n, b.Size), nil
		case got != b.Digest:
			return "its bytes are those of " + string(got), nil
		}
	}
	switch {
	case dossier.KindOf(err) == dossier.KindNotFound:
		return Missing, nil
	case errors.Is(err, syscall.EIO):
		return "its bytes cannot be read: " + syscall.EIO.Error(), nil
	case IsBadRow(b.Key, err):
		return BadRow, nil
	}
	return "", err
}

var errPlace = errors.New("there is nothing at all in the place of the blobs: it may be another one, or not be mounted")

// rightPlace returns errPlace when there is nothing where the blobs should be, one
// of them among them. What is missing is then no damage.
func (s *scrub) rightPlace(ctx context.Context, b store.Blob) error {
	var now store.Blob
	err := s.config.Store.View(ctx, func(r store.Reader) (err error) {
		now, err = r.Blob(ctx, b.Digest)
		return err
	})
	if dossier.KindOf(err) == dossier.KindNotFound || err == nil && now.Key != b.Key {
		return nil // it was collected, or healed, meanwhile
	}
	if err != nil {
		return err
	}
	for _, err := range s.config.Blobs.List(ctx, "") {
		return err
	}
	return &dossier.Error{Kind: dossier.KindStorage, Op: "checking blobs", Err: errPlace, Hint: "look at the directory or the bucket of the blobs"}
}

// restore gets a damaged blob from an upstream again, if it is pulled through.
func (s *scrub) restore(ctx context.Context, d dossier.Digest) {
	if s.config.Restore == nil {
		return
	}
	var held []store.Repository
	err := s.config.Store.View(ctx, func(r store.Reader) (err error) {
		held, err = r.Holders(ctx, d, scrubPage)
		return err
	})
	for _, repo := range held {
		if repo.Upstream == "" {
			break // mirrors are first
		}
		if err = s.config.Restore(ctx, repo.Path, d); err == nil {
			return
		}
	}
	if err != nil && ctx.Err() == nil {
		s.config.Logger.WarnContext(ctx, "a damaged blob could not be restored", "digest", d, "error", err)
	}
}

// paced reads the bytes of a blob, no faster than it may and holding the job.
type paced struct {
	ctx   context.Context
	scrub *scrub
	from  io.Reader
}

// Read implements io.Reader.
func (p *paced) Read(b []byte) (int, error) {
	if err := p.scrub.beat(p.ctx); err != nil {
		return 0, err
	}
	n, err := p.from.Read(b[:min(int64(len(b)), max(1, p.scrub.pace.rate/paceParts))])
	p.scrub.Bytes += int64(n)
	if waitErr := p.scrub.pace.took(p.ctx, n); waitErr != nil {
		return n, waitErr
	}
	return n, err
}

// pace bounds how many bytes are read in a second.
type pace struct {
	rate  int64     // bytes a second
	free  time.Time // when what was read so far has had its time
	now   func() time.Time
	sleep func(context.Context, time.Duration) error
}

// paceParts is in how many parts the bytes of a second are read at least: a job is held
// longer between two.
const paceParts = 4

// leastCost is how many bytes a blob counts for at least: it takes requests and a row.
const leastCost = 16 << 10

// paceSlack is for how long a reader may be ahead of its time.
const paceSlack = 20 * time.Millisecond

// took waits until n more bytes may have been read. Time that was not used is lost.
func (p *pace) took(ctx context.Context, n int) error {
	now := p.now()
	if p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	if ahead := p.free.Sub(now); ahead > paceSlack {
		return p.sleep(ctx, ahead)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Damage returns blobs that are known to be damaged, after one and by digest.
func (c *Collector) Damage(ctx context.Context, after dossier.Digest) (dossier.DamageList, error) {
	list := dossier.DamageList{AsOf: c.now(), Blobs: []dossier.Damaged{}}
	err := c.config.Store.View(ctx, func(r store.Reader) error {
		list.Blobs, list.Next = list.Blobs[:0], ""
		sound, err := r.Soundness(ctx)
		if err != nil {
			return err
		}
		list.Damaged, list.CheckedSince = sound.Damaged, sound.Oldest
		page, err := r.DamagedBlobs(ctx, after, MaxDamage)
		if len(page) == MaxDamage {
			list.Next = page[MaxDamage-1].Digest
		}
		for _, b := range page {
			if err != nil {
				break
			}
			var held []store.Repository
			held, err = r.Holders(ctx, b.Digest, dossier.MaxDamagedIn)
			d := dossier.Damaged{Digest: b.Digest, Size: b.Size, Damage: b.Damage, Since: b.DamagedAt, CheckedAt: b.CheckedAt, StoredAt: b.StoredAt, Repositories: []string{}}
			for _, repo := range held {
				d.Repositories = append(d.Repositories, repo.Path)
			}
			list.Blobs = append(list.Blobs, d)
		}
		return err
	})
	return list, err
}

// MaxDamage is how many blobs a DamageList lists.
const MaxDamage = 1000
