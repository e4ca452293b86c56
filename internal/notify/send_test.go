// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/store/sqlstore/sqltest"
)

// answers makes the receiver answer with a status, until it is told something else.
func (w *world) answers(status int, headers ...string) {
	w.receiver.mu.Lock()
	defer w.receiver.mu.Unlock()
	w.receiver.answer = func(rw http.ResponseWriter, _ int) bool {
		for i := 0; i < len(headers); i += 2 {
			rw.Header().Set(headers[i], headers[i+1])
		}
		rw.WriteHeader(status)
		return false
	}
}

// takes makes the receiver take what comes.
func (w *world) takes() {
	w.receiver.mu.Lock()
	defer w.receiver.mu.Unlock()
	w.receiver.answer = nil
}

// requests returns how many came since it was asked last.
func (w *world) requests() int {
	w.receiver.mu.Lock()
	defer w.receiver.mu.Unlock()
	n := w.receiver.n
	w.receiver.n = 0
	return n
}

// deliveries returns what waits for a target, whenever it is due.
func (w *world) deliveries(target string) []store.Delivery {
	w.t.Helper()
	var list []store.Delivery
	if err := w.store.View(w.t.Context(), func(r store.Reader) (err error) {
		list, err = r.Deliveries(w.t.Context(), target, w.now().Add(1000*time.Hour), 1000)
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	for i := range list {
		list[i].Body = nil // so that what fails can be read
	}
	return list
}

// parked returns how many events were given up, of any target.
func (w *world) parked() (n int) {
	w.t.Helper()
	if err := w.store.View(w.t.Context(), func(r store.Reader) error {
		counts, err := r.CountDeliveries(w.t.Context())
		n = 0
		for _, c := range counts {
			if c.Parked {
				n += c.N
			}
		}
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// TestTriesAgain: what is not taken is sent again after pauses that grow, and the
// events behind it wait for it, those too that come meanwhile.
func TestTriesAgain(t *testing.T) {
	for _, how := range []string{"500", "a timeout", "a connection broken off"} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t)
			s := w.service(config.NotifyTarget{Name: "one"})
			release := make(chan struct{})
			let := sync.OnceFunc(func() { close(release) })
			defer let()
			w.receiver.answer = func(rw http.ResponseWriter, _ int) bool {
				switch how {
				case "500":
					rw.WriteHeader(http.StatusInternalServerError)
				case "a timeout":
					w.receiver.mu.Unlock()
					<-release
					w.receiver.mu.Lock()
				default:
					panic(http.ErrAbortHandler)
				}
				return false
			}
			if how == "a timeout" {
				s.Targets[0].client.Timeout = 30 * time.Millisecond
			}
			w.run("Deployment", "shop", imageA)
			w.run("Deployment", "web", imageA)
			w.say(imageA, found("CVE-1"))
			for n := 1; n <= 4; n++ {
				w.step(s)
				if got := w.requests(); got != 1 {
					t.Fatalf("try %d: %d requests, want one: the event behind waits", n, got)
				}
				d := w.deliveries("one")
				if len(d) != 2 || d[0].Attempts != n || d[1].Attempts != 0 || d[0].LastError == "" || strings.Contains(d[0].LastError, w.receiver.URL) {
					t.Fatalf("try %d: what waits is %+v", n, d)
				}
				pause, full := d[0].RunAt.Sub(w.now()), firstPause<<(n-1)
				if pause < full/2-time.Second || pause > full {
					t.Errorf("the pause after try %d is %v, want %v less up to half of it", n, pause, full)
				}
				// Something else happens meanwhile: that is no reason to ask sooner.
				w.say(imageA, found("CVE-1", fmt.Sprint("CVE-1", n)))
				w.say(imageA, found("CVE-1"))
				w.step(s)
				w.pass(pause - 10*time.Millisecond)
				w.step(s)
				if got := w.requests(); got != 0 {
					t.Errorf("after try %d: %d requests before the pause is over", n, got)
				}
				w.pass(10 * time.Millisecond)
			}
			let()
			w.takes()
			w.step(s)
			w.check("in order", "image.started shop CVE-1", "image.started web CVE-1")
			w.pass(24 * time.Hour)
			w.requests()
			w.step(s)
			if got := w.requests(); got != 0 || len(w.deliveries("one")) != 0 {
				t.Errorf("%d requests when all was delivered, and %d events wait", got, len(w.deliveries("one")))
			}
		})
	}
}

// TestNewEventsWait: an event that is made while the target is left alone is neither
// sent at once nor before those that wait.
func TestNewEventsWait(t *testing.T) {
	w := newWorld(t)
	s := w.service(config.NotifyTarget{Name: "one"})
	w.answers(http.StatusTooManyRequests, "Retry-After", "600")
	w.run("Deployment", "shop", imageA)
	w.say(imageA, found("CVE-1"))
	w.step(s)
	w.run("Deployment", "web", imageB)
	w.say(imageB, found("CVE-2"))
	w.requests()
	w.step(s)
	w.pass(599 * time.Second)
	w.step(s)
	if got := w.requests(); got != 0 || len(w.deliveries("one")) != 2 {
		t.Errorf("%d requests before the time that the target asked for is over, %d events wait, want 2", got, len(w.deliveries("one")))
	}
	w.takes()
	w.pass(time.Second)
	w.step(s)
	w.check("in order", "image.started shop CVE-1", "image.started web CVE-2")
}

// TestOneIsRefused: a target that refuses one event gets those behind it.
func TestOneIsRefused(t *testing.T) {
	for _, status := range []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity} {
		w := newWorld(t)
		s := w.service(config.NotifyTarget{Name: "one"})
		w.receiver.answer = func(rw http.ResponseWriter, n int) bool {
			if n == 1 {
				rw.WriteHeader(status)
			}
			return n != 1
		}
		w.run("Deployment", "shop", imageA)
		w.run("Deployment", "web", imageA)
		w.say(imageA, found("CVE-1"))
		w.step(s)
		w.check("the other one", "image.started web CVE-1")
		w.pass(firstPause)
		w.step(s)
		w.check("tried again", "image.started shop CVE-1")
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "120": 2 * time.Minute, "0": 0, "-5": 0, "3600": time.Hour, "3601": time.Hour, "99999999999999999999999": time.Hour, "-99999999999999999999999": 0,
		strconv.Itoa(math.MaxInt): time.Hour, "1.5": 0, "soon": 0,
		now.Add(90 * time.Second).Format(http.TimeFormat): 90 * time.Second,
		now.Add(-time.Hour).Format(http.TimeFormat):       0,
		now.AddDate(1, 0, 0).Format(http.TimeFormat):      time.Hour,
		now.AddDate(5000, 0, 0).Format(http.TimeFormat):   time.Hour,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
	// A date is obeyed as seconds are.
	w := newWorld(t)
	s := w.service(config.NotifyTarget{Name: "one"})
	until := w.now().Add(20 * time.Minute)
	w.answers(http.StatusServiceUnavailable, "Retry-After", until.UTC().Format(http.TimeFormat))
	w.run("Deployment", "shop", imageA)
	w.say(imageA, found("CVE-1"))
	w.step(s)
	if got := w.deliveries("one")[0].RunAt; got.Before(until.Add(-2*time.Second)) || got.After(until.Add(time.Second)) {
		t.Errorf("it is tried again at %v, want %v", got, until)
	}
}

// TestGivesUp: after the time for it an event is parked; those behind it go on, and
// when the target comes back it gets them, but not what was given up.
func TestGivesUp(t *testing.T) {
	w := newWorld(t)
	var log bytes.Buffer
	s := w.service(config.NotifyTarget{Name: "one", GiveUp: time.Hour})
	s.Logger = slog.New(slog.NewTextHandler(&log, nil))
	w.answers(http.StatusBadGateway)
	w.run("Deployment", "shop", imageA)
	w.say(imageA, found("CVE-1"))
	w.step(s)
	id := w.deliveries("one")[0].Event
	w.pass(59 * time.Minute)
	w.say(imageA, found("CVE-1", "CVE-2"))
	w.step(s)
	if got := w.parked(); got != 0 {
		t.Fatalf("%d events were given up before the time", got)
	}
	w.pass(maxPause)
	w.step(s)
	if got := w.parked(); got != 1 || len(w.deliveries("one")) != 1 {
		t.Fatalf("%d events were given up and %d wait, want one of each", got, len(w.deliveries("one")))
	}
	if text := log.String(); !strings.Contains(text, "level=ERROR") || !strings.Contains(text, id) || !strings.Contains(text, "502 Bad Gateway") {
		t.Errorf("the log does not say which event was given up and why:\n%s", text)
	}
	if got := s.Sent()[SentKey{"one", Parked}]; got != 1 {
		t.Errorf("%d requests are counted as parked", got)
	}
	w.takes()
	w.pass(maxPause)
	w.step(s)
	w.check("the target came back", "finding.new shop advisory CVE-2")
	w.say(imageA, found("CVE-2"))
	w.step(s)
	w.check("what is new is sent at once", "finding.gone shop advisory CVE-1")

	// It is kept for a month.
	w.pass(keepParked - 3*time.Hour)
	if err := s.look(t.Context(), w.now()); err != nil || w.parked() != 1 {
		t.Errorf("%v, %d are kept, want one", err, w.parked())
	}
	w.pass(3 * time.Hour)
	if err := s.look(t.Context(), w.now()); err != nil || w.parked() != 0 {
		t.Errorf("%v, %d are kept, want none", err, w.parked())
	}
}

// TestRedirects: nothing goes where an answer says, neither event nor signature.
func TestRedirects(t *testing.T) {
	var mu sync.Mutex
	var leaked []string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		leaked = append(leaked, fmt.Sprint(r.Method, " ", r.URL, " ", r.Header))
	}))
	defer elsewhere.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, to := range []string{elsewhere.URL + "/there", "/there"} {
			w := newWorld(t)
			var log bytes.Buffer
			s := w.service(config.NotifyTarget{Name: "one"})
			s.Logger = slog.New(slog.NewTextHandler(&log, nil))
			w.answers(status, "Location", to)
			w.run("Deployment", "shop", imageA)
			w.say(imageA, found("CVE-1"))
			w.step(s)
			if got := w.requests(); got != 1 || len(w.deliveries("one")) != 1 {
				t.Errorf("%d to %s: %d requests, want one, and %d events wait", status, to, got, len(w.deliveries("one")))
			}
			if !strings.Contains(log.String(), "redirects are not followed: write where they lead into the configuration") {
				t.Errorf("%d: the log does not say what to do:\n%s", status, log.String())
			}
			w.takes()
			w.pass(firstPause)
			w.step(s)
			w.check("later", "image.started shop CVE-1")
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(leaked) > 0 {
		t.Errorf("where it was redirected to there came %v", leaked)
	}
}

