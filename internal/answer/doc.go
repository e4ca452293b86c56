// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package answer answers the five questions about an image.
//
// An answer is made in two steps. Gathering reads Evidence from a store and
// decides nothing. Judging turns Evidence into answers: Judge is a pure
// function, without I/O and without a clock, so equal evidence gives equal
// answers wherever and whenever it is judged.
//
// The package promises what docs/spec/answers.md says: which evidence gives
// which status, that an answer is graded as its weakest support, that it is
// "unknown" if and only if its grade is "none", and that every fact it cites
// is in the evidence.
//
// It does not write facts, does not fetch anything, and does not format.
package answer
