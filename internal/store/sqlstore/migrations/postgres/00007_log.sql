-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- The transparency log: a Merkle tree over the leaves of all facts, in the order
-- in which they were appended.

-- +goose Up

-- Facts that are not in the log yet.
CREATE TABLE log_pending (
    position BIGINT PRIMARY KEY
);
INSERT INTO log_pending (position) SELECT position FROM fact;

-- position is that of the fact. It is no foreign key: a fact that somebody deletes
-- must be missed.
CREATE TABLE log_entry (
    idx      BIGINT PRIMARY KEY,
    position BIGINT NOT NULL UNIQUE
);

-- Up to 256 hashes of one level of the tree.
CREATE TABLE log_tile (
    level  BIGINT NOT NULL,
    idx    BIGINT NOT NULL,
    hashes BYTEA NOT NULL,
    PRIMARY KEY (level, idx)
);

-- One row: how many entries there are, who signs, and what was signed last.
CREATE TABLE log_head (
    id         BIGINT PRIMARY KEY CHECK (id = 1),
    size       BIGINT NOT NULL,
    key        TEXT COLLATE "C" NOT NULL,
    checkpoint BYTEA NOT NULL
);