// TestCertificates: a target's certificate must come from an authority that the
// configuration names, and be made out to its name. The log says what to do.
func TestCertificates(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewUnstartedServer(w.receiver)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	server.StartTLS()
	defer server.Close()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "another authority"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	other, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	inPEM := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
	right, wrong := filepath.Join(w.dir, "ca.pem"), filepath.Join(w.dir, "other.pem")
	if err := errors.Join(os.WriteFile(right, inPEM(server.Certificate().Raw), 0o600), os.WriteFile(wrong, inPEM(other), 0o600)); err != nil {
		t.Fatal(err)
	}
	localhost := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	w.run("Deployment", "shop", imageA)
	w.say(imageA, found("CVE-1"))
	for _, tt := range []struct {
		name, url, ca, want string // want: of the error; empty: it is delivered
	}{
		{"the system's authorities", server.URL, "", "name a file with that in ca"},
		{"another authority", server.URL, wrong, "name a file with that in ca"},
		{"another name", localhost, right, "certificate is valid for"},
		{"the right authority", server.URL, right, ""},
	} {
		w.update(func(tx store.Tx) error {
			if err := tx.DropTold(t.Context(), dossier.Workload{Cluster: "uid", Namespace: "web", Kind: "Deployment", Name: "shop"}, imageA); err != nil {
				return err
			}
			return Outbox{Now: w.now, Gather: time.Nanosecond}.All(t.Context(), tx)
		})
		w.step(w.service(config.NotifyTarget{Name: tt.name, URL: tt.url + "/T000/secret-path", CA: tt.ca}))
		list := w.deliveries(tt.name)
		switch {
		case tt.want == "" && len(list) == 0:
			w.check(tt.name, "image.started shop CVE-1")
		case tt.want == "" || len(list) != 1 || !strings.Contains(list[0].LastError, tt.want) || strings.Contains(list[0].LastError, "secret-path"):
			t.Errorf("%s: what waits is %+v, want an error with %q and without the path", tt.name, list, tt.want)
		default:
			w.check(tt.name)
		}
	}
}

