// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/store"
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
