-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- Quotas as they are enforced. The tables before them were never filled.

-- +goose Up

DROP TABLE quota_item;
DROP TABLE quota;

-- Limits of what repositories at or below a prefix hold, and what they hold.
CREATE TABLE quota (
    prefix    TEXT PRIMARY KEY,
    max_bytes INTEGER NOT NULL,
    bytes     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What counts for a quota: each digest once, however many repositories hold it.
CREATE TABLE quota_item (
    prefix TEXT NOT NULL REFERENCES quota (prefix) ON DELETE CASCADE,
    digest TEXT NOT NULL,
    size   INTEGER NOT NULL,
    PRIMARY KEY (prefix, digest)
) STRICT, WITHOUT ROWID;
