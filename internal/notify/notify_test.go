// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/store/sqlstore/sqltest"
)

const testKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// world is a database, what is known of images, and a receiver.
type world struct {
	t        *testing.T
	dir      string
	store    store.Store
	receiver *receiver

	mu    sync.Mutex
	at    time.Time
	lists map[dossier.Digest]dossier.FindingList
}

// receiver keeps what it gets; answer, if not nil, says what it answers.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	events []Event
	bodies map[string]string // by ID
	answer func(w http.ResponseWriter, n int) bool
	n      int // requests
	faults []string
	now    func() time.Time
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	if r.answer != nil && !r.answer(w, r.n) {
		return
	}
	key, _ := base64.StdEncoding.DecodeString(testKey)
	id := req.Header.Get(HeaderID)
	if err == nil {
		err = Verify(key, id, req.Header.Get(HeaderTimestamp), req.Header.Get(HeaderSignature), body, r.now())
	}
	var e Event
	if err = errors.Join(err, json.Unmarshal(body, &e)); err != nil {
		r.faults = append(r.faults, err.Error())
	}
	if was, ok := r.bodies[id]; ok {
		if was != string(body) {
			r.faults = append(r.faults, "other bytes under the same ID")
		}
		return
	}
	r.bodies[id] = string(body)
	r.events = append(r.events, e)
}

func startReceiver(t *testing.T) *receiver {
	r := &receiver{bodies: map[string]string{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(func() {
		r.Close()
		for _, f := range r.faults {
			t.Error(f)
		}
	})
	return r
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), at: dossier.Instant(time.Now()), lists: map[dossier.Digest]dossier.FindingList{}, receiver: startReceiver(t)}
	w.receiver.now = w.now
	db, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: sqltest.File(t), Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w.store = Outbox{Gather: time.Nanosecond, Now: w.now}.Watch(db)
	if err := os.WriteFile(filepath.Join(w.dir, "key"), []byte(testKey), 0o600); err != nil {
		t.Fatal(err)
	}
	w.update(func(tx store.Tx) error { return tx.PutTelling(t.Context(), true) })
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
}

func (w *world) update(f func(store.Tx) error) {
	w.t.Helper()
	if err := w.store.Update(w.t.Context(), f); err != nil {
		w.t.Fatal(err)
	}
}

// service returns one that sends to the receiver, with what a test says of the
// target.
func (w *world) service(targets ...config.NotifyTarget) *Service {
	w.t.Helper()
	s := &Service{
		Outbox: Outbox{Gather: time.Nanosecond, Now: w.now}, Store: w.store, Base: "https://dossier.example", Poll: time.Millisecond,
		Logger: slog.New(slog.DiscardHandler), owner: fmt.Sprint(time.Now().UnixNano()), sent: map[SentKey]int64{},
		List: func(_ context.Context, d dossier.Digest) (dossier.FindingList, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if l, ok := w.lists[d]; ok {
				return l, nil
			}
			return dossier.FindingList{}, dossier.Errorf(dossier.KindNotFound, "reading", string(d), "its layers were not read yet")
		},
	}
	for _, c := range targets {
		if c.URL == "" {
			c.URL = w.receiver.URL
		}
		if c.Secret == "" {
			c.Secret = filepath.Join(w.dir, "key")
		}
		t, err := NewTarget(c)
		if err != nil {
			w.t.Fatal(err)
		}
		s.Targets = append(s.Targets, t)
	}
	return s
}

