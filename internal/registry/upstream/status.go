// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"strconv"
	"strings"
	"time"

	"dossier.dev/dossier"
)

// Status says how it stands with each upstream, by name. What is kept is left to
// the caller.
func (s *Set) Status() []dossier.Upstream {
	list := []dossier.Upstream{}
	for _, u := range s.all() {
		list = append(list, u.status())
	}
	return list
}

func (u *Upstream) status() dossier.Upstream {
	now := u.now()
	hosts := u.client.Usage().Hosts
	host := hosts[u.place.host]
	u.mu.Lock()
	defer u.mu.Unlock()
	s := dossier.Upstream{
		Name: u.config.Name, Prefix: u.Prefix(), URL: u.place.String(), State: dossier.UpstreamUnknown,
		AnsweredAt: stamp(u.answeredAt), FailedAt: stamp(u.failedAt), Error: u.failure, Served: u.served,
		RateLimit: parseRateLimit(host.Limit, host.Remaining),
	}
	for _, h := range hosts { // blobs and tokens often come from elsewhere
		s.Requests, s.Throttled, s.ReceivedBytes = s.Requests+h.Requests, s.Throttled+h.Throttled, s.ReceivedBytes+h.Bytes
		if h.Until.After(now) && h.Until.After(s.HeldUntil) {
			s.HeldUntil = stamp(h.Until)
		}
	}
	switch {
	case u.offline:
		s.State = dossier.UpstreamOffline
	case !s.HeldUntil.IsZero():
		s.State = dossier.UpstreamThrottled
	case u.failing:
		s.State = dossier.UpstreamFailing
	case !u.answeredAt.IsZero():
		s.State = dossier.UpstreamOK
	}
	return s
}

// stamp is a time as answers have it.
func stamp(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return dossier.Instant(t)
}

// parseRateLimit reads RateLimit headers as registries send them, "100;w=21600";
// nil when they are not of that form.
func parseRateLimit(limit, remaining string) *dossier.RateLimit {
	n, seconds, ok := parseRate(limit)
	left, _, leftOK := parseRate(remaining)
	if !ok || !leftOK {
		return nil
	}
	return &dossier.RateLimit{Limit: n, Remaining: left, Seconds: seconds}
}

func parseRate(s string) (n, seconds int64, ok bool) {
	first, params, _ := strings.Cut(s, ";")
	n, err := strconv.ParseInt(strings.TrimSpace(first), 10, 64)
	if err != nil || n < 0 {
		return 0, 0, false
	}
	for param := range strings.SplitSeq(params, ";") {
		if w, ok := strings.CutPrefix(strings.TrimSpace(param), "w="); ok {
			if seconds, err = strconv.ParseInt(w, 10, 64); err != nil || seconds < 0 {
				seconds = 0
			}
		}
	}
	return n, seconds, true
}
