// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/bench/load"
	"dossier.dev/dossier/bench/measure"
	"dossier.dev/dossier/internal/advisory"
	"dossier.dev/dossier/internal/answer"
	"dossier.dev/dossier/internal/server"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
)

const (
	oneAdvisoryLimit = 50 * time.Millisecond
	refreshLimit     = 5 * time.Second
	vulnWhereLimit   = 10 * time.Millisecond
	vulnMemoryLimit  = 150_000_000
	vulnQuestions    = 1000
	newAdvisories    = 50
	renewed          = 20_000
	imagesAtOnce     = 50 // that are written in one transaction
)

// vulnWorld is images whose contents are known, and advisories about them.
type vulnWorld struct {
	images, bases, perBase, perApp int
	names, versions                int // of npm packages: so many distinct ones
	known                          int // names that advisories are about: most concern nothing that is there
	advisories                     int
	rnd                            *rand.Rand
}

func newVulnWorld(short bool) *vulnWorld {
	w := &vulnWorld{images: 1000, bases: 20, perBase: 400, perApp: 600, names: 5000, versions: 4, known: 40_000, advisories: 25_000}
	if short {
		w.images, w.bases, w.advisories, w.names = w.images/20, w.bases/5, w.advisories/20, w.names/10
		w.known /= 10
	}
	w.rnd = rand.New(rand.NewPCG(1, 2))
	return w
}

func (w *vulnWorld) debName(i int) string { return fmt.Sprintf("lib%04d", i) }
func (w *vulnWorld) npmName(i int) string { return fmt.Sprintf("module-%05d", i) }

// base is what the lowest layer of some images holds.
func (w *vulnWorld) base(i int) store.PackageSet {
	var list []dossier.PackageAt
	for n := range w.perBase {
		version := fmt.Sprintf("%d.%d-1", 1+(i+n)%5, n%7)
		p := dossier.Package{Type: "deb", Ecosystem: "Debian:13", Distribution: "debian 13", Name: w.debName(n), Version: version, Arch: "amd64"}
		p.PURL = "pkg:deb/debian/" + p.Name + "@" + version
		list = append(list, dossier.PackageAt{Package: p, Path: "var/lib/dpkg/status"})
	}
	return store.NewPackageSet(dossier.FromBytes(fmt.Append(nil, "base ", i)), list)
}

// app is what the uppermost layer of one image holds.
func (w *vulnWorld) app(i int) store.PackageSet {
	var list []dossier.PackageAt
	for range w.perApp {
		p := dossier.Package{Type: "npm", Ecosystem: "npm", Name: w.npmName(w.rnd.IntN(w.names)), Version: fmt.Sprintf("%d.0.0", 1+w.rnd.IntN(w.versions))}
		p.PURL = "pkg:npm/" + p.Name + "@" + p.Version
		list = append(list, dossier.PackageAt{Package: p, Path: "app/node_modules/" + p.Name + "/package.json"})
	}
	return store.NewPackageSet(dossier.FromBytes(fmt.Append(nil, "app ", i)), list)
}

func vulnImage(i int) dossier.Digest { return dossier.FromBytes(fmt.Append(nil, "vuln image ", i)) }

