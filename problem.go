// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import "errors"

// Problem is an error as it travels between server and client
// (docs/spec/api.md): what a person reads of it, without its chain.
type Problem struct {
	Kind    Kind   `json:"kind"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what to do next
}

// ProblemOf returns what travels of err, which must not be nil.
func ProblemOf(err error) Problem {
	return Problem{Kind: KindOf(err), Message: err.Error(), Hint: HintOf(err)}
}

// Err is the inverse of ProblemOf: an *Error with equal kind, text and hint.
func (p Problem) Err() error {
	return &Error{Kind: p.Kind, Hint: p.Hint, Err: errors.New(p.Message)}
}
