// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier_test

import (
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
)

func sampleFact() dossier.Fact {
	return dossier.Fact{
		Statement: dossier.Statement{
			Subject: emptySHA256,
			Kind:    dossier.FactTag,
			Source:  "registry:docker.io/library/nginx:1.27",
			ValidAt: time.Date(2024, 5, 6, 7, 8, 9, 123456000, time.UTC),
			Body:    []byte(`{"name":"docker.io/library/nginx","tag":"1.27","points":true}`),
		},
		RecordedAt: time.Date(2024, 5, 6, 7, 8, 10, 0, time.UTC),
		Seq:        7,
		Prev:       emptySHA512,
		Salt:       []byte("0123456789abcdef0123456789abcdef"),
	}
}

// TestFactHashesGolden holds the identity of facts and the leaves of the log:
// if these change, every database and every proof is broken. The values were
// computed by another program from the text that the documentation describes.
func TestFactHashesGolden(t *testing.T) {
	f := sampleFact()
	timeless := f
	timeless.ValidAt, timeless.Body, timeless.Prev = time.Time{}, nil, ""
	tests := []struct {
		name      string
		got, want dossier.Digest
	}{
		{"id", f.Statement.ID(), "sha256:e8e37910b6924a50558723a68137801751baca220f4fb5034dc915df18bfef7f"},
		{"leaf", f.LeafHash(), "sha256:b0877771edfbb845557d4939d39ebfc153ced9038740b4ecab58ff208d603ef6"},
		{"body hash", dossier.BodyHash(f.Salt, f.Body), "sha256:58ee2ebb06894aee8322cc8ba1c58fa59ac72d1fc972a3c4e1ca8d9946ac0823"},
		{"id without a time", timeless.Statement.ID(), "sha256:125640614d48c04c8594f418cea74804c8f87abc24aac1e26ca00ae1d7890602"},
		{"leaf of the first fact", timeless.LeafHash(), "sha256:25a49423d946df22bf12552fb4480d197b502f04687ca7f48853834ba0347b60"},
	}
	for _, test := range tests {
		if test.got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, test.got, test.want)
		}
	}
}

func TestFactIDNeedsEveryField(t *testing.T) {
	seen := map[dossier.Digest]string{sampleFact().Statement.ID(): "the sample"}
	for name, change := range map[string]func(*dossier.Statement){
		"subject": func(s *dossier.Statement) { s.Subject = emptySHA512 },
		"kind":    func(s *dossier.Statement) { s.Kind = dossier.FactName },
		"source":  func(s *dossier.Statement) { s.Source += "x" },
		"time":    func(s *dossier.Statement) { s.ValidAt = s.ValidAt.Add(time.Microsecond) },
		"no time": func(s *dossier.Statement) { s.ValidAt = time.Time{} },
		"1970":    func(s *dossier.Statement) { s.ValidAt = time.Unix(0, 0) },
		"body":    func(s *dossier.Statement) { s.Body = []byte("{}") },
		"no body": func(s *dossier.Statement) { s.Body = nil },
	} {
		s := sampleFact().Statement
		change(&s)
		if other, ok := seen[s.ID()]; ok {
			t.Errorf("%s and %s have one ID", name, other)
		}
		seen[s.ID()] = name
	}
	zone := sampleFact().Statement
	zone.ValidAt = zone.ValidAt.In(time.FixedZone("", 3600))
	if zone.ID() != sampleFact().Statement.ID() {
		t.Error("the same time in another zone gives another ID")
	}
}

func TestLeafNeedsEveryField(t *testing.T) {
	seen := map[dossier.Digest]string{sampleFact().LeafHash(): "the sample"}
	for name, change := range map[string]func(*dossier.Fact){
		"subject":     func(f *dossier.Fact) { f.Subject = emptySHA512 },
		"kind":        func(f *dossier.Fact) { f.Kind = dossier.FactName },
		"source":      func(f *dossier.Fact) { f.Source += "x" },
		"valid at":    func(f *dossier.Fact) { f.ValidAt = time.Time{} },
		"recorded at": func(f *dossier.Fact) { f.RecordedAt = f.RecordedAt.Add(time.Microsecond) },
		"seq":         func(f *dossier.Fact) { f.Seq++ },
		"prev":        func(f *dossier.Fact) { f.Prev = "" },
		"salt":        func(f *dossier.Fact) { f.Salt = []byte("x") },
		"body":        func(f *dossier.Fact) { f.Body = nil },
	} {
		f := sampleFact()
		change(&f)
		if other, ok := seen[f.LeafHash()]; ok {
			t.Errorf("%s and %s have one leaf", name, other)
		}
		seen[f.LeafHash()] = name
	}
	f := sampleFact()
	hash := dossier.BodyHash(f.Salt, f.Body)
	want := f.LeafHash()
	f.Body = nil
	if got := f.LeafOf(hash); got != want {
		t.Errorf("after the body was erased the leaf is %s, want %s", got, want)
	}
}

func TestStatementValidate(t *testing.T) {
	tests := []struct {
		name   string
		change func(*dossier.Statement)
		kind   dossier.Kind
	}{
		{"as it is", func(*dossier.Statement) {}, ""},
		{"no time", func(s *dossier.Statement) { s.ValidAt = time.Time{} }, ""},
		{"longest", func(s *dossier.Statement) { s.Source = strings.Repeat("x", dossier.MaxFactSource) }, ""},
		{"no subject", func(s *dossier.Statement) { s.Subject = "" }, dossier.KindInvalid},
		{"malformed subject", func(s *dossier.Statement) { s.Subject = "sha256:0" }, dossier.KindInvalid},
		{"no kind", func(s *dossier.Statement) { s.Kind = "" }, dossier.KindInvalid},
		{"kind of two lines", func(s *dossier.Statement) { s.Kind = "a\nb" }, dossier.KindInvalid},
		{"no source", func(s *dossier.Statement) { s.Source = "" }, dossier.KindInvalid},
		{"source of two lines", func(s *dossier.Statement) { s.Source = "a\nb" }, dossier.KindInvalid},
		{"source with a zero byte", func(s *dossier.Statement) { s.Source = "a\x00b" }, dossier.KindInvalid},
		{"long source", func(s *dossier.Statement) { s.Source = strings.Repeat("x", dossier.MaxFactSource+1) }, dossier.KindLimit},
		{"large body", func(s *dossier.Statement) { s.Body = make([]byte, dossier.MaxFactBody+1) }, dossier.KindLimit},
		{"nanoseconds", func(s *dossier.Statement) { s.ValidAt = s.ValidAt.Add(1) }, dossier.KindInvalid},
	}
	for _, test := range tests {
		s := sampleFact().Statement
		test.change(&s)
		if err := s.Validate(); dossier.KindOf(err) != test.kind {
			t.Errorf("%s: got %v, want kind %q", test.name, err, test.kind)
		}
	}
}

func TestInstant(t *testing.T) {
	zone := time.FixedZone("", 3600)
	tests := []struct{ in, want time.Time }{
		{time.Time{}, time.Time{}},
		{time.Time{}.In(zone), time.Time{}},
		{time.Date(2024, 1, 1, 1, 0, 0, 1999, zone), time.Date(2024, 1, 1, 0, 0, 0, 1000, time.UTC)},
	}
	for _, test := range tests {
		if got := dossier.Instant(test.in); got != test.want {
			t.Errorf("%v: got %v, want %v", test.in, got, test.want)
		}
	}
}
