// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
	"unicode/utf8"

	"dossier.dev/dossier"
)

// randomEvidence makes evidence from the cases: parts of several of them, with
// parts lost, repeated, and bodies spoilt.
func randomEvidence(r *rand.Rand, cases []judgeCase) Evidence {
	e := cases[r.IntN(len(cases))].evidence()
	f := cases[r.IntN(len(cases))].evidence()
	maybe := func(change func()) {
		if r.IntN(4) == 0 {
			change()
		}
	}
	maybe(func() { e.Facts = append(e.Facts, f.Facts...) })
	maybe(func() { e.Platforms = append(e.Platforms, f.Platforms...) })
	maybe(func() { e.Platforms = nil })
	maybe(func() { e.Requested = append(e.Requested, f.Requested...) })
	maybe(func() { e.Places = append(e.Places, f.Places...) })
	maybe(func() { e.Bases = append(e.Bases, f.Bases...) })
	maybe(func() { e.Problems = f.Problems })
	maybe(func() { e.Tags = f.Tags })
	maybe(func() { e.Names = f.Names })
	maybe(func() { e.Image = f.Image })
	maybe(func() { e.Subject = f.Subject })
	maybe(func() { e.Subject = "" })
	maybe(func() { e.FirstRun = asOf.Add(-time.Duration(r.IntN(1000)) * time.Hour) })
	maybe(func() { e.AsOf = asOf.Add(time.Duration(r.IntN(10_000)-5_000) * time.Hour) })
	r.Shuffle(len(e.Facts), func(i, j int) { e.Facts[i], e.Facts[j] = e.Facts[j], e.Facts[i] })
	maybe(func() { e.Facts = e.Facts[:r.IntN(len(e.Facts)+1)] })
	if len(e.Facts) > 0 {
		maybe(func() { e.Facts[0].Body = bytes.ToUpper(e.Facts[0].Body) })
		maybe(func() { e.Facts[0].Body = e.Facts[0].Body[:len(e.Facts[0].Body)/2] })
	}
	for i := range e.Requested {
		maybe(func() { e.Requested[i].Interval = nil })
		maybe(func() { e.Requested[i].Target = f.contentOf() })
	}
	return e
}

func (e Evidence) contentOf() Content {
	return Content{Digest: e.Subject, Kind: dossier.ImageIndex, Children: e.Edges}
}

// TestJudgeProperties holds for all evidence what docs/spec/answers.md promises
// of all answers.
func TestJudgeProperties(t *testing.T) {
	cases := judgeCases()
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 1000 {
		e := randomEvidence(r, cases)
		answers := Judge(e, Policy{})
		for _, q := range dossier.Questions() {
			if fault := checkAnswer(e, *answers.Of(q)); fault != "" {
				t.Fatalf("evidence %d, %s: %s\n%s\n%s", i, q, fault, indented(t, answers.Of(q)), indented(t, e))
			}
		}
		shuffled := fromJSON(t, e)
		r.Shuffle(len(e.Facts), func(i, j int) {
			shuffled.Facts[i], shuffled.Facts[j] = shuffled.Facts[j], shuffled.Facts[i]
		})
		if again := Judge(shuffled, Policy{}); !bytes.Equal(indented(t, answers), indented(t, again)) {
			t.Fatalf("evidence %d is judged differently once it was a file, its facts in another order\n%s", i, indented(t, e))
		}
	}
}

func fromJSON(t *testing.T, e Evidence) Evidence {
	t.Helper()
	var out Evidence
	if err := json.Unmarshal(indented(t, e), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// checkAnswer returns what is wrong with an answer, or "".
func checkAnswer(e Evidence, a dossier.Answer) string {
	facts := map[dossier.Digest]bool{}
	for _, f := range e.Facts {
		facts[f.ID] = true
	}
	switch {
	case (a.Status == dossier.StatusUnknown) != (a.Grade == dossier.GradeNone):
		return "unknown if and only if none"
	case a.Grade > dossier.GradeObserved:
		return "a grade that nothing gives"
	case a.Summary == "" || utf8.RuneCountInString(a.Summary) > maxSummary:
		return "the summary is empty or too long"
	case a.Status != dossier.StatusOK && a.Next == "":
		return "nothing to do next"
	case !a.AsOf.Equal(e.AsOf):
		return "another time"
	case a.Details == nil || a.Evidence == nil:
		return "a list is null"
	}
	cited := map[dossier.Digest]bool{}
	best := dossier.GradeNone
	uses := map[string]bool{}
	for _, c := range a.Evidence {
		use := fmt.Sprint(c.ID, c.Kind)
		if !facts[c.ID] || uses[use] || c.Kind == "" || c.Summary == "" || c.Grade == dossier.GradeNone {
			return "a citation of no fact, doubled or empty: " + use
		}
		cited[c.ID], uses[use] = true, true
	}
	for key, values := range a.Details {
		if values == nil {
			return "null instead of a list: " + key
		}
		for _, v := range values {
			if v.Value == nil || v.Value == "" || v.Evidence == nil || v.Grade == dossier.GradeNone {
				return "an empty value: " + key
			}
			for _, id := range v.Evidence {
				if !cited[id] {
					return "a value stands on a fact that is not cited: " + key
				}
			}
			best = max(best, v.Grade)
		}
	}
	if a.Status == dossier.StatusOK && a.Grade > best {
		return "a grade above all that is shown"
	}
	return ""
}

// TestGradeIsTheLowest judges drafts whose grade is known.
func TestGradeIsTheLowest(t *testing.T) {
	s := read(nginx().evidence(), Policy{}, nil)
	claimed := found{value: "x", grade: dossier.GradeClaimed}
	for _, tt := range []struct {
		rests []found
		want  dossier.Grade
	}{
		{nil, dossier.GradeNone},
		{[]found{seen("x")}, dossier.GradeObserved},
		{[]found{seen("x"), claimed}, dossier.GradeClaimed},
	} {
		if got := s.draft().answer(dossier.StatusWarn, "x", "", tt.rests...).Grade; got != tt.want {
			t.Errorf("%v: got %s, want %s", tt.rests, got, tt.want)
		}
	}
}

func TestPolicy(t *testing.T) {
	e := nginx().evidence() // made 31 days ago, checked an hour ago
	for _, tt := range []struct {
		policy Policy
		want   string
	}{
		{Policy{}, "tag 1.27 still points here"},
		{Policy{MaxAge: 30 * day}, "built 1 month ago"},
		{Policy{MaxAge: -1}, "tag 1.27 still points here"},
		{Policy{MaxCheckAge: time.Minute}, "tag last checked 1 hour ago"},
		{Policy{MaxCheckAge: -1}, "tag 1.27 still points here"},
	} {
		answers := Judge(e, tt.policy)
		if got := answers.Currency.Summary; got != tt.want {
			t.Errorf("%+v: got %q, want %q", tt.policy, got, tt.want)
		}
	}
}