// twoStores opens one database twice; with SQLite a process has one store.
func twoStores(t *testing.T, w *world, engine string) (a, b store.Store) {
	if engine == "SQLite" {
		return w.store, w.store
	}
	url := sqltest.URL(t)
	open := func() store.Store {
		db, err := sqlstore.Open(t.Context(), sqlstore.Config{URL: url, Now: w.now})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return Outbox{Gather: time.Nanosecond, Now: w.now}.Watch(db)
	}
	a, b = open(), open()
	w.store = a
	w.update(func(tx store.Tx) error { return tx.PutTelling(t.Context(), true) })
	return a, b
}

// TestTwoSenders: of several processes one sends at a time, each event once and in
// order; when it dies, or hangs, another goes on when its lease is over.
func TestTwoSenders(t *testing.T) {
	for _, engine := range []string{"SQLite", "PostgreSQL"} {
		t.Run(engine, func(t *testing.T) {
			w := newWorld(t)
			a, b := twoStores(t, w, engine)
			one, two := w.service(config.NotifyTarget{Name: "one"}), w.service(config.NotifyTarget{Name: "one"})
			one.Store, two.Store = a, b
			one.owner, two.owner = "process one", "process two"

			// Both run all the time while things happen.
			ctx, stop := context.WithCancel(t.Context())
			var group sync.WaitGroup
			for _, s := range []*Service{one, two} {
				group.Go(func() {
					if err := s.Run(ctx); !errors.Is(err, context.Canceled) {
						t.Errorf("it ended: %v", err)
					}
				})
			}
			const many = 20
			var want []string
			for i := range many {
				name := fmt.Sprintf("shop-%02d", i)
				w.lists[dossier.FromBytes([]byte(name))] = found("CVE-1")
				want = append(want, "image.started "+name+" CVE-1")
			}
			for i := range many {
				name := fmt.Sprintf("shop-%02d", i)
				w.run("Deployment", name, dossier.FromBytes([]byte(name)))
				w.pass(time.Millisecond)
			}
			var got []string
			for deadline := time.Now().Add(time.Minute); len(got) < many && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
				w.pass(time.Millisecond)
				got = append(got, w.told()...)
			}
			stop()
			group.Wait()
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Fatalf("told %q, want %q", got, want)
			}
			if n := w.requests(); n != many {
				t.Errorf("%d requests for %d events", n, many)
			}

			// One hangs in a request: as long as its lease runs the other leaves it alone.
			reached, release := make(chan struct{}), make(chan struct{})
			let := sync.OnceFunc(func() { close(release) })
			defer let()
			w.receiver.answer = func(http.ResponseWriter, int) bool {
				w.receiver.answer = nil
				w.receiver.mu.Unlock()
				close(reached)
				<-release
				w.receiver.mu.Lock()
				return true
			}
			w.run("Deployment", "last", imageA)
			w.say(imageA, found("CVE-9"))
			job, ok, err := one.take(t.Context(), jobCompose)
			if err != nil || !ok {
				t.Fatal(ok, err)
			}
			if err := one.compose(t.Context(), job); err != nil {
				t.Fatal(err)
			}
			group.Go(func() {
				if err := one.send(t.Context(), one.Targets[0]); dossier.KindOf(err) != dossier.KindConflict {
					t.Errorf("who learns too late that an event was taken gets %v, want %s", err, dossier.KindConflict)
				}
			})
			<-reached
			w.pass(one.lease() - time.Second)
			w.step(two)
			w.check("its lease runs")
			w.pass(2 * time.Second)
			w.step(two)
			w.check("its lease is over", "image.started last CVE-9")
			let()
			group.Wait() // what it learnt too late changes nothing
			if n := w.requests(); n != 2 || len(w.deliveries("one")) != 0 {
				t.Errorf("%d requests, want 2, and %d events wait", n, len(w.deliveries("one")))
			}
			w.check("the receiver knows its ID")
			w.say(imageA, found())
			w.step(one)
			w.check("both go on", "finding.gone last advisory CVE-9")
		})
	}
}

