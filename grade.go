// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import "fmt"

// Grade says how well something is proven. Grades are ordered: a higher one is
// a better proof. The zero value is GradeNone.
type Grade int

// The grades, lowest first.
const (
	GradeNone       Grade = iota // we do not know, said aloud
	GradeClaimed                 // someone wrote it
	GradeObserved                // a property of bytes whose digest was checked, or an event that Dossier saw
	GradeSigned                  // a statement whose signature verifies under the configured trust
	GradeReproduced              // an independent rebuild gave the same digest
)

var gradeNames = [...]string{"none", "claimed", "observed", "signed", "reproduced"}

// String returns the word used in JSON and tables.
func (g Grade) String() string {
	if g < 0 || int(g) >= len(gradeNames) {
		return fmt.Sprintf("grade(%d)", int(g))
	}
	return gradeNames[g]
}

// MarshalText implements encoding.TextMarshaler.
func (g Grade) MarshalText() ([]byte, error) {
	if g < 0 || int(g) >= len(gradeNames) {
		return nil, Errorf(KindInvalid, "writing grade", g.String(), "no such grade")
	}
	return []byte(g.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (g *Grade) UnmarshalText(text []byte) error {
	for i, name := range gradeNames {
		if name == string(text) {
			*g = Grade(i)
			return nil
		}
	}
	return Errorf(KindInvalid, "parsing grade", quoteShort(string(text)), "want none, claimed, observed, signed or reproduced")
}

// Lowest returns the lowest of the grades: an answer is proven as well as its
// weakest support. Without any grade it returns GradeNone.
func Lowest(grades ...Grade) Grade {
	if len(grades) == 0 {
		return GradeNone
	}
	lowest := grades[0]
	for _, g := range grades[1:] {
		lowest = min(lowest, g)
	}
	return lowest
}
