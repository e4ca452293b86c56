-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- Signed metadata (TUF): what is published for a prefix of repositories, and what
-- a verifier trusts of others.

-- +goose Up

-- name is HOST/PREFIX. online: what is tagged is signed by the server.
CREATE TABLE tuf_prefix (
    prefix TEXT COLLATE "C" PRIMARY KEY,
    name   TEXT COLLATE "C" NOT NULL,
    online BIGINT NOT NULL,
    due_at BIGINT NOT NULL
);

-- replaced_at is when a version ceased to be the newest of its role.
CREATE TABLE tuf_file (
    prefix      TEXT COLLATE "C" NOT NULL,
    role        TEXT COLLATE "C" NOT NULL,
    version     BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    replaced_at BIGINT,
    body        BYTEA NOT NULL,
    PRIMARY KEY (prefix, role, version)
);
CREATE UNIQUE INDEX tuf_file_newest ON tuf_file (prefix, role) WHERE replaced_at IS NULL;
CREATE INDEX tuf_file_expires ON tuf_file (prefix, expires_at) WHERE replaced_at IS NULL;
CREATE INDEX tuf_file_replaced ON tuf_file (prefix, replaced_at) WHERE replaced_at IS NOT NULL;

-- The keys that the server signs with.
CREATE TABLE tuf_key (
    prefix     TEXT COLLATE "C" NOT NULL,
    id         TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    secret     BYTEA NOT NULL,
    PRIMARY KEY (prefix, id)
);

-- Each move of a tag below an online prefix that is not signed yet.
CREATE TABLE tuf_moved (
    id     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    prefix TEXT COLLATE "C" NOT NULL,
    name   TEXT COLLATE "C" NOT NULL,
    tag    TEXT COLLATE "C" NOT NULL
);
CREATE INDEX tuf_moved_prefix ON tuf_moved (prefix, id);

CREATE TABLE tuf_trusted (
    source     TEXT COLLATE "C" NOT NULL,
    role       TEXT COLLATE "C" NOT NULL,
    version    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    body       BYTEA NOT NULL,
    PRIMARY KEY (source, role)
);