// TestEnds: a process that ends leaves nothing leased: the next one goes on at once.
func TestEnds(t *testing.T) {
	w := newWorld(t)
	s := w.service(config.NotifyTarget{Name: "one"})
	reached := make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	w.receiver.answer = func(http.ResponseWriter, int) bool {
		w.receiver.answer = nil
		close(reached)
		w.receiver.mu.Unlock()
		<-ctx.Done()
		w.receiver.mu.Lock()
		return false
	}
	w.run("Deployment", "shop", imageA)
	w.say(imageA, found("CVE-1"))
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	for waiting := true; waiting; {
		w.pass(time.Millisecond)
		select {
		case <-reached:
			waiting = false
		case <-time.After(time.Millisecond):
		}
	}
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended: %v", err)
	}
	w.step(w.service(config.NotifyTarget{Name: "one"}))
	w.check("the next one", "image.started shop CVE-1")
}

// TestIgnoresEnd: when an ignore ends is asked each time, since files of ignores
// change while the server runs.
func TestIgnoresEnd(t *testing.T) {
	w := newWorld(t)
	s := w.service(config.NotifyTarget{Name: "one"})
	now, end := w.now(), time.Time{}
	s.Expiry = func(after time.Time) time.Time {
		if end.After(after) {
			return end
		}
		return time.Time{}
	}
	if got := s.nextLook(time.Time{}); !got.Before(now) {
		t.Errorf("a service that starts looks at %v, want at once", got)
	}
	if got := s.nextLook(now); !got.Equal(now.Add(lookEvery)) {
		t.Errorf("without ignores it looks at %v", got)
	}
	end = now.Add(time.Minute)
	if got := s.nextLook(now); !got.Equal(end) {
		t.Errorf("it looks at %v, want when the ignore ends at %v", got, end)
	}
	if got := s.nextLook(end); !got.Equal(end.Add(lookEvery)) {
		t.Errorf("after that it looks at %v", got)
	}
}
