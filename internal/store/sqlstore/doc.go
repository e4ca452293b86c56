// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package sqlstore keeps records in SQLite or PostgreSQL.
//
// SQLite is the default: one file, one process or a few on one machine. Updates
// that wait at the same time share a commit, each after the first within a savepoint of its
// own, so that one that fails takes nothing else with it. Commits wait for no disk; who
// needs to know that the disk has one waits for an fsync of the write-ahead log, which
// all share that were committed before it began.
// PostgreSQL is for several replicas: each update is a transaction, run again
// when it conflicts with another.
//
// The package promises what [store.Store] does, on both engines alike. The SQL
// is what both share; a statement that must differ stands whole in a dialect.
// Lists of values travel as the keys of one JSON object, which json_each reads
// on both, so that no statement depends on how many there are.
//
// It does not judge what it keeps, and it erases nothing.
package sqlstore
