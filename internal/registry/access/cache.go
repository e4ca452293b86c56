// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

// maxRemembered bounds a cache, in entries.
const maxRemembered = 10_000

// cache remembers what was found out about secrets, without the secrets: its
// keys are MACs under a random key of this process. So neither memory nor the time
// of a look-up tells anything about them.
type cache[V any] struct {
	mu      sync.Mutex
	secret  []byte
	entries map[mac]remembered[V]
}

type mac [sha256.Size]byte

type remembered[V any] struct {
	value V
	until time.Time
}

func newCache[V any]() *cache[V] {
	c := &cache[V]{secret: make([]byte, sha256.Size), entries: map[mac]remembered[V]{}}
	_, _ = rand.Read(c.secret) // it never fails
	return c
}

// key is the MAC of the parts, each with its length.
func (c *cache[V]) key(parts ...string) mac {
	h := hmac.New(sha256.New, c.secret)
	for _, part := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	return mac(h.Sum(nil))
}

func (c *cache[V]) get(key mac, now time.Time) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok || !now.Before(e.until) {
		var none V
		return none, false
	}
	return e.value, true
}

// put remembers a value. A full cache drops what has expired, or else any entry.
func (c *cache[V]) put(key mac, value V, now, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= maxRemembered {
		for k, e := range c.entries {
			if !now.Before(e.until) {
				delete(c.entries, k)
			}
		}
		for k := range c.entries {
			if len(c.entries) < maxRemembered {
				break
			}
			delete(c.entries, k)
		}
	}
	c.entries[key] = remembered[V]{value, until}
}
