// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"dossier.dev/dossier"
)

// The limits of an htpasswd file.
const (
	MaxHtpasswdBytes = 4 << 20
	maxUsers         = 50_000
	maxCost          = 15 // of a hash: about 3 s
	// maxPassword is what bcrypt takes into account, in bytes. Longer ones are refused
	// rather than cut.
	maxPassword = 72
)

// verifiedFor is how long a verified password is remembered. It is forgotten at
// once when its entry in the file changes.
const verifiedFor = time.Hour

// dummyHash is compared with where a user is not known and the file gives no
// better one, so that the answer takes as long. Nobody knows its password.
const dummyHash = "$2a$10$w1n1lgGp4v1sdK7v1B6S9uDQm0F8zZ2rS2xh1bq3bH3T0s4mM0H6e"

// Htpasswd knows users by a file of lines USER:HASH, as htpasswd -B writes it.
// Only bcrypt is taken. The file is read again when it changes. A password is
// verified once, and again when its entry changes.
type Htpasswd struct {
	file     *File[users]
	verified *cache[struct{}]
	slots    chan struct{} // one for each verification at a time: they cost much
	now      func() time.Time
}

// users are the hashes by name, and one of them for who is not among them.
type users struct {
	hashes map[string]string
	dummy  string
}

// OpenHtpasswd reads users. The logger and the clock may be nil. Errors:
// KindInvalid with a line for each fault, KindLimit, KindNotFound, KindStorage.
func OpenHtpasswd(path string, log *slog.Logger, now func() time.Time) (*Htpasswd, error) {
	file, err := OpenFile(path, MaxHtpasswdBytes, parseHtpasswd, log, now)
	if err != nil {
		return nil, err
	}
	return &Htpasswd{
		file: file, verified: newCache[struct{}](), now: orNow(now),
		slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1)),
	}, nil
}

// Problem is what is wrong with the file, when it no longer says who the users are.
func (h *Htpasswd) Problem() error { return h.file.Problem() }

// parseHtpasswd reads lines; empty ones and those that begin with '#' say nothing.
// Errors never hold a hash.
func parseHtpasswd(text []byte) (users, error) {
	u := users{hashes: map[string]string{}}
	var faults []error
	n, best := 0, 0
	for line := range bytes.Lines(text) {
		n++
		entry := strings.TrimRight(string(line), "\r\n")
		if entry == "" || strings.HasPrefix(entry, "#") {
			continue
		}
		name, hash, _ := strings.Cut(entry, ":")
		cost, why := checkEntry(name, hash)
		if _, twice := u.hashes[name]; why == "" && twice {
			why = "the user is there twice"
		}
		if why != "" {
			faults = append(faults, &dossier.Error{Kind: dossier.KindInvalid, Op: "reading users:", Subject: fmt.Sprintf("line %d", n),
				Err: errors.New(why), Hint: "write entries with htpasswd -B"})
			continue
		}
		u.hashes[name] = hash
		if cost > best {
			best, u.dummy = cost, hash
		}
		if len(u.hashes) > maxUsers {
			return users{}, dossier.Errorf(dossier.KindLimit, "reading", "users", fmt.Sprintf("there are more than %d", maxUsers))
		}
	}
	return u, errors.Join(faults...)
}

// checkEntry returns the cost of a hash, or what is wrong with the entry.
func checkEntry(name, hash string) (cost int, fault string) {
	if !ValidUser(name) || name == APITokenUser {
		return 0, "want USER:HASH, with a name of at most 128 letters, digits and signs that is not reserved"
	}
	if !strings.HasPrefix(hash, "$2a$") && !strings.HasPrefix(hash, "$2b$") && !strings.HasPrefix(hash, "$2y$") {
		return 0, "the hash is not bcrypt"
	}
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil || len(hash) != 60 {
		return 0, "the hash is not bcrypt"
	}
	if cost > maxCost {
		return 0, fmt.Sprintf("the cost of the hash is %d, at most %d is taken", cost, maxCost)
	}
	return cost, ""
}

// verify returns a fingerprint of the entry that the password fits. Errors:
// KindDenied, the same whether the user is not known or the password is wrong;
// that of ctx.
func (h *Htpasswd) verify(ctx context.Context, user, password string) (fingerprint string, err error) {
	if len(password) > maxPassword {
		return "", denied("the user or the password is wrong")
	}
	known := h.file.Get(ctx)
	hash, isUser := known.hashes[user]
	if !isUser {
		hash = cmp.Or(known.dummy, dummyHash)
	}
	key := h.verified.key(user, password, hash)
	if _, ok := h.verified.get(key, h.now()); ok && isUser {
		return entryFingerprint(user, hash), nil
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return "", fmt.Errorf("waiting to verify a password: %w", ctx.Err())
	}
	// Many clients begin with one credential at once: who waited may know by now.
	if _, ok := h.verified.get(key, h.now()); ok && isUser {
		return entryFingerprint(user, hash), nil
	}
	if err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)); err != nil || !isUser {
		return "", denied("the user or the password is wrong")
	}
	now := h.now()
	h.verified.put(key, struct{}{}, now, now.Add(verifiedFor))
	return entryFingerprint(user, hash), nil
}

// holds reports whether a user's entry is still the one of a fingerprint.
func (h *Htpasswd) holds(ctx context.Context, user, fingerprint string) bool {
	hash, ok := h.file.Get(ctx).hashes[user]
	return ok && subtle.ConstantTimeCompare([]byte(entryFingerprint(user, hash)), []byte(fingerprint)) == 1
}

// entryFingerprint changes whenever the entry does, and is equal on all
// replicas. The salt in the hash keeps it from telling anything.
func entryFingerprint(user, hash string) string {
	sum := sha256.Sum256([]byte("dossier/htpasswd/v1\n" + user + "\n" + hash))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

func denied(why string) error {
	return dossier.Errorf(dossier.KindDenied, "checking", "credentials", why)
}
