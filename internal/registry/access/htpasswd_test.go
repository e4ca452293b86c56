// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"dossier.dev/dossier"
)

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// hashOf is a password's hash, as cheap as can be.
func hashOf(t testing.TB, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// openUsers makes a file of users with their passwords.
func openUsers(t testing.TB, c *clock, passwords map[string]string) (*Htpasswd, string) {
	t.Helper()
	var text strings.Builder
	for user, password := range passwords {
		fmt.Fprintf(&text, "%s:%s\n", user, hashOf(t, password))
	}
	path := filepath.Join(t.TempDir(), "users")
	writeFile(t, path, text.String())
	h, err := OpenHtpasswd(path, nil, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return h, path
}

func TestHtpasswd(t *testing.T) {
	long := strings.Repeat("x", maxPassword)
	h, _ := openUsers(t, newClock(), map[string]string{"alice": "secret", "bob": long, "empty": ""})
	tests := []struct {
		user, password string
		want           bool
	}{
		{"alice", "secret", true},
		{"alice", "secret", true}, // remembered
		{"alice", "Secret", false},
		{"alice", "", false},
		{"alice", long, false},
		{"bob", long, true},
		{"bob", long + "y", false}, // bcrypt alone would not look at the rest
		{"bob", "secret", false},
		{"empty", "", true},
		{"mallory", "secret", false},
		{"mallory", "", false},
		{"", "", false},
		{"alice\x00", "secret", false},
	}
	for _, test := range tests {
		_, err := h.verify(t.Context(), test.user, test.password)
		if got := err == nil; got != test.want {
			t.Errorf("%q %q: got %v, want %v", test.user, test.password, err, test.want)
		}
		if err != nil && (dossier.KindOf(err) != dossier.KindDenied || err.Error() != "checking credentials: the user or the password is wrong") {
			t.Errorf("%q %q: the error tells more than that it is wrong: %v", test.user, test.password, err)
		}
	}
}

// TestPasswordIsVerifiedOnce: no hash is computed again until the entry changes,
// and a wrong password is never remembered.
func TestPasswordIsVerifiedOnce(t *testing.T) {
	c := newClock()
	h, path := openUsers(t, c, map[string]string{"alice": "secret"})
	if _, err := h.verify(t.Context(), "alice", "secret"); err != nil {
		t.Fatal(err)
	}
	// Whoever needs a slot now waits for ever.
	for range cap(h.slots) {
		h.slots <- struct{}{}
	}
	if _, err := h.verify(t.Context(), "alice", "secret"); err != nil {
		t.Errorf("again: %v", err)
	}
	ctx, cancel := contextWithin(t, 20*time.Millisecond)
	defer cancel()
	if _, err := h.verify(ctx, "alice", "wrong"); err == nil || dossier.KindOf(err) == dossier.KindDenied {
		t.Errorf("a wrong password is known without computing: %v", err)
	}
	for range cap(h.slots) {
		<-h.slots
	}
	writeFile(t, path, "alice:"+hashOf(t, "other")+"\n")
	c.add(checkEvery)
	if _, err := h.verify(t.Context(), "alice", "secret"); dossier.KindOf(err) != dossier.KindDenied {
		t.Errorf("the old password: %v", err)
	}
	if _, err := h.verify(t.Context(), "alice", "other"); err != nil {
		t.Errorf("the new password: %v", err)
	}
}

// TestFingerprint: it holds exactly as long as the entry.
func TestFingerprint(t *testing.T) {
	c := newClock()
	h, path := openUsers(t, c, map[string]string{"alice": "secret"})
	fingerprint, err := h.verify(t.Context(), "alice", "secret")
	if err != nil {
		t.Fatal(err)
	}
	if !h.holds(t.Context(), "alice", fingerprint) {
		t.Error("it does not hold")
	}
	for _, test := range [][2]string{{"bob", fingerprint}, {"alice", ""}, {"alice", fingerprint + "x"}, {"", ""}} {
		if h.holds(t.Context(), test[0], test[1]) {
			t.Errorf("it holds for %q", test)
		}
	}
	// The same password again is another entry: who changes it ends all tokens.
	writeFile(t, path, "alice:"+hashOf(t, "secret")+"\n")
	c.add(checkEvery)
	if h.holds(t.Context(), "alice", fingerprint) {
		t.Error("it holds after the entry has changed")
	}
}

// TestFileFaults: a file that breaks leaves what was, and says so; one that is
// corrected counts.
func TestFileFaults(t *testing.T) {
	c := newClock()
	h, path := openUsers(t, c, map[string]string{"alice": "secret"})
	good := func(want bool) {
		t.Helper()
		c.add(checkEvery)
		if _, err := h.verify(t.Context(), "alice", "secret"); (err == nil) != want {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	good(true)
	writeFile(t, path, "alice:plain\n")
	good(true)
	if err := h.Problem(); dossier.KindOf(err) != dossier.KindInvalid {
		t.Errorf("problem of a broken file: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	good(true)
	if err := h.Problem(); dossier.KindOf(err) != dossier.KindNotFound {
		t.Errorf("problem of no file: %v", err)
	}
	writeFile(t, path, "# nobody\n")
	good(false)
	if err := h.Problem(); err != nil {
		t.Errorf("problem of a good file: %v", err)
	}
}

// TestFileOfEqualTimes: a change that leaves time and size as they were is seen
// when it comes soon after the last.
func TestFileOfEqualTimes(t *testing.T) {
	c := newClock()
	path := filepath.Join(t.TempDir(), "rules")
	at := c.now()
	write := func(user string) {
		writeFile(t, path, "rules: [{repositories: [a], users: ["+user+"], allow: [pull]}]")
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	write("alice")
	f, err := OpenRulesFile(path, nil, c.now)
	if err != nil {
		t.Fatal(err)
	}
	write("carol")
	if !f.Rules(t.Context()).Can(who(t, "alice"), Pull, "a").Allowed {
		t.Error("the file is looked at more than once a second")
	}
	c.add(checkEvery)
	if rules := f.Rules(t.Context()); rules.Can(who(t, "alice"), Pull, "a").Allowed || !rules.Can(who(t, "carol"), Pull, "a").Allowed {
		t.Error("the change was not seen")
	}
	if f.Problem() != nil {
		t.Error(f.Problem())
	}
}

func TestHtpasswdFaults(t *testing.T) {
	hash := hashOf(t, "x")
	tests := []struct {
		text string
		want []string
	}{
		{"", nil},
		{"# a\n\nalice:" + hash + "\r\nbob:" + hash, nil},
		{"alice:$2y$" + hash[4:], nil},
		{"alice", []string{"line 1: the hash is not bcrypt"}},
		{"alice:", []string{"line 1: the hash is not bcrypt"}},
		{"alice:secret", []string{"line 1: the hash is not bcrypt"}},
		{"alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", []string{"line 1: the hash is not bcrypt"}},
		{"alice:$apr1$x$y", []string{"line 1: the hash is not bcrypt"}},
		{"alice:$2x$" + hash[4:], []string{"line 1: the hash is not bcrypt"}},
		{"alice:" + hash + "x", []string{"line 1: the hash is not bcrypt"}},
		{"alice:" + strings.Replace(hash, "$04$", "$31$", 1), []string{"line 1: the cost of the hash is 31"}},
		{"\nalice:" + hash + "\nalice:" + hash + "\nbad user:" + hash, []string{"line 3: the user is there twice", "line 4: want USER:HASH"}},
		{ServiceAccountUser + ":" + hash, []string{"line 1: want USER:HASH"}},
		{AnonymousUser + ":" + hash, []string{"line 1: want USER:HASH"}},
		{"ns/sa:" + hash, []string{"line 1: want USER:HASH"}},
	}
	for _, test := range tests {
		_, err := parseHtpasswd([]byte(test.text))
		faults := flatten(err)
		if len(faults) != len(test.want) {
			t.Errorf("%q: got %v, want %d faults", test.text, err, len(test.want))
			continue
		}
		for i, want := range test.want {
			if !strings.Contains(faults[i].Error(), want) || strings.Contains(faults[i].Error(), hash[7:]) {
				t.Errorf("%q: got %v, want %q", test.text, faults[i], want)
			}
		}
	}
}

// TestDummyHash: who is not known costs as much as who is.
func TestDummyHash(t *testing.T) {
	if cost, fault := checkEntry("x", dummyHash); fault != "" || cost != bcrypt.DefaultCost {
		t.Errorf("got %d, %q", cost, fault)
	}
	u, err := parseHtpasswd([]byte("a:" + hashOf(t, "x")))
	if err != nil || u.dummy == "" {
		t.Errorf("got %+v, %v", u, err)
	}
}

func FuzzParseHtpasswd(f *testing.F) {
	f.Add([]byte("alice:" + dummyHash + "\n# x\nbob:y\n"))
	f.Add([]byte("a:$2a$99$\n:\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		u, err := parseHtpasswd(text)
		if err != nil {
			return
		}
		for name, hash := range u.hashes {
			if !ValidUser(name) || strings.ContainsAny(hash, "\r\n") {
				t.Errorf("%q: %q has %q", text, name, hash)
			}
		}
	})
}

// TestCacheIsBounded: it forgets rather than grows, and what has expired first.
func TestCacheIsBounded(t *testing.T) {
	c := newCache[int]()
	now := newClock().now()
	stay := c.key("stay")
	c.put(stay, 1, now, now.Add(time.Hour))
	for i := range maxRemembered {
		c.put(c.key(fmt.Sprint(i)), i, now, now.Add(time.Minute))
	}
	if len(c.entries) != maxRemembered {
		t.Errorf("it has %d entries", len(c.entries))
	}
	now = now.Add(2 * time.Minute)
	c.put(stay, 1, now, now.Add(time.Hour))
	c.put(c.key("new"), 2, now, now.Add(time.Hour))
	if _, ok := c.get(stay, now); !ok || len(c.entries) > 3 {
		t.Errorf("it has %d entries", len(c.entries))
	}
	if c.key("ab", "c") == c.key("a", "bc") || c.key("a") == newCache[int]().key("a") {
		t.Error("keys are equal that must not be")
	}
}
