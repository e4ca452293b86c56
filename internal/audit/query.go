// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"dossier.dev/dossier"
)

// search is a query that was checked.
type search struct {
	dossier.AuditQuery
	path   string // of Repository
	caller string // AuditCaller.String
	before place
}

const opQuery = "searching the audit"

// maxWord bounds what is searched for, in bytes.
const maxWord = 512

// parse checks a query. registry is what the registry is called.
func parse(q dossier.AuditQuery, registry string) (search, error) {
	fail := func(subject, why string) (search, error) {
		return search{}, dossier.Errorf(dossier.KindInvalid, opQuery, subject, why)
	}
	s := search{AuditQuery: q, before: end}
	for _, text := range []string{q.Repository, q.Tag, q.Who, q.Pod, q.Address, string(q.Action)} {
		if len(text) > maxWord || !isPlain(text) {
			return fail("", fmt.Sprintf("what to search for is too long, or no plain text: %.60q", text))
		}
	}
	if q.Digest != "" {
		if _, err := dossier.ParseDigest(string(q.Digest)); err != nil {
			return search{}, err
		}
	}
	if q.Action != "" && !slices.Contains(dossier.AuditActions(), q.Action) {
		return fail(string(q.Action), "there is no such action")
	}
	if q.Tag != "" && q.Repository == "" {
		return fail(q.Tag, "a tag is one of a repository: name it")
	}
	if q.Pod != "" && strings.Count(q.Pod, "/") != 1 {
		return fail(q.Pod, "want NAMESPACE/NAME of a pod")
	}
	if q.Address != "" {
		address, err := netip.ParseAddr(q.Address)
		if err != nil {
			return fail(q.Address, "want the address of a host")
		}
		s.Address = address.Unmap().String()
	}
	if q.Limit < 0 || q.Limit > dossier.MaxAuditPage {
		return search{}, dossier.Errorf(dossier.KindLimit, opQuery, strconv.Itoa(q.Limit),
			fmt.Sprintf("a page has 1 to %d entries", dossier.MaxAuditPage))
	}
	s.Limit = cmp.Or(q.Limit, dossier.DefaultAuditPage)
	s.path = strings.TrimPrefix(q.Repository, registry+"/")
	s.caller = callerWord(q.Who)
	if !q.Until.IsZero() {
		s.before = place{at: q.Until.UnixMicro()}
	}
	if q.Before != "" {
		before, err := parsePlace(q.Before)
		if err != nil {
			return search{}, err
		}
		if before.compare(s.before) < 0 {
			s.before = before
		}
	}
	return s, nil
}

// callerWord returns AuditCaller.String of whom a person means.
func callerWord(who string) string {
	switch {
	case who == "" || strings.Contains(who, ":") || slices.Contains([]string{"anonymous", "token"}, who):
		return who
	case strings.Contains(who, "/"):
		return "serviceaccount:" + who
	}
	return "user:" + who
}

// keys returns the keys of what must be in an entry, those first that single out
// most.
func (s search) keys() []int64 {
	var list []int64
	add := func(f field, value string) {
		if value != "" {
			list = append(list, word{f, value}.key())
		}
	}
	add(byDigest, string(s.Digest))
	if s.Tag != "" {
		add(byTag, s.path+":"+s.Tag)
	}
	add(byPod, s.Pod)
	add(byCaller, s.caller)
	add(byAddress, s.Address)
	add(byRepository, s.path)
	if s.Denied {
		list = append(list, word{field: byDenied}.key())
	}
	add(byAction, string(s.Action))
	if len(list) == 0 {
		list = append(list, word{field: byAll}.key())
	}
	return list
}

// matches reports whether an entry is one that is searched for. Keys find others
// as well.
func (s search) matches(e *dossier.AuditEntry) bool {
	return (s.path == "" || pathOf(e.Repository) == s.path || s.Tag == "" && pathOf(e.Source) == s.path) &&
		(s.Tag == "" || e.Tag == s.Tag) &&
		(s.Digest == "" || e.Digest == s.Digest || e.Was == s.Digest) &&
		(s.caller == "" || e.Caller.String() == s.caller) &&
		(s.Pod == "" || podOf(e.Caller) == s.Pod) &&
		(s.Address == "" || e.Address == s.Address) &&
		(s.Action == "" || e.Action == s.Action) &&
		(!s.Denied || e.Denied) &&
		(s.Since.IsZero() || !e.At.Before(s.Since))
}

// place is the place of an entry in the order of all: by time, then by the part
// of the audit it is in, by the ID that it has there, and by its number there.
type place struct {
	at    int64 // microseconds
	part  int
	id    int64
	index int
}

// end is after every entry.
var end = place{at: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()}

func (p place) compare(o place) int {
	return cmp.Or(cmp.Compare(p.at, o.at), cmp.Compare(p.part, o.part), cmp.Compare(p.id, o.id), cmp.Compare(p.index, o.index))
}

// String writes a place for AuditList.Next.
func (p place) String() string {
	return fmt.Sprintf("%d.%d.%d.%d", p.at, p.part, p.id, p.index)
}

// maxPlace bounds the text of a place, in bytes.
const maxPlace = 80

// parsePlace reads what String wrote.
func parsePlace(s string) (place, error) {
	var n [4]int64
	parts := strings.Split(s[:min(len(s), maxPlace+1)], ".")
	ok := len(s) <= maxPlace && len(parts) == len(n)
	for i := 0; ok && i < len(n); i++ {
		v, err := strconv.ParseInt(parts[i], 10, 64)
		n[i], ok = v, err == nil && (i == 0 || v >= 0)
	}
	p := place{at: n[0], part: int(n[1]), id: n[2], index: int(n[3])}
	if !ok || p.String() != s {
		return place{}, dossier.Errorf(dossier.KindInvalid, opQuery, "", "before is not what next of a page was")
	}
	return p, nil
}