// fill writes the images, and what runs them: five workloads each.
func (w *vulnWorld) fill(ctx context.Context, db store.Store) error {
	err := db.Update(ctx, func(tx store.Tx) error { return tx.PutCluster(ctx, dossier.Cluster{ID: "c", Name: "c"}) })
	for begin := 0; begin < w.images && err == nil; begin += imagesAtOnce {
		err = db.Update(ctx, func(tx store.Tx) error {
			for i := begin; i < min(begin+imagesAtOnce, w.images); i++ {
				if err := w.fillImage(ctx, tx, i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return err
}

func (w *vulnWorld) fillImage(ctx context.Context, tx store.Tx, i int) error {
	base, app := w.base(i%w.bases), w.app(i)
	for _, set := range []store.PackageSet{base, app} {
		if err := tx.PutPackages(ctx, set, true); err != nil {
			return err
		}
	}
	d := vulnImage(i)
	if err := tx.PutImage(ctx, dossier.Image{Digest: d, Kind: dossier.ImageManifest, Platform: "linux/amd64"}, nil); err != nil {
		return err
	}
	if _, err := tx.PutName(ctx, d, fmt.Sprintf("registry.example/app-%d", i), tagDay()); err != nil {
		return err
	}
	body := fmt.Appendf(nil, `{"version":"1+bench","layers":[{"layer":%q,"set":%q,"packages":{"deb":%d}},{"layer":%q,"set":%q,"packages":{"npm":%d}}]}`,
		base.Layer, base.Digest, w.perBase, app.Layer, app.Digest, w.perApp)
	if _, _, err := tx.Record(ctx, dossier.Statement{Subject: d, Kind: dossier.FactContents, Source: "image", Body: body}); err != nil {
		return err
	}
	places := map[string][]dossier.Place{}
	for n := range 5 {
		p := dossier.Place{
			Workload: dossier.Workload{Cluster: "c", Namespace: fmt.Sprint("n", i%50), Kind: "deployment", Name: fmt.Sprintf("app-%d-%d", i, n)},
			Pod:      fmt.Sprintf("app-%d-%d-x", i, n), PodUID: fmt.Sprintf("%d-%d", i, n), Container: "main", Type: dossier.Container,
			Requested: fmt.Sprintf("registry.example/app-%d:1", i), ImageID: fmt.Sprintf("registry.example/app-%d@%s", i, d), Digest: d,
		}
		places[p.Key()] = []dossier.Place{p}
	}
	if _, err := tx.PutPlaces(ctx, "c", places, tagDay()); err != nil {
		return err
	}
	return tx.PutImageContents(ctx, store.ImageContents{Manifest: d, Serial: 1, At: tagDay(), Sets: []dossier.Digest{base.Digest, app.Digest}})
}

// record is an advisory about a package. edition changes its bytes, and for every
// tenth what it says.
func (w *vulnWorld) record(i, edition int) store.Advisory {
	ecosystem, name, fixed := "npm", w.npmName(i*7919%w.known), fmt.Sprintf("%d.0.0", 2+i%w.versions)
	if i%5 == 0 {
		ecosystem, name, fixed = "Debian:13", w.debName(i%2000), fmt.Sprintf("%d.%d-1", i%6, i%7)
	}
	if i%10 == 3 && edition > 0 {
		fixed = "3.5.0"
	}
	return record(fmt.Sprintf("CVE-2026-%05d", i), fmt.Sprintf("GHSA-%d", i), ecosystem, name, fixed, edition)
}

func record(id, alias, ecosystem, name, fixed string, edition int) store.Advisory {
	b := fmt.Appendf(nil, `{"id":%q,"aliases":[%q],"modified":"2026-01-01T00:00:%02dZ","severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],`+
		`"affected":[{"package":{"ecosystem":%q,"name":%q},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":%q}]}]}]}`,
		id, alias, edition, ecosystem, name, fixed)
	a, err := advisory.Parse(b, advisory.Limits{})
	if err != nil {
		panic(err)
	}
	return store.Advisory{Advisory: a, Bytes: b}
}

// put applies an update of the only feed; whole says that there are no others.
func (w *vulnWorld) put(ctx context.Context, db store.Store, whole bool, list ...store.Advisory) error {
	return w.putAll(ctx, db, whole, slices.Values(list))
}

func (w *vulnWorld) putAll(ctx context.Context, db store.Store, whole bool, list iter.Seq[store.Advisory]) error {
	return db.Update(ctx, func(tx store.Tx) error {
		_, err := tx.PutAdvisories(ctx, store.FeedUpdate{Feed: "all", Source: "bench", AsOf: time.Now(), Whole: whole, MayShrink: 1, Records: func(yield func(store.Advisory, error) bool) {
			for a := range list {
				if !yield(a, nil) {
					return
				}
			}
		}})
		return err
	})
}

// putEach writes the advisories for the first time, one after the other.
func (w *vulnWorld) putEach(ctx context.Context, db store.Store) error {
	return w.putAll(ctx, db, true, func(yield func(store.Advisory) bool) {
		for i := range w.advisories {
			if !yield(w.record(i, 0)) {
				return
			}
		}
	})
}

func (w *vulnWorld) records(n, edition int) []store.Advisory {
	list := make([]store.Advisory, n)
	for i := range list {
		list[i] = w.record(i, edition)
	}
	return list
}

func measureVulns(ctx context.Context, l *lab, r *report) error {
	w, data := newVulnWorld(l.short), filepath.Join(l.dir, "vulns")
	l.say("writing %d images with %d packages each", w.images, w.perBase+w.perApp)
	var dials atomic.Int64
	e, err := server.Open(ctx, server.Config{Data: data, Dial: func(context.Context, string, string) (net.Conn, error) {
		dials.Add(1)
		return nil, errors.New("nothing may be read")
	}})
	if err != nil {
		return err
	}
	advisories, err := sqlstore.Open(ctx, sqlstore.Config{Path: filepath.Join(data, server.AdvisoryFile)})
	if err == nil {
		err = w.measureIn(ctx, r, e, advisories, filepath.Join(data, server.DatabaseFile))
		err = errors.Join(err, advisories.Close())
	}
	if err = errors.Join(err, e.Close()); err != nil {
		return err
	}
	r.exactly("connections to registries meanwhile", int(dials.Load()), 0)
	return w.measureServer(ctx, l, r, data)
}

// measureIn measures in this process.
func (w *vulnWorld) measureIn(ctx context.Context, r *report, e *server.Engine, advisories store.Store, file string) error {
	db, err := sqlstore.Open(ctx, sqlstore.Config{Path: file})
	if err != nil {
		return err
	}
	err = errors.Join(w.fill(ctx, db), db.Close())
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := w.put(ctx, advisories, true, w.records(w.advisories, 0)...); err != nil {
		return err
	}
	kept := time.Since(begin)
	if err := e.Match(ctx); err != nil {
		return err
	}
	r.note("store", "SQLite, %d images in %d workloads, %d image-package pairs, %d advisories", w.images, 5*w.images, w.images*(w.perBase+w.perApp), w.advisories)
	r.note("all advisories for the first time", "kept in %s, compared in %s", load.Short(kept), load.Short(time.Since(begin)-kept))
	if err := w.measureOne(ctx, r, e, advisories); err != nil {
		return err
	}
	n := min(renewed, w.advisories)
	list := slices.Concat(w.records(n, 1), w.records(w.advisories, 0)[n:])
	used, err := measure.CPUTime(os.Getpid())
	if err != nil {
		return err
	}
	begin = time.Now()
	if err := w.put(ctx, advisories, true, list...); err != nil {
		return err
	}
	if err := e.Match(ctx); err != nil {
		return err
	}
	r.within(fmt.Sprintf("a refresh of %d advisories, kept and followed", n), time.Since(begin), refreshLimit)
	after, err := measure.CPUTime(os.Getpid())
	if err != nil {
		return err
	}
	r.note("processor of it", "%s", load.Short(after-used))
	return w.measureQuestions(ctx, r, e)
}

// measureOne measures from one new advisory to what runs that it concerns.
func (w *vulnWorld) measureOne(ctx context.Context, r *report, e *server.Engine, advisories store.Store) error {
	var all load.Sample
	most := 0
	for i := range newAdvisories {
		id := fmt.Sprintf("CVE-2027-%05d", i)
		a := record(id, id+"-A", "npm", w.npmName(w.rnd.IntN(w.names)), "9.0.0", 0)
		if i%2 == 0 {
			a = record(id, id+"-A", "Debian:13", w.debName(w.rnd.IntN(w.perBase)), "9-1", 0)
		}
		begin := time.Now()
		err := w.put(ctx, advisories, false, a)
		if err == nil {
			err = e.Match(ctx)
		}
		var found dossier.FoundList
		if err == nil {
			found, err = e.Where(ctx, id, 10*w.images)
		}
		if err == nil && len(found.Found) == 0 {
			err = fmt.Errorf("%s concerns nothing", id)
		}
		all.Add(time.Since(begin), err)
		most = max(most, len(found.Found))
	}
	r.note("images that one new advisory concerns", "up to %d", most)
	r.within("one new advisory, until the list of workloads: median", all.Quantile(0.5), oneAdvisoryLimit)
	r.note("the same, all", "%v", &all)
	return all.First
}

// measureQuestions measures searches and lists.
func (w *vulnWorld) measureQuestions(ctx context.Context, r *report, e *server.Engine) error {
	e.Parser, e.Exposures = answer.NewParser(1<<20), answer.NewExposures(300_000) // as a server has them
	var byID, byRange load.Sample
	for range vulnQuestions {
		id := fmt.Sprintf("CVE-2026-%05d", w.rnd.IntN(w.advisories))
		begin := time.Now()
		_, err := e.Where(ctx, id, 100)
		byID.Add(time.Since(begin), err)
		term := w.npmName(w.rnd.IntN(w.names)) + "@<3.0.0"
		begin = time.Now()
		_, err = e.Where(ctx, term, 100)
		byRange.Add(time.Since(begin), err)
	}
	r.quantiles("where CVE, 100 images at most", &byID, vulnWhereLimit)
	r.quantiles("where PACKAGE@<VERSION, the same", &byRange, vulnWhereLimit)
	var lists []time.Duration
	for range 3 {
		begin := time.Now()
		list, err := e.Images(ctx, dossier.ImagesQuery{})
		if err == nil && len(list.Images) != w.images {
			err = fmt.Errorf("%d images are listed, want %d", len(list.Images), w.images)
		}
		if err != nil {
			return err
		}
		lists = append(lists, time.Since(begin))
	}
	r.note("a list of all images, five answers each", "%s, then %s", load.Short(lists[0]), load.Short(slices.Min(lists[1:])))
	var one load.Sample
	for i := range 100 {
		begin := time.Now()
		_, err := e.Findings(ctx, dossier.FindingQuery{Ref: string(vulnImage(i % w.images))})
		one.Add(time.Since(begin), err)
	}
	r.note("vulns of one image, with all proofs", "%v", &one)
	return nil
}

// measureServer measures what it takes to serve all that.
func (w *vulnWorld) measureServer(ctx context.Context, l *lab, r *report, data string) error {
	if _, err := l.needProgram(ctx); err != nil {
		return err
	}
	s, err := l.serve(ctx, data, "--no-cluster", "--no-registry", "--offline")
	if err != nil {
		return err
	}
	for i := range 200 {
		if _, err = s.get(ctx, fmt.Sprintf("/api/v1/where?limit=100&term=CVE-2026-%05d", i*7%w.advisories)); err != nil {
			break
		}
		if _, err = s.get(ctx, "/api/v1/vulnerabilities?ref="+string(vulnImage(i%w.images))); err != nil {
			break
		}
	}
	if err == nil {
		_, err = s.get(ctx, "/api/v1/images")
	}
	peak, peakErr := measure.PeakMemory(s.process.PID())
	_, closeErr := s.close()
	if err = errors.Join(err, peakErr, closeErr); err != nil {
		return err
	}
	r.bounded("peak memory of a server that is asked for all of it, in bytes", peak, vulnMemoryLimit)
	return nil
}
