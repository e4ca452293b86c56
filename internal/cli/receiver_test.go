// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// receiver is who gets notifications: it checks each as docs/spec/notifications.md
// tells receivers to, and keeps those that are right.
type receiver struct {
	key []byte

	mu      sync.Mutex
	answer  string            // a status, or hold: it keeps the request open; empty: it takes what comes
	bodies  map[string]string // of all that came, by ID
	refused map[string]bool   // IDs of those it did not take
	held    int               // requests that it keeps open
	seen    map[string]bool
	events  []string // as one line each, in order
	wrong   []string
}

type receiversKey struct{}

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	fault := ""
	h := hmac.New(sha256.New, r.key)
	fmt.Fprintf(h, "%s.%s.%s", req.Header.Get("webhook-id"), req.Header.Get("webhook-timestamp"), body)
	var event struct {
		SpecVersion string `json:"specversion"`
		ID          string `json:"id"`
	}
	switch want := "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil)); {
	case err != nil:
		fault = err.Error()
	case !strings.Contains(" "+req.Header.Get("webhook-signature")+" ", " "+want+" "):
		fault = "the signature is wrong"
	case req.Header.Get("Content-Type") != "application/cloudevents+json; charset=utf-8":
		fault = "the content type is " + req.Header.Get("Content-Type")
	case json.Unmarshal(body, &event) != nil || event.SpecVersion != "1.0" || event.ID != req.Header.Get("webhook-id"):
		fault = "it is no CloudEvent of that ID"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if was, ok := r.bodies[event.ID]; ok && was != string(body) && fault == "" {
		fault = "other bytes than before under the same ID"
	}
	if fault != "" {
		r.wrong = append(r.wrong, fault)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.bodies[event.ID] = string(body)
	if r.answer != "" {
		r.refused[event.ID] = true
		if status, err := strconv.Atoi(r.answer); err == nil {
			w.WriteHeader(status)
			return
		}
		r.held++
		r.mu.Unlock()
		<-req.Context().Done() // who asked is dead
		r.mu.Lock()
		r.held--
		return
	}
	if !r.seen[event.ID] {
		r.seen[event.ID] = true
		r.events = append(r.events, string(bytes.TrimSpace(body)))
	}
}

// scriptReceiver: receiver NAME KEY starts a receiver; $NAME is its URL.
func scriptReceiver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: receiver NAME KEYFILE")
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(strings.TrimSpace(ts.ReadFile(args[1])), "whsec_"))
	ts.Check(err)
	r := &receiver{key: key, seen: map[string]bool{}, bodies: map[string]string{}, refused: map[string]bool{}}
	server := httptest.NewServer(r)
	ts.Defer(func() {
		server.CloseClientConnections()
		server.Close()
	})
	ts.Value(receiversKey{}).(map[string]*receiver)[args[0]] = r
	ts.Setenv(args[0], server.URL)
}

func receiverOf(ts *testscript.TestScript, name string) *receiver {
	r, ok := ts.Value(receiversKey{}).(map[string]*receiver)[name]
	if !ok {
		ts.Fatalf("no receiver %s was started", name)
	}
	return r
}

// scriptAnswers: answers NAME STATUS|hold|take says what a receiver does with what
// comes from now on.
func scriptAnswers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: answers NAME STATUS|hold|take")
	}
	r := receiverOf(ts, args[0])
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answer = args[1]; r.answer == "take" {
		r.answer = ""
	}
}

// scriptRefused: refused NAME N waits until a receiver did not take N events, each
// counted once, or was left without having answered. With -later it finds that all
// of them came again, with the same bytes, and were taken.
func scriptRefused(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: refused NAME N [-later]")
	}
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	r := receiverOf(ts, args[0])
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		r.mu.Lock()
		n, left := len(r.refused), 0
		for id := range r.refused {
			if !r.seen[id] {
				left++
			}
		}
		wrong := slices.Clone(r.wrong)
		r.mu.Unlock()
		switch {
		case len(wrong) > 0:
			ts.Fatalf("what came is wrong: %q", wrong)
		case n == want && (len(args) == 2 || left == 0):
			return
		case time.Now().After(deadline):
			ts.Fatalf("%d events were refused, want %d, and %d of them were not taken later", n, want, left)
		}
	}
}

// scriptHeld: held NAME waits until a receiver keeps a request open.
func scriptHeld(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: held NAME")
	}
	r := receiverOf(ts, args[0])
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		r.mu.Lock()
		n := r.held
		r.mu.Unlock()
		switch {
		case n > 0:
			return
		case time.Now().After(deadline):
			ts.Fatalf("%s keeps no request open", args[0])
		}
	}
}

// scriptReceived: [!] received NAME PATTERN waits for an event that matches, or
// finds that there is none yet.
func scriptReceived(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: received NAME PATTERN")
	}
	r := receiverOf(ts, args[0])
	pattern := regexp.MustCompile(args[1])
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		r.mu.Lock()
		found := false
		for _, e := range r.events {
			found = found || pattern.MatchString(e)
		}
		all := strings.Join(append(r.events, r.wrong...), "\n")
		wrong := len(r.wrong)
		r.mu.Unlock()
		switch {
		case wrong > 0:
			ts.Fatalf("what came is wrong:\n%s", all)
		case found && neg:
			ts.Fatalf("there is an event like %s:\n%s", args[1], all)
		case found || neg:
			return
		case time.Now().After(deadline):
			ts.Fatalf("no event is like %s:\n%s", args[1], all)
		}
	}
}
