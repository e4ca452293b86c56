// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/bench/load"
	"dossier.dev/dossier/internal/server"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
)

const (
	manyTags      = 1_000_000
	manyRepos     = 100_000
	tagsADigest   = 5
	tagLimit      = 5 * time.Millisecond
	tagQuestions  = 3000
	crowdedTags   = 100_000
	uncrowdedTags = 10
	crowdedPushes = 300
)

// tagDay is when a tag was first set; a tenth of them moved a day later.
func tagDay() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

func tagDigest(i int) dossier.Digest { return dossier.FromBytes(fmt.Append(nil, "image ", i)) }

// fillTags sets the tags of a number of repositories, in turn.
func fillTags(ctx context.Context, db store.Store, repos, tags int) error {
	const atOnce = 500
	name := func(i int) store.NameTag {
		return store.NameTag{Name: fmt.Sprintf("registry.example/org-%d/app-%d", i%97, i%repos), Tag: fmt.Sprintf("v%d", i/repos)}
	}
	for begin := 0; begin < tags; begin += atOnce {
		err := db.Update(ctx, func(tx store.Tx) error {
			for i := begin; i < min(begin+atOnce, tags); i++ {
				if _, err := tx.SetTag(ctx, name(i), tagDigest(i/tagsADigest), tagDay(), false); err != nil {
					return err
				}
				if i%10 == 0 {
					if _, err := tx.SetTag(ctx, name(i), tagDigest(i/tagsADigest+1), tagDay().Add(24*time.Hour), false); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// fillRepositories makes repositories.
func fillRepositories(ctx context.Context, db store.Store, n int) error {
	const atOnce = 500
	for begin := 0; begin < n; begin += atOnce {
		err := db.Update(ctx, func(tx store.Tx) error {
			if _, err := tx.NameRegistry(ctx, "registry.example"); err != nil {
				return err
			}
			for i := begin; i < min(begin+atOnce, n); i++ {
				if _, err := tx.PutRepository(ctx, fmt.Sprintf("org-%d/app-%d", i%97, i), tagDay()); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ask times one question after the other.
func ask(ctx context.Context, db store.Store, n int, f func(r store.Reader) (found int, err error)) *load.Sample {
	s := &load.Sample{}
	for range n {
		begin := time.Now()
		err := db.View(ctx, func(r store.Reader) error {
			found, err := f(r)
			if err == nil && found == 0 {
				err = fmt.Errorf("nothing was found")
			}
			return err
		})
		s.Add(time.Since(begin), err)
	}
	return s
}

func measureTags(ctx context.Context, l *lab, r *report) error {
	tags, repos, questions := manyTags, manyRepos, tagQuestions
	if l.short {
		tags, repos, questions = tags/100, repos/100, questions/10
	}
	db, err := sqlstore.Open(ctx, sqlstore.Config{Path: filepath.Join(l.dir, "tags.db")})
	if err != nil {
		return err
	}
	defer db.Close()
	l.say("setting %d tags", tags)
	if err := fillTags(ctx, db, repos/100, tags); err != nil {
		return err
	}
	if err := fillRepositories(ctx, db, repos); err != nil {
		return err
	}
	r.note("store", "SQLite, %d tags of %d digests, a tenth of them moved once; %d repositories", tags, tags/tagsADigest, repos)
	random := func() dossier.Digest { return tagDigest(rand.IntN(tags / tagsADigest)) }
	r.quantiles("tags of a digest now", ask(ctx, db, questions, func(r store.Reader) (int, error) {
		list, err := r.TagPage(ctx, store.TagQuery{Digest: random(), Limit: 1000})
		return len(list), err
	}), tagLimit)
	r.quantiles("tags of a digest at a time", ask(ctx, db, questions, func(r store.Reader) (int, error) {
		list, err := r.TagPage(ctx, store.TagQuery{Digest: random(), At: tagDay().Add(time.Hour), Limit: 1000})
		return len(list), err
	}), tagLimit)
	r.quantiles("digest of a tag at a time", ask(ctx, db, questions, func(r store.Reader) (int, error) {
		i := rand.IntN(tags)
		name := store.NameTag{Name: fmt.Sprintf("registry.example/org-%d/app-%d", i%97, i%(repos/100)), Tag: fmt.Sprintf("v%d", i/(repos/100))}
		list, err := r.TagsAt(ctx, []store.NameTag{name}, tagDay().Add(time.Hour))
		return len(list), err
	}), tagLimit)
	r.quantiles("100 repositories after one", ask(ctx, db, questions, func(r store.Reader) (int, error) {
		list, err := r.Repositories(ctx, fmt.Sprintf("org-%d/", rand.IntN(90)), 100)
		return len(list), err
	}), tagLimit)
	return nil
}

// measurePushMany pushes in turn into a repository with many tags and one with few.
func measurePushMany(ctx context.Context, l *lab, r *report) error {
	peers, err := l.needPeers(ctx, ours)
	if err != nil {
		return err
	}
	crowded, pushes := crowdedTags, crowdedPushes
	if l.short {
		crowded, pushes = crowded/100, pushes/10
	}
	s, err := l.host(ctx, peers[0], "", 0)
	if err != nil {
		return err
	}
	defer s.close()
	counts := map[string]int{"many": crowded, "few": uncrowdedTags}
	for _, repository := range []string{"many", "few"} { // the first push makes the repository
		if err := pushImage(ctx, s.base, "bench/"+repository, "first", uint64(time.Now().UnixNano())); err != nil {
			return err
		}
		if err := crowd(ctx, filepath.Join(s.dir, server.DatabaseFile), repository, counts[repository]); err != nil {
			return err
		}
	}
	samples := map[string]*load.Sample{"many": {}, "few": {}}
	for i := range pushes {
		for _, repository := range []string{"many", "few"} {
			begin := time.Now()
			err := pushImage(ctx, s.base, "bench/"+repository, fmt.Sprintf("new-%d", i), uint64(time.Now().UnixNano()))
			samples[repository].Add(time.Since(begin), err)
		}
	}
	for _, repository := range []string{"many", "few"} {
		if samples[repository].Failed > 0 {
			return samples[repository].First
		}
		r.note(fmt.Sprintf("a push into a repository with %d tags", counts[repository]), "%v", samples[repository])
	}
	r.atMost("ratio of medians", float64(samples["many"].Quantile(0.5))/float64(samples["few"].Quantile(0.5)), 1.2)
	r.atMost("ratio of means", float64(samples["many"].Mean())/float64(samples["few"].Mean()), 1.2)
	return nil
}

// crowd sets tags in a repository of a store on which a server runs.
func crowd(ctx context.Context, path, repository string, n int) error {
	db, err := sqlstore.Open(ctx, sqlstore.Config{Path: path})
	if err != nil {
		return err
	}
	defer db.Close()
	const atOnce = 500
	for begin := 0; begin < n; begin += atOnce {
		err := db.Update(ctx, func(tx store.Tx) error {
			for i := begin; i < min(begin+atOnce, n); i++ {
				tag := store.NameTag{Name: "registry.example/bench/" + repository, Tag: fmt.Sprintf("old-%d", i)}
				if _, err := tx.SetTag(ctx, tag, tagDigest(i/tagsADigest), tagDay(), false); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
