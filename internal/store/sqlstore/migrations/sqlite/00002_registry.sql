-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- The truth of the registry. Tags are intervals in the table tag. What a
-- manifest needs cannot go before it: foreign keys see to that.

-- +goose Up

-- What the registry is called: one row.
CREATE TABLE registry (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    name TEXT NOT NULL
) STRICT;

-- path is "org/app", name is "HOST/org/app".
CREATE TABLE repository (
    path       TEXT PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE repository_blob (
    repository TEXT NOT NULL REFERENCES repository (path),
    digest     TEXT NOT NULL REFERENCES blob (digest),
    linked_at  INTEGER NOT NULL,
    PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX repository_blob_digest ON repository_blob (digest, repository);

-- annotations is a JSON object, kept where there is a subject.
CREATE TABLE manifest (
    id            INTEGER PRIMARY KEY,
    repository    TEXT NOT NULL REFERENCES repository (path),
    digest        TEXT NOT NULL,
    media_type    TEXT NOT NULL,
    artifact_type TEXT NOT NULL,
    subject       TEXT NOT NULL,
    size          INTEGER NOT NULL,
    pushed_at     INTEGER NOT NULL,
    annotations   BLOB,
    body          BLOB NOT NULL,
    UNIQUE (repository, digest)
) STRICT;
CREATE INDEX manifest_subject ON manifest (repository, subject, digest) WHERE subject <> '';

CREATE TABLE manifest_blob (
    repository TEXT NOT NULL,
    manifest   TEXT NOT NULL,
    blob       TEXT NOT NULL,
    PRIMARY KEY (repository, manifest, blob),
    FOREIGN KEY (repository, manifest) REFERENCES manifest (repository, digest) ON DELETE CASCADE,
    FOREIGN KEY (repository, blob) REFERENCES repository_blob (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX manifest_blob_blob ON manifest_blob (repository, blob);

CREATE TABLE manifest_child (
    repository TEXT NOT NULL,
    manifest   TEXT NOT NULL,
    child      TEXT NOT NULL,
    PRIMARY KEY (repository, manifest, child),
    FOREIGN KEY (repository, manifest) REFERENCES manifest (repository, digest) ON DELETE CASCADE,
    FOREIGN KEY (repository, child) REFERENCES manifest (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX manifest_child_child ON manifest_child (repository, child);

-- What was deleted. kind is 'blob' or 'manifest'.
CREATE TABLE tombstone (
    id         INTEGER PRIMARY KEY,
    repository TEXT NOT NULL,
    digest     TEXT NOT NULL,
    kind       TEXT NOT NULL,
    deleted_at INTEGER NOT NULL,
    deleted_by TEXT NOT NULL
) STRICT;
CREATE INDEX tombstone_digest ON tombstone (digest, repository);

-- Blobs on their way in. hash is the state of a hash of algorithm.
CREATE TABLE upload (
    id         TEXT PRIMARY KEY,
    repository TEXT NOT NULL REFERENCES repository (path),
    owner      TEXT NOT NULL,
    key        TEXT NOT NULL,
    token      BLOB,
    size       INTEGER NOT NULL,
    algorithm  TEXT NOT NULL,
    hash       BLOB,
    holder     TEXT NOT NULL,
    held_until INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX upload_expires ON upload (expires_at);
