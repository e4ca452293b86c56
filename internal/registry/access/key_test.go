// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

func ids(t testing.TB, store KeyStore) []string {
	t.Helper()
	keys, err := store.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, k := range keys {
		list = append(list, k.ID())
	}
	return list
}

func TestKeyForm(t *testing.T) {
	made := time.Date(2030, 1, 2, 3, 4, 5, 678, time.UTC)
	ec, err := newKey(newECKey(t, elliptic.P256()), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []Key{newTestKey(t, made), ec} {
		text, err := MarshalKey(k)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseKeys(append(text, text...))
		if err != nil || len(got) != 2 || got[1].ID() != k.ID() || !got[1].Created.Equal(k.Created) {
			t.Errorf("got %v, %v", got, err)
		}
	}
}

func TestParseKeysRefuses(t *testing.T) {
	block := func(kind string, private any) string {
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	good := newECKey(t, elliptic.P256())
	for name, text := range map[string]string{
		"nothing": "", "text": "secret", "RSA": block(pemType, rsaKey), "other curve": block(pemType, newECKey(t, elliptic.P384())),
		"other type": block("EC PRIVATE KEY", good), "broken": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"one of two": block(pemType, good) + block(pemType, rsaKey),
	} {
		if got, err := ParseKeys([]byte(text)); dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

func FuzzParseKeys(f *testing.F) {
	text, err := MarshalKey(newTestKey(f, time.Unix(1, 0)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nCreated: x\n\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := ParseKeys(text)
		if (err == nil) != (len(keys) > 0) {
			t.Errorf("%q: got %v, %v", text, keys, err)
		}
	})
}

func TestKeyDir(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "keys")
	dir, err := OpenKeyDir(path)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	old, young := newTestKey(t, now), newTestKey(t, now.Add(time.Hour))
	for _, k := range []Key{young, old, old} {
		if err := dir.Add(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{young.ID(), old.ID()}, ids(t, dir)); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	for name, want := range map[string]os.FileMode{path: 0o700, filepath.Join(path, old.ID()+".pem"): 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want mode %v", name, info, err, want)
		}
	}
	for _, id := range []string{old.ID(), old.ID(), "../../x"} {
		if err := dir.Remove(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff([]string{young.ID()}, ids(t, dir)); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	writeFile(t, filepath.Join(path, "x.pem"), "secret")
	if _, err := dir.Keys(t.Context()); dossier.KindOf(err) != dossier.KindCorrupt {
		t.Errorf("a broken key: %v", err)
	}
}

// TestRotation: a key is replaced when it is old, what it has signed stays good,
// and other replicas follow at once.
func TestRotation(t *testing.T) {
	c := newClock()
	dir, err := OpenKeyDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	one := newTokens(t, c, dir)
	two := newTokens(t, c, dir)
	issue := func(by *Tokens) string {
		t.Helper()
		token, err := by.issue(t.Context(), Caller{Identity: who(t, "alice")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return token.Text
	}
	good := func(by *Tokens, text string, want bool) {
		t.Helper()
		if _, err := by.verify(t.Context(), text); (err == nil) != want {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	if got := ids(t, dir); len(got) != 1 {
		t.Fatalf("two replicas have %d keys", len(got))
	}
	good(two, issue(one), true)
	c.add(DefaultRotate - 10*time.Second)
	before := issue(one)
	good(two, before, true)
	c.add(10 * time.Second)
	after := issue(one)
	if got := ids(t, dir); len(got) != 2 {
		t.Fatalf("there are %d keys", len(got))
	}
	c.add(unknownEvery)
	good(two, after, true)
	good(two, before, true)
	c.add(retireAfter)
	issue(one)
	if got := ids(t, dir); len(got) != 1 {
		t.Errorf("there are %d keys", len(got))
	}
	// A key that was removed is not believed beyond keysFor.
	last := issue(two)
	if err := dir.Remove(t.Context(), ids(t, dir)[0]); err != nil {
		t.Fatal(err)
	}
	c.add(keysFor)
	good(two, last, false)
}

// flaky is a KeyStore that can fail.
type flaky struct {
	StaticKeys
	asked int
	err   error
}

func (f *flaky) Keys(ctx context.Context) ([]Key, error) {
	f.asked++
	if f.err != nil {
		return nil, f.err
	}
	return f.StaticKeys.Keys(ctx)
}

func (f *flaky) Add(context.Context, Key) error       { return f.err }
func (f *flaky) Remove(context.Context, string) error { return f.err }

// TestKeyStoreFails: keys at hand are used for a while, and made-up names of keys
// do not become questions to the store.
func TestKeyStoreFails(t *testing.T) {
	c := newClock()
	store := &flaky{StaticKeys: StaticKeys{newTestKey(t, c.now())}}
	tokens := newTokens(t, c, store)
	issue := func() (string, error) {
		token, err := tokens.issue(t.Context(), Caller{Identity: who(t, "alice")}, nil)
		return token.Text, err
	}
	stranger, err := newTokens(t, c, StaticKeys{newTestKey(t, c.now())}).issue(t.Context(), Caller{Identity: who(t, "alice")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.add(unknownEvery)
	store.asked = 0
	for range 100 {
		if _, err := tokens.verify(t.Context(), stranger.Text); dossier.KindOf(err) != dossier.KindDenied {
			t.Fatal(err)
		}
	}
	if store.asked != 1 {
		t.Errorf("the store was asked %d times", store.asked)
	}
	store.err = &dossier.Error{Kind: dossier.KindUnavailable, Op: "asking", Err: errors.New("down")}
	c.add(keysFor)
	text, err := issue()
	if err != nil {
		t.Error(err)
	}
	if _, err := tokens.verify(t.Context(), text); err != nil {
		t.Error(err)
	}
	c.add(keysStale)
	if _, err := issue(); dossier.KindOf(err) != dossier.KindUnavailable {
		t.Errorf("with stale keys: %v", err)
	}
	store.err = nil
	if _, err := issue(); err != nil {
		t.Errorf("after the store is back: %v", err)
	}
	// An old key signs on when no new one can be kept.
	c.add(DefaultRotate)
	if _, err := issue(); err != nil {
		t.Error(err)
	}
}
