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
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// receiver is who gets notifications: it checks each as docs/spec/notifications.md
// tells receivers to, and keeps those that are right.
type receiver struct {
	key []byte

	mu     sync.Mutex
	seen   map[string]bool
	events []string // as one line each, in order
	wrong  []string
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
	if fault != "" {
		r.wrong = append(r.wrong, fault)
		w.WriteHeader(http.StatusBadRequest)
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
	r := &receiver{key: key, seen: map[string]bool{}}
	server := httptest.NewServer(r)
	ts.Defer(server.Close)
	ts.Value(receiversKey{}).(map[string]*receiver)[args[0]] = r
	ts.Setenv(args[0], server.URL)
}

// scriptReceived: [!] received NAME PATTERN waits for an event that matches, or
// finds that there is none yet.
func scriptReceived(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: received NAME PATTERN")
	}
	r, ok := ts.Value(receiversKey{}).(map[string]*receiver)[args[0]]
	if !ok {
		ts.Fatalf("no receiver %s was started", args[0])
	}
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
