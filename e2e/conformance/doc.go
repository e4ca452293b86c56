// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package conformance holds tests of the registry that dossier serve is, by
// programs that others wrote: the conformance suite of the OCI distribution
// specification, clients that people use, and another registry, whose answers to
// the same requests are compared.
//
// Each runs on SQLite and a directory with one process, and on PostgreSQL and S3
// with three behind a round robin, that share nothing else; and each where nobody
// logs in, and where all do and get tokens. The module is one of its own so that what these programs need
// stays out of the others. It does not test what no client can see.
package conformance
