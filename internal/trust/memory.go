// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"dossier.dev/dossier"
)

// memory is what was decided by a policy, without the checks: a digest is verified once,
// however often it is asked about and however many run it. A decision follows from its
// input, so what is remembered cannot grow old, but for the time: it holds from one
// time at which a check may come out otherwise to the next.
type memory struct {
	mu sync.Mutex
	// What was asked for lately is in recent. When that is full it becomes earlier, and what
	// was earlier is forgotten.
	recent, earlier map[[sha256.Size]byte]remembered
	verified        int // how often a decision was made
}

// remembered is a decision and the times for which it is the same.
type remembered struct {
	decision Decision
	from, to time.Time // to does not belong to it; zero: no bound
}

// maxRemembered is how many decisions are in each half of a memory: some kilobytes each.
const maxRemembered = 5000

// Judge is Decide without the checks in the trials, each decided once as long as it is
// remembered, and it pins nobody. Policies may be used by several goroutines.
func (p *Policy) Judge(ref dossier.Reference, digest dossier.Digest, evidence []Evidence, pin *dossier.SignerPin, at time.Time) Decision {
	return p.judged.of(key("", ref, digest, evidence, pin), at, func() Decision { return p.decide(ref, digest, evidence, pin, false, at) })
}

// key tells questions apart.
func key(kind string, ref dossier.Reference, digest dossier.Digest, evidence []Evidence, pin *dossier.SignerPin) [sha256.Size]byte {
	h := sha256.New()
	if pin != nil {
		fmt.Fprintf(h, "%q %q %q %d ", pin.Signer, pin.Image, pin.Trust, pin.At.UnixMicro())
	}
	fmt.Fprintf(h, "%q %q %q", kind, ref.String(), digest)
	for _, e := range evidence {
		fmt.Fprintf(h, " %s %s", e.Form, e.Digest())
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func (m *memory) of(k [sha256.Size]byte, at time.Time, decide func() Decision) Decision {
	if d, ok := m.known(k, at); ok {
		return d
	}
	d := decide()
	r := remembered{decision: d}
	r.decision.Trials = make([]Trial, len(d.Trials))
	for i, t := range d.Trials {
		for _, turn := range t.turns {
			switch {
			case turn.IsZero():
			case turn.After(at):
				r.to = earliest(r.to, turn)
			case turn.After(r.from):
				r.from = turn
			}
		}
		t.Checks, t.turns, t.lookups = nil, nil, nil
		r.decision.Trials[i] = t
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.verified++
	m.keep(k, r)
	return r.decision
}

// known returns what is remembered, for another time.
func (m *memory) known(k [sha256.Size]byte, at time.Time) (Decision, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.recent[k]
	if !ok {
		if r, ok = m.earlier[k]; ok {
			m.keep(k, r)
		}
	}
	if !ok || at.Before(r.from) || !r.to.IsZero() && !at.Before(r.to) {
		return Decision{}, false
	}
	r.decision.At = at.UTC()
	return r.decision, true
}

func (m *memory) keep(k [sha256.Size]byte, r remembered) {
	if m.recent == nil || len(m.recent) >= maxRemembered {
		m.recent, m.earlier = map[[sha256.Size]byte]remembered{}, m.recent
	}
	m.recent[k] = r
}
