// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"math"
	"strings"
	"testing"

	"dossier.dev/dossier"
)

func TestQueriesThatAreRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		q    dossier.AuditQuery
		want dossier.Kind
	}{
		"digest":       {dossier.AuditQuery{Digest: "sha256:12"}, dossier.KindInvalid},
		"action":       {dossier.AuditQuery{Action: "shove"}, dossier.KindInvalid},
		"tag alone":    {dossier.AuditQuery{Tag: "latest"}, dossier.KindInvalid},
		"pod":          {dossier.AuditQuery{Pod: "web"}, dossier.KindInvalid},
		"address":      {dossier.AuditQuery{Address: "nowhere"}, dossier.KindInvalid},
		"control":      {dossier.AuditQuery{Who: "a\nb"}, dossier.KindInvalid},
		"no UTF-8":     {dossier.AuditQuery{Repository: "\xff"}, dossier.KindInvalid},
		"too long":     {dossier.AuditQuery{Repository: strings.Repeat("a", maxWord+1)}, dossier.KindInvalid},
		"before":       {dossier.AuditQuery{Before: "1.2.3"}, dossier.KindInvalid},
		"limit":        {dossier.AuditQuery{Limit: dossier.MaxAuditPage + 1}, dossier.KindLimit},
		"negative":     {dossier.AuditQuery{Limit: -1}, dossier.KindLimit},
		"before later": {dossier.AuditQuery{Before: "1.-2.3.4"}, dossier.KindInvalid},
	} {
		if _, err := parse(tt.q, "registry.example"); dossier.KindOf(err) != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
}

func TestQueriesAreUnderstood(t *testing.T) {
	for who, want := range map[string]string{
		"": "", "alice": "user:alice", "ci/builder": "serviceaccount:ci/builder", "anonymous": "anonymous", "token": "token",
		"user:token": "user:token", "claimed:alice": "claimed:alice",
	} {
		if got := callerWord(who); got != want {
			t.Errorf("who %q is %q, want %q", who, got, want)
		}
	}
	for name, want := range map[string]string{
		"registry.example/team/app": "team/app", "team/app": "team/app", "docker.io/library/nginx": "docker.io/library/nginx",
	} {
		s, err := parse(dossier.AuditQuery{Repository: name, Address: "::ffff:10.1.2.3"}, "registry.example")
		if err != nil || s.path != want || s.Address != "10.1.2.3" || s.Limit != dossier.DefaultAuditPage {
			t.Errorf("%s: %+v, %v, want the path %s", name, s, err, want)
		}
	}
}

func TestPlaces(t *testing.T) {
	for _, p := range []place{{}, end, {at: -5, part: 1, id: math.MaxInt64, index: 4095}, {at: 1, part: math.MaxInt8}} {
		if got, err := parsePlace(p.String()); err != nil || got != p {
			t.Errorf("%s is read as %+v, %v", p, got, err)
		}
	}
	for _, s := range []string{"", "1", "1.1.1", "1.1.1.1.1", "a.0.0.0", "1.-1.0.0", "+1.0.0.0", "01.0.0.0", "1.0.0. 0", "1.0.0.99999999999999999999", strings.Repeat("1", 100)} {
		if got, err := parsePlace(s); dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("%q is read as %+v, %v, want it refused", s, got, err)
		}
	}
}

func FuzzPlace(f *testing.F) {
	f.Add("1772366400123456.1.42.0")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePlace(s)
		if err == nil && p.String() != s {
			t.Errorf("%q is read as %q", s, p)
		}
		if err != nil && dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("%q: %v", s, err)
		}
	})
}

// FuzzQuery checks that what is accepted finds nothing that was not asked for.
func FuzzQuery(f *testing.F) {
	f.Add("registry.example/a", "t", "alice", "ci/pod", "10.0.0.1", "pull", "1.0.0.0")
	f.Fuzz(func(t *testing.T, repository, tag, who, pod, address, action, before string) {
		q := dossier.AuditQuery{
			Repository: repository, Tag: tag, Who: who, Pod: pod, Address: address, Action: dossier.AuditAction(action), Before: before,
		}
		s, err := parse(q, "registry.example")
		if err != nil {
			if kind := dossier.KindOf(err); kind != dossier.KindInvalid && kind != dossier.KindLimit {
				t.Errorf("%+v: %v", q, err)
			}
			return
		}
		if len(s.keys()) == 0 {
			t.Errorf("%+v: no key", q)
		}
		e := fullEntry(noon)
		if set := map[word]struct{}{}; s.matches(&e) {
			words(set, &e)
			has := map[int64]bool{}
			for _, k := range keys(set) {
				has[k] = true
			}
			for _, k := range s.keys() {
				if !has[k] {
					t.Errorf("%+v: the entry matches and lacks a key", q)
				}
			}
		}
	})
}