// step lets a service make events and send them, once.
func (w *world) step(s *Service) {
	w.t.Helper()
	w.pass(time.Millisecond)
	job, ok, err := s.take(w.t.Context(), jobCompose)
	if err == nil && ok {
		err = s.compose(w.t.Context(), job)
	}
	for _, t := range s.Targets {
		err = errors.Join(err, s.send(w.t.Context(), t))
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

var testCluster = dossier.Cluster{ID: "uid", Name: "prod-eu"}

// run makes a workload run images, one a container; none: it is gone.
func (w *world) run(kind, name string, images ...dossier.Digest) {
	w.t.Helper()
	work := dossier.Workload{Cluster: testCluster.ID, Namespace: "web", Kind: kind, Name: name}
	var places []dossier.Place
	for i, d := range images {
		places = append(places, dossier.Place{Workload: work, Pod: name + "-1", PodUID: "u", Container: fmt.Sprint("c", i), Type: dossier.Container,
			Requested: "example.org/" + name + ":1", Digest: d})
	}
	key := dossier.Place{Workload: work, Pod: name + "-1", PodUID: "u"}.Key()
	w.update(func(tx store.Tx) error {
		if err := tx.PutCluster(w.t.Context(), testCluster); err != nil {
			return err
		}
		placed, err := tx.PutPlaces(w.t.Context(), testCluster.ID, map[string][]dossier.Place{key: places}, w.now())
		if err != nil {
			return err
		}
		_, err = tx.SyncRuns(w.t.Context(), placed.Runs, w.now())
		return err
	})
}

// say makes an image have findings, and lets them be looked at.
func (w *world) say(d dossier.Digest, list dossier.FindingList) {
	w.mu.Lock()
	w.lists[d] = list
	w.mu.Unlock()
	w.update(func(tx store.Tx) error {
		return Outbox{Now: w.now, Gather: time.Nanosecond}.digests(w.t.Context(), tx, d)
	})
}

func found(ids ...string) dossier.FindingList {
	var l dossier.FindingList
	for _, id := range ids {
		id, severity, _ := strings.Cut(id, " ")
		f := dossier.Finding{ID: id, Severity: dossier.SeverityHigh, State: dossier.Fixable, FixedIn: "2", Aliases: []string{"GHSA-" + id}}
		if severity != "" {
			f.Severity = dossier.Severity(severity)
		}
		f.Package = dossier.PackageAt{Package: dossier.Package{Name: "p", Version: "1", PURL: "pkg:npm/p@1"}}
		l.Findings = append(l.Findings, f)
	}
	return l
}

func without(list dossier.FindingList, id string, by dossier.Triage) dossier.FindingList {
	out := list
	out.Findings = nil
	for _, f := range list.Findings {
		if f.ID == id {
			out.Suppressed = append(out.Suppressed, dossier.Suppressed{Finding: f, By: []dossier.Triage{by}})
		} else {
			out.Findings = append(out.Findings, f)
		}
	}
	return out
}

// told says in a line each what came since it was asked last.
func (w *world) told() []string {
	w.receiver.mu.Lock()
	defer w.receiver.mu.Unlock()
	out := []string{}
	for _, e := range w.receiver.events {
		b, _ := json.Marshal(e.Data)
		var d struct {
			Data
			Events map[string]int `json:"events"`
		}
		if err := json.Unmarshal(b, &d); err != nil {
			w.t.Error(err)
		}
		line := strings.TrimPrefix(e.Type, "dev.dossier.") + " " + d.Workload.Name
		if d.Reason != "" {
			line += " " + d.Reason
		}
		for _, f := range d.Findings {
			line += " " + f.ID
			if f.Known {
				line += "(known)"
			}
			if len(f.By) > 0 {
				line += "(" + f.By[0] + ")"
			}
		}
		out = append(out, line)
	}
	w.receiver.events = nil
	return out
}

func (w *world) check(what string, want ...string) {
	w.t.Helper()
	if want == nil {
		want = []string{}
	}
	if diff := cmp.Diff(want, w.told()); diff != "" {
		w.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

var imageA, imageB, sidecar = dossier.FromBytes([]byte("a")), dossier.FromBytes([]byte("b")), dossier.FromBytes([]byte("sidecar"))

// TestTells follows a workload through its life.
func TestTells(t *testing.T) {
	w := newWorld(t)
	s := w.service(config.NotifyTarget{Name: "one"})
	w.run("Deployment", "shop", imageA, sidecar)
	w.step(s)
	w.check("nothing is known yet")
	w.say(imageA, found("CVE-1", "CVE-2 critical"))
	w.say(sidecar, found())
	w.step(s)
	w.check("it began to run", "image.started shop CVE-2 CVE-1")
	w.step(s)
	w.check("nothing happened")
	w.say(imageA, found("CVE-1", "CVE-2 critical", "CVE-3"))
	w.step(s)
	w.check("an advisory", "finding.new shop advisory CVE-3")
	all := found("CVE-1", "CVE-3")
	w.say(imageA, without(all, "CVE-3", dossier.Triage{Source: "i.yaml:2", Author: "team", Status: "ignored", Reason: "unused"}))
	w.step(s)
	w.check("an advisory withdrawn, and an ignore", "finding.gone shop advisory CVE-2", "finding.gone shop suppressed CVE-3(ignored, says team in i.yaml:2: unused)")
	w.say(imageA, all)
	w.step(s)
	w.check("the ignore expired", "finding.new shop ignore CVE-3")

	// Another image: nothing is said to be gone before it is known what that has.
	w.run("Deployment", "shop", imageB, sidecar)
	w.step(s)
	w.check("not read yet")
	w.say(imageB, found("CVE-3", "CVE-4"))
	w.step(s)
	w.check("rolled out", "image.started shop CVE-3(known) CVE-4", "finding.gone shop image CVE-1")

	// Pods are replaced; a workload that stays away is gone.
	w.run("Deployment", "shop")
	w.step(s)
	w.run("Deployment", "shop", imageB, sidecar)
	w.step(s)
	w.check("a pod was replaced")
	w.run("Deployment", "shop")
	w.step(s)
	w.check("it may come back")
	w.pass(absence)
	w.step(s)
	w.check("gone", "finding.gone shop workload CVE-3 CVE-4")
	w.run("CronJob", "nightly", imageB)
	w.step(s)
	w.check("a job", "image.started nightly CVE-3 CVE-4")
	w.run("CronJob", "nightly")
	w.pass(absence)
	w.step(s)
	w.check("jobs come and go")
}

// TestRenamed: an identifier that comes to be an alias of another makes no finding
// new or gone.
func TestRenamed(t *testing.T) {
	w := newWorld(t)
	s := w.service(config.NotifyTarget{Name: "one"})
	w.run("Deployment", "shop", imageA)
	l := found("1")
	l.Findings[0].ID, l.Findings[0].Aliases = "GHSA-1", nil
	w.say(imageA, l)
	w.step(s)
	w.check("by its own name", "image.started shop GHSA-1")
	w.say(imageA, found("1"))
	w.step(s)
	w.check("by that of its CVE")
}

// TestFilters: each target gets what it wants to hear of, and counts say so.
func TestFilters(t *testing.T) {
	w := newWorld(t)
	list := found("CVE-1 low", "CVE-2 critical", "CVE-3")
	list.Findings[2].State = dossier.Unfixed
	list.Findings[0].Exploit = &dossier.Exploit{KnownSince: w.now()}
	w.run("Deployment", "shop", imageA)
	w.say(imageA, list)
	for _, tt := range []struct {
		filter config.NotifyFilter
		want   string
	}{
		{config.NotifyFilter{}, "image.started shop CVE-1 CVE-2 CVE-3"},
		{config.NotifyFilter{Severity: "high"}, "image.started shop CVE-2 CVE-3"},
		{config.NotifyFilter{Severity: "high", Fixable: true}, "image.started shop CVE-2"},
		{config.NotifyFilter{Exploited: true}, "image.started shop CVE-1"},
		{config.NotifyFilter{Kinds: []string{"new", "gone"}}, ""},
		{config.NotifyFilter{Kinds: []string{"started"}, Namespaces: []string{"db", "w?b"}}, "image.started shop CVE-1 CVE-2 CVE-3"},
		{config.NotifyFilter{Namespaces: []string{"we"}}, ""},
	} {
		// A service that tells of everything anew.
		w.update(func(tx store.Tx) error {
			if err := tx.DropTold(t.Context(), dossier.Workload{Cluster: "uid", Namespace: "web", Kind: "Deployment", Name: "shop"}, imageA); err != nil {
				return err
			}
			return Outbox{Now: w.now, Gather: time.Nanosecond}.All(t.Context(), tx)
		})
		w.step(w.service(config.NotifyTarget{Name: fmt.Sprint(tt), Filter: tt.filter}))
		var want []string
		if tt.want != "" {
			want = []string{tt.want}
		}
		w.check(fmt.Sprint(tt.filter), want...)
	}
}

// TestManyBecomeADigest: what changes at a time makes no more requests than the
// limit allows, and loses nothing of what it counts.
func TestManyBecomeADigest(t *testing.T) {
	w := newWorld(t)
	s := w.service(config.NotifyTarget{Name: "one"}, config.NotifyTarget{Name: "other", Filter: config.NotifyFilter{Severity: "critical"}})
	var ids []string
	for i := range maxFindings + 7 {
		ids = append(ids, fmt.Sprint("CVE-", i))
	}
	w.lists[imageA] = found(ids...)
	w.lists[imageB] = found("CVE-x critical")
	for i := range maxEvents + 1 {
		w.run("Deployment", fmt.Sprint("shop", i), imageA)
	}
	w.run("Deployment", "last", imageB)
	w.step(s)
	w.receiver.mu.Lock()
	events, n := w.receiver.events, w.receiver.n
	w.receiver.mu.Unlock()
	if n != 2 || len(events) != 2 || events[0].Type != TypeDigest || events[1].Type != TypeStarted {
		t.Fatalf("%d requests, events %+v, want a digest and one event", n, events)
	}
	b, err := json.Marshal(events[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	var d DigestData
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	if d.Events[TypeStarted] != maxEvents+2 || d.Workloads != maxEvents+2 || d.Images != 2 || !d.Truncated || len(d.Findings) != maxFindings ||
		d.Findings[0].ID != "CVE-x" || d.Findings[0].Started != 1 || d.Findings[1].Started != maxEvents+1 || d.Severities[dossier.SeverityHigh] != maxFindings+7 {
		t.Errorf("the digest says %s", b)
	}
	w.receiver.events = nil
	w.step(s)
	w.check("nothing is told twice")
}

// TestSignature: the example of the specification of Standard Webhooks, and what is
// not right.
func TestSignature(t *testing.T) {
	key, err := base64.StdEncoding.DecodeString("plJ3nmyCDGBKInavdOK15jsl")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1731705121, 0)
	got := Sign([][]byte{key}, "msg_loFOjxBNrRLzqYUf", at, []byte(`{"event_type":"ping","data":{"success":true}}`))
	if want := "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	two := Sign([][]byte{[]byte("another"), key}, "a", at, []byte("b"))
	if err := Verify(key, "a", "1731705121", two, []byte("b"), at.Add(maxSkew)); err != nil {
		t.Errorf("while keys change: %v", err)
	}
	for what, err := range map[string]error{
		"another body": Verify(key, "a", "1731705121", two, []byte("c"), at),
		"another ID":   Verify(key, "b", "1731705121", two, []byte("b"), at),
		"another time": Verify(key, "a", "1731705122", two, []byte("b"), at),
		"too late":     Verify(key, "a", "1731705121", two, []byte("b"), at.Add(maxSkew+time.Second)),
		"too early":    Verify(key, "a", "1731705121", two, []byte("b"), at.Add(-maxSkew-time.Second)),
		"no time":      Verify(key, "a", "", two, []byte("b"), at),
		"no signature": Verify(key, "a", "1731705121", "", []byte("b"), at),
		"another way":  Verify(key, "a", "1731705121", strings.ReplaceAll(two, "v1,", "v2,"), []byte("b"), at),
	} {
		if err == nil {
			t.Errorf("%s: it is taken", what)
		}
	}
}

func TestParseKeys(t *testing.T) {
	for text, want := range map[string]int{
		testKey: 1, "whsec_" + testKey + "\n": 1, "# old\n" + testKey + "\n\nwhsec_" + testKey + "\r\n": 2,
		"": 0, "c2hvcnQ=": 0, "not base64": 0, strings.Repeat(testKey+"\n", 3): 0,
	} {
		keys, err := ParseKeys([]byte(text))
		if len(keys) != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d keys, %v, want %d", text, len(keys), err, want)
		}
		if err != nil && strings.Contains(text, " ") && strings.Contains(err.Error(), text) {
			t.Errorf("the error shows the key: %v", err)
		}
	}
}
