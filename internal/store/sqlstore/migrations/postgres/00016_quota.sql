-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- Quotas as they are enforced. The tables before them were never filled.

-- +goose Up

DROP TABLE quota_item;
DROP TABLE quota;

-- Limits of what repositories at or below a prefix hold, and what they hold.
CREATE TABLE quota (
    prefix    TEXT COLLATE "C" PRIMARY KEY,
    max_bytes BIGINT NOT NULL,
    bytes     BIGINT NOT NULL
);

-- What counts for a quota: each digest once, however many repositories hold it.
CREATE TABLE quota_item (
    prefix TEXT COLLATE "C" NOT NULL REFERENCES quota (prefix) ON DELETE CASCADE,
    digest TEXT COLLATE "C" NOT NULL,
    size   BIGINT NOT NULL,
    PRIMARY KEY (prefix, digest)
);
