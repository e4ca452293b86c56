-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- The map of the log: which fact of each subject is the newest in it.

-- +goose Up

-- Nodes of a Merkle tree over the subjects whose hashes begin with a prefix.
CREATE TABLE log_map (
    prefix  TEXT COLLATE "C" PRIMARY KEY,
    content BYTEA NOT NULL
);

-- How many entries the map has: it follows those that were there before it.
ALTER TABLE log_head ADD COLUMN mapped BIGINT NOT NULL DEFAULT 0;
