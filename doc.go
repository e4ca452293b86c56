// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package dossier is the vocabulary of Dossier: digests, references, facts,
// places where images run, packages, advisories, findings, grades, answers.
//
// A dossier is kept on every container image of a Kubernetes cluster. It
// answers five questions ([Question]) and says of each answer how well it is
// proven ([Grade]) and by which facts ([Fact]).
//
// The package promises to hold values only: it does no I/O, reads no clock,
// starts no goroutine and imports the standard library alone. JSON forms are
// the user contract written down in docs/spec/answers.md: fields may be added,
// never changed.
//
// It does not decide anything. Evidence is gathered and judged by the answer
// package; facts are kept by the store package.
package dossier
