// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package match

import (
	"slices"
	"strings"

	gocvss20 "github.com/pandatix/go-cvss/20"
	gocvss30 "github.com/pandatix/go-cvss/30"
	gocvss31 "github.com/pandatix/go-cvss/31"
	gocvss40 "github.com/pandatix/go-cvss/40"

	"dossier.dev/dossier"
)

// severity returns how bad a vulnerability is. For a package of a distribution
// the distribution's word goes first: it knows how it built it. Then come CVSS
// vectors, of those that concern the package before others, newer versions of
// CVSS before older ones, higher scores before lower ones; then words of others.
func severity(p dossier.Package, g *group, counts []*Verdict) (word dossier.Severity, score float64, vector string) {
	word = dossier.SeverityUnknown
	scored, words := ratings(counts)
	if len(scored) == 0 {
		scored, _ = ratings(g.verdicts)
	}
	slices.SortStableFunc(scored, func(a, b cvss) int {
		if a.generation != b.generation {
			return b.generation - a.generation
		}
		return int(b.score*10) - int(a.score*10)
	})
	if len(scored) > 0 {
		word, score, vector = scored[0].word(), scored[0].score, scored[0].vector
	}
	if len(words) > 0 && (ofDistribution(p) || len(scored) == 0) {
		word = worst(words)
	}
	return word, score, vector
}

// ratings returns the vectors and the words that advisories give.
func ratings(verdicts []*Verdict) (scored []cvss, words []dossier.Severity) {
	for _, v := range verdicts {
		for _, r := range slices.Concat(v.entry.Ratings, v.advisory.Ratings) {
			if c, ok := parseCVSS(r); ok {
				scored = append(scored, c)
			} else if w := wordSeverity(r.Score); w != "" {
				words = append(words, w)
			}
		}
	}
	return scored, words
}

func worst(list []dossier.Severity) dossier.Severity {
	return slices.MaxFunc(list, func(a, b dossier.Severity) int { return a.Rank() - b.Rank() })
}

// wordSeverity translates the words of distributions and databases; empty for
// one that says nothing.
func wordSeverity(s string) dossier.Severity {
	switch strings.ToLower(s) {
	case "critical":
		return dossier.SeverityCritical
	case "important", "high":
		return dossier.SeverityHigh
	case "moderate", "medium":
		return dossier.SeverityMedium
	case "low":
		return dossier.SeverityLow
	case "negligible", "unimportant":
		return dossier.SeverityNegligible
	}
	return ""
}

// cvss is a vector and its score.
type cvss struct {
	generation int // 20, 30, 31, 40
	score      float64
	vector     string
}

// word is the qualitative rating (CVSS v3.1, section 5; v4.0, section 6). CVSS v2
// has none; its scores are rated as NVD does.
func (c cvss) word() dossier.Severity {
	switch {
	case c.score >= 9 && c.generation >= 30:
		return dossier.SeverityCritical
	case c.score >= 7:
		return dossier.SeverityHigh
	case c.score >= 4:
		return dossier.SeverityMedium
	case c.score > 0 || c.generation == 20:
		return dossier.SeverityLow
	}
	return dossier.SeverityNegligible
}

// parseCVSS reads a vector and computes its score: the base score, or with the
// threat and environment that the vector itself states for version 4. ok is
// false when it is none.
func parseCVSS(r dossier.Rating) (c cvss, ok bool) {
	var err error
	c.vector = r.Score
	if !strings.HasPrefix(r.Type, "CVSS") || len(r.Score) > maxVersion {
		return cvss{}, false
	}
	switch {
	case strings.HasPrefix(r.Score, "CVSS:4.0/"):
		var v *gocvss40.CVSS40
		if v, err = gocvss40.ParseVector(r.Score); err == nil {
			c.generation, c.score = 40, v.Score()
		}
	case strings.HasPrefix(r.Score, "CVSS:3.1/"):
		var v *gocvss31.CVSS31
		if v, err = gocvss31.ParseVector(r.Score); err == nil {
			c.generation, c.score = 31, v.BaseScore()
		}
	case strings.HasPrefix(r.Score, "CVSS:3.0/"):
		var v *gocvss30.CVSS30
		if v, err = gocvss30.ParseVector(r.Score); err == nil {
			c.generation, c.score = 30, v.BaseScore()
		}
	default:
		var v *gocvss20.CVSS20
		if v, err = gocvss20.ParseVector(strings.Trim(r.Score, "()")); err == nil {
			c.generation, c.score = 20, v.BaseScore()
		}
	}
	return c, err == nil
}
