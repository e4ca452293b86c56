-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- +goose Up

-- Facts that are events, by what happened in them: a projection.
CREATE TABLE event (
    key  BIGINT NOT NULL,
    at   BIGINT NOT NULL,
    fact BIGINT NOT NULL, -- its position
    PRIMARY KEY (key, at, fact)
);

-- The other part of the audit, which may be thrown away. Each day has
-- partitions audit_block_YYYYMMDD and audit_key_YYYYMMDD, made when it comes.
CREATE TABLE audit_block (
    id      BIGINT NOT NULL,
    from_at BIGINT NOT NULL,
    to_at   BIGINT NOT NULL,
    body    BYTEA NOT NULL,
    PRIMARY KEY (to_at, id)
) PARTITION BY RANGE (to_at);

CREATE TABLE audit_key (
    key   BIGINT NOT NULL,
    to_at BIGINT NOT NULL,
    block BIGINT NOT NULL,
    PRIMARY KEY (key, to_at, block)
) PARTITION BY RANGE (to_at);
