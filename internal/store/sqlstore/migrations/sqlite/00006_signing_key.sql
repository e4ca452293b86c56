-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- The keys with which the registry signs its tokens, that all replicas share.

-- +goose Up

CREATE TABLE signing_key (
    id         TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL,
    secret     BLOB NOT NULL
) STRICT, WITHOUT ROWID;
