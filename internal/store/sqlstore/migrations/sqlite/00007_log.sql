-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- The transparency log: a Merkle tree over the leaves of all facts, in the order
-- in which they were appended.

-- +goose Up

-- Facts that are not in the log yet.
CREATE TABLE log_pending (
    position INTEGER PRIMARY KEY
) STRICT;
INSERT INTO log_pending (position) SELECT position FROM fact;

-- position is that of the fact. It is no foreign key: a fact that somebody deletes
-- must be missed.
CREATE TABLE log_entry (
    idx      INTEGER PRIMARY KEY,
    position INTEGER NOT NULL UNIQUE
) STRICT;

-- Up to 256 hashes of one level of the tree.
CREATE TABLE log_tile (
    level  INTEGER NOT NULL,
    idx    INTEGER NOT NULL,
    hashes BLOB NOT NULL,
    PRIMARY KEY (level, idx)
) STRICT, WITHOUT ROWID;

-- One row: how many entries there are, who signs, and what was signed last.
CREATE TABLE log_head (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    size       INTEGER NOT NULL,
    key        TEXT NOT NULL,
    checkpoint BLOB NOT NULL
) STRICT;
