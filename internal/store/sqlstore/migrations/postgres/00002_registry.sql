-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- The truth of the registry. Tags are intervals in the table tag. What a
-- manifest needs cannot go before it: foreign keys see to that.

-- +goose Up

-- What the registry is called: one row.
CREATE TABLE registry (
    id   BIGINT PRIMARY KEY CHECK (id = 1),
    name TEXT COLLATE "C" NOT NULL
);

-- path is "org/app", name is "HOST/org/app".
CREATE TABLE repository (
    path       TEXT COLLATE "C" PRIMARY KEY,
    name       TEXT COLLATE "C" NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

CREATE TABLE repository_blob (
    repository TEXT COLLATE "C" NOT NULL REFERENCES repository (path),
    digest     TEXT COLLATE "C" NOT NULL REFERENCES blob (digest),
    linked_at  BIGINT NOT NULL,
    PRIMARY KEY (repository, digest)
);
CREATE INDEX repository_blob_digest ON repository_blob (digest, repository);

-- annotations is a JSON object, kept where there is a subject.
CREATE TABLE manifest (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repository    TEXT COLLATE "C" NOT NULL REFERENCES repository (path),
    digest        TEXT COLLATE "C" NOT NULL,
    media_type    TEXT COLLATE "C" NOT NULL,
    artifact_type TEXT COLLATE "C" NOT NULL,
    subject       TEXT COLLATE "C" NOT NULL,
    size          BIGINT NOT NULL,
    pushed_at     BIGINT NOT NULL,
    annotations   BYTEA,
    body          BYTEA NOT NULL,
    UNIQUE (repository, digest)
);
CREATE INDEX manifest_subject ON manifest (repository, subject, digest) WHERE subject <> '';

CREATE TABLE manifest_blob (
    repository TEXT COLLATE "C" NOT NULL,
    manifest   TEXT COLLATE "C" NOT NULL,
    blob       TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (repository, manifest, blob),
    FOREIGN KEY (repository, manifest) REFERENCES manifest (repository, digest) ON DELETE CASCADE,
    FOREIGN KEY (repository, blob) REFERENCES repository_blob (repository, digest)
);
CREATE INDEX manifest_blob_blob ON manifest_blob (repository, blob);

CREATE TABLE manifest_child (
    repository TEXT COLLATE "C" NOT NULL,
    manifest   TEXT COLLATE "C" NOT NULL,
    child      TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (repository, manifest, child),
    FOREIGN KEY (repository, manifest) REFERENCES manifest (repository, digest) ON DELETE CASCADE,
    FOREIGN KEY (repository, child) REFERENCES manifest (repository, digest)
);
CREATE INDEX manifest_child_child ON manifest_child (repository, child);

-- What was deleted. kind is 'blob' or 'manifest'.
CREATE TABLE tombstone (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repository TEXT COLLATE "C" NOT NULL,
    digest     TEXT COLLATE "C" NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL,
    deleted_at BIGINT NOT NULL,
    deleted_by TEXT COLLATE "C" NOT NULL
);
CREATE INDEX tombstone_digest ON tombstone (digest, repository);

-- Blobs on their way in. hash is the state of a hash of algorithm.
CREATE TABLE upload (
    id         TEXT COLLATE "C" PRIMARY KEY,
    repository TEXT COLLATE "C" NOT NULL REFERENCES repository (path),
    owner      TEXT COLLATE "C" NOT NULL,
    key        TEXT COLLATE "C" NOT NULL,
    token      BYTEA,
    size       BIGINT NOT NULL,
    algorithm  TEXT COLLATE "C" NOT NULL,
    hash       BYTEA,
    holder     TEXT COLLATE "C" NOT NULL,
    held_until BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX upload_expires ON upload (expires_at);
