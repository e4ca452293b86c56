// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package audit keeps and finds who did what in the registry (docs/spec/registry.md,
// "Audit").
//
// What changes something is an event: [Record] writes it as a fact in the
// transaction that it is part of, so none is ever lost. What changes nothing, a
// pull or a refusal, is handed to a [Recorder], which writes many at a time into a
// [store.AuditLog]: it never holds up who hands something over, loses at most what
// came within FlushEvery and the time of a commit before a crash, and when it must
// drop something says how much. A [Reader] shows both in one order of time, and
// [Prune] removes days of the log that are old enough.
//
// A block of the log holds the entries of a moment, each text once (block.go), and
// is found by keys, one for each distinct word in it (key.go): so a pull costs a
// few bytes and no row of an index when many come at a time.
//
// The package does not decide who may see what; Reader.Visible does.
package audit
