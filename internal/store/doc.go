// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package store defines what Dossier keeps: the records, and the interfaces by
// which they are written and read, topic by topic.
//
// Facts are the truth about images; everything else here is either the truth
// about work to do (jobs, notices) or a projection of facts that makes
// questions quick (images, edges, tags, places, terms).
//
// An implementation promises: Update is atomic and durable when it returns nil;
// View sees one consistent state; times are kept to the microsecond in UTC;
// errors are *dossier.Error with the kinds that each method names, and
// dossier.KindUnavailable or KindStorage when the engine fails. Any
// function given to Update or View may be run more than once and must not keep
// its argument.
//
// The package does no I/O itself; sqlstore implements it on SQLite and
// PostgreSQL, storetest is the suite that both pass.
package store
