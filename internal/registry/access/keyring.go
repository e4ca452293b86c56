// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"dossier.dev/dossier"
)

// The times of keys.
const (
	// DefaultRotate is the age at which a key is replaced.
	DefaultRotate = 30 * 24 * time.Hour
	// retireAfter is how long a key verifies after another has taken its place.
	retireAfter = time.Hour
	// keysFor is how long keys are used before the store is asked again, so also
	// how long a key is believed that was removed.
	keysFor = time.Minute
	// keysStale is how long they are used when the store does not answer.
	keysStale = 15 * time.Minute
	// unknownEvery is how often the store is asked at most for a key that is not
	// known: anybody can name one.
	unknownEvery = time.Second
)

// keyring keeps the keys of a store at hand, and replaces old ones.
type keyring struct {
	store  KeyStore
	rotate time.Duration
	log    *slog.Logger
	now    func() time.Time

	mu     sync.Mutex
	keys   []Key
	loaded time.Time // when the store last answered
	tried  time.Time // when it was last asked
	failed time.Time // when keys could last not be replaced
}

// signing returns the key that signs now.
func (r *keyring) signing(ctx context.Context) (Key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.refresh(ctx); err != nil {
		return Key{}, err
	}
	if err := r.replace(ctx); err != nil {
		if len(r.keys) == 0 {
			return Key{}, err
		}
		r.failed = r.now()
		r.log.WarnContext(ctx, "signing keys cannot be replaced; the old one is used on", "error", err)
	}
	if len(r.keys) == 0 {
		return Key{}, dossier.Errorf(dossier.KindInvalid, "signing", "tokens", "no key is configured")
	}
	return r.keys[0], nil
}

// verifying returns the key of an ID. KindDenied: there is none.
func (r *keyring) verifying(ctx context.Context, id string) (Key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.refresh(ctx); err != nil {
		return Key{}, err
	}
	if k, ok := r.find(id); ok {
		return k, nil
	}
	// Another replica may have just made it.
	if r.now().Sub(r.tried) >= unknownEvery {
		if err := r.load(ctx); err != nil {
			return Key{}, err
		}
	}
	if k, ok := r.find(id); ok {
		return k, nil
	}
	return Key{}, denied("the token is signed with a key that is not known")
}

func (r *keyring) find(id string) (Key, bool) {
	for _, k := range r.keys {
		if k.id == id {
			return k, true
		}
	}
	return Key{}, false
}

// refresh asks the store when it is time. When it does not answer, the keys at
// hand are used for a while.
func (r *keyring) refresh(ctx context.Context) error {
	now := r.now()
	if now.Sub(r.loaded) < keysFor {
		return nil
	}
	usable := len(r.keys) > 0 && now.Sub(r.loaded) < keysStale
	if usable && now.Sub(r.tried) < unknownEvery {
		return nil
	}
	if err := r.load(ctx); err != nil && !usable {
		return err
	}
	return nil
}

func (r *keyring) load(ctx context.Context) error {
	r.tried = r.now()
	keys, err := r.store.Keys(ctx)
	if err != nil {
		return err
	}
	r.keys, r.loaded = keys, r.tried
	return nil
}

// replace makes a key when there is none or the newest is old, and removes those
// that were replaced long ago. Two replicas may each make one: both are good.
func (r *keyring) replace(ctx context.Context) error {
	rotator, ok := r.store.(KeyRotator)
	if !ok {
		return nil
	}
	now := r.now()
	if len(r.keys) > 0 && now.Sub(r.failed) < keysFor {
		return nil
	}
	if len(r.keys) > 0 && now.Sub(r.keys[0].Created) < r.rotate {
		return r.retire(ctx, rotator, now)
	}
	k, err := GenerateKey(now)
	if err != nil {
		return err
	}
	if err := rotator.Add(ctx, k); err != nil {
		return err
	}
	return r.load(ctx)
}

func (r *keyring) retire(ctx context.Context, rotator KeyRotator, now time.Time) error {
	for i := len(r.keys) - 1; i > 0; i-- {
		if now.Sub(r.keys[i-1].Created) < retireAfter {
			continue
		}
		if err := rotator.Remove(ctx, r.keys[i].id); err != nil {
			return err
		}
		r.keys = r.keys[:i:i]
	}
	return nil
}
