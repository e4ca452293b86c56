-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- Signed metadata (TUF): what is published for a prefix of repositories, and what
-- a verifier trusts of others.

-- +goose Up

-- name is HOST/PREFIX. online: what is tagged is signed by the server.
CREATE TABLE tuf_prefix (
    prefix TEXT PRIMARY KEY,
    name   TEXT NOT NULL,
    online INTEGER NOT NULL,
    due_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- replaced_at is when a version ceased to be the newest of its role.
CREATE TABLE tuf_file (
    prefix      TEXT NOT NULL,
    role        TEXT NOT NULL,
    version     INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    replaced_at INTEGER,
    body        BLOB NOT NULL,
    PRIMARY KEY (prefix, role, version)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX tuf_file_newest ON tuf_file (prefix, role) WHERE replaced_at IS NULL;
CREATE INDEX tuf_file_expires ON tuf_file (prefix, expires_at) WHERE replaced_at IS NULL;
CREATE INDEX tuf_file_replaced ON tuf_file (prefix, replaced_at) WHERE replaced_at IS NOT NULL;

-- The keys that the server signs with.
CREATE TABLE tuf_key (
    prefix     TEXT NOT NULL,
    id         TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    secret     BLOB NOT NULL,
    PRIMARY KEY (prefix, id)
) STRICT, WITHOUT ROWID;

-- Each move of a tag below an online prefix that is not signed yet.
CREATE TABLE tuf_moved (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    prefix TEXT NOT NULL,
    name   TEXT NOT NULL,
    tag    TEXT NOT NULL
) STRICT;
CREATE INDEX tuf_moved_prefix ON tuf_moved (prefix, id);

CREATE TABLE tuf_trusted (
    source     TEXT NOT NULL,
    role       TEXT NOT NULL,
    version    INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    body       BLOB NOT NULL,
    PRIMARY KEY (source, role)
) STRICT, WITHOUT ROWID;
