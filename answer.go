// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import "time"

// Question is one of the five that a dossier answers.
type Question string

// The questions.
const (
	What            Question = "what"            // What is it?
	Origin          Question = "origin"          // Where did it come from?
	Rebuild         Question = "rebuild"         // How can I rebuild it?
	Vulnerabilities Question = "vulnerabilities" // Does it have known vulnerabilities?
	Currency        Question = "currency"        // Is it up to date?
)

// Questions returns all five in the order in which they are shown.
func Questions() []Question {
	return []Question{What, Origin, Rebuild, Vulnerabilities, Currency}
}

// Status is an answer in one word. Which evidence gives which status is set
// down in one table a question in docs/spec/answers.md.
type Status string

// The statuses. StatusUnknown if and only if the grade is GradeNone.
const (
	StatusOK      Status = "ok"
	StatusWarn    Status = "warn"
	StatusFail    Status = "fail"
	StatusUnknown Status = "unknown"
)

// Severity orders statuses, worst last: ok, unknown, warn, fail.
func (s Status) Severity() int {
	switch s {
	case StatusOK:
		return 0
	case StatusUnknown:
		return 1
	case StatusWarn:
		return 2
	}
	return 3
}

// Answer is the answer to one question about one image.
type Answer struct {
	Status   Status             `json:"status"`
	Grade    Grade              `json:"grade"` // the lowest among the claims that Summary and Status rest on
	Summary  string             `json:"summary"`
	AsOf     time.Time          `json:"asOf"`
	Details  map[string][]Value `json:"details"`
	Evidence []Citation         `json:"evidence"`
	Next     string             `json:"next"` // what to do to know more or to be better; may be empty
}

// Value is one value of a detail. Several under one name are a disagreement.
type Value struct {
	Value    any      `json:"value"`
	Grade    Grade    `json:"grade"`
	Evidence []Digest `json:"evidence"`          // IDs of the facts it stands on
	Invalid  string   `json:"invalid,omitempty"` // what is wrong with it under the rules of its key
}

// Citation names a fact that an answer stands on, and what it says there.
type Citation struct {
	ID      Digest    `json:"id"` // of the fact
	Kind    string    `json:"kind"`
	Source  string    `json:"source"`
	At      time.Time `json:"at"` // when it was recorded
	Grade   Grade     `json:"grade"`
	Summary string    `json:"summary"`
}

// Answers are the five answers. All are always present.
type Answers struct {
	What            Answer `json:"what"`
	Origin          Answer `json:"origin"`
	Rebuild         Answer `json:"rebuild"`
	Vulnerabilities Answer `json:"vulnerabilities"`
	Currency        Answer `json:"currency"`
}

// Of returns the answer to q, or nil when there is no such question.
func (a *Answers) Of(q Question) *Answer {
	switch q {
	case What:
		return &a.What
	case Origin:
		return &a.Origin
	case Rebuild:
		return &a.Rebuild
	case Vulnerabilities:
		return &a.Vulnerabilities
	case Currency:
		return &a.Currency
	}
	return nil
}

// Dossier is all that is shown of one image.
type Dossier struct {
	Digest     Digest          `json:"-"` // see MarshalJSON: null when nothing is known
	MediaType  string          `json:"mediaType"`
	Platforms  []PlatformImage `json:"platforms"`
	Requested  []string        `json:"requested"`  // names as written in specs
	References []string        `json:"references"` // every name@digest known for it
	Running    []Running       `json:"running"`
	Answers    Answers         `json:"answers"`
}

// Running is how many pods run an image in one container of a workload.
type Running struct {
	Workload
	Container string        `json:"container"`
	Type      ContainerType `json:"containerType"`
	Pods      int           `json:"pods"` // 0: a template names it, no pod was seen
}

// Pods returns how many pods run the image. A pod that runs it in two
// containers counts in each of its entries but once in the sum only when the
// entries are of different workloads; it is a measure, not an inventory.
func (d Dossier) Pods() int {
	most := map[Workload]int{}
	for _, r := range d.Running {
		most[r.Workload] = max(most[r.Workload], r.Pods)
	}
	sum := 0
	for _, n := range most {
		sum += n
	}
	return sum
}

// ImageList is every image of the clusters asked for.
type ImageList struct {
	AsOf     time.Time `json:"asOf"`
	Clusters []Cluster `json:"clusters"`
	Images   []Dossier `json:"images"`
	Notes    []string  `json:"notes,omitempty"` // what could not be read, and why
}
