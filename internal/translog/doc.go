// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package translog is the transparency log: a Merkle tree (RFC 6962) in which
// every fact that was recorded is a leaf, signed as a whole, and served so that
// anybody can follow it.
//
// A Log appends what was recorded since it last did, in the transaction that
// also keeps the tiles of the tree, the map of the newest fact of each subject, and the
// checkpoint over both; any number of replicas may, one at a time does.
// Inclusions and Consistency prove entries and growth, Heads proves what the map says. Handler serves it as C2SP tlog-tiles.
// Verify compares all of it with the facts.
//
// An entry is the text of Entry: subject, number within the subject's chain, and
// leaf (docs/spec/facts.md), which tells nothing of the body to who does not
// have it. The package promises that an entry once signed for stays where it
// is, and that each checkpoint extends the one before; docs/spec/log.md says how others
// check that. It does not decide what becomes a fact, and it asks no witness.
package translog
