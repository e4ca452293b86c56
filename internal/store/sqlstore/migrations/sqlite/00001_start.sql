-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- Times are microseconds since 1970 in UTC; the zero time is that of year 1.
-- An interval without an end (to_at IS NULL) is open.

-- +goose Up

-- Facts, in the order of recording. A body that was erased is NULL.
CREATE TABLE fact (
    position    INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    subject     TEXT NOT NULL,
    seq         INTEGER NOT NULL,
    kind        TEXT NOT NULL,
    source      TEXT NOT NULL,
    valid_at    INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    body_hash   TEXT NOT NULL,
    salt        BLOB NOT NULL,
    prev        TEXT NOT NULL,
    leaf        TEXT NOT NULL,
    body        BLOB,
    UNIQUE (subject, seq)
) STRICT;
CREATE INDEX fact_holding ON fact (subject, kind, source, valid_at, seq, recorded_at);

-- The end of each subject's chain.
CREATE TABLE head (
    subject TEXT PRIMARY KEY,
    seq     INTEGER NOT NULL,
    leaf    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Which fact was taken back, and since when we know.
CREATE TABLE retraction (
    fact        INTEGER NOT NULL REFERENCES fact (position),
    by          INTEGER NOT NULL REFERENCES fact (position),
    recorded_at INTEGER NOT NULL,
    PRIMARY KEY (fact, by)
) STRICT, WITHOUT ROWID;

CREATE TABLE image (
    digest     TEXT PRIMARY KEY,
    kind       TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size       INTEGER NOT NULL,
    platform   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE edge (
    parent     TEXT NOT NULL,
    position   INTEGER NOT NULL,
    role       TEXT NOT NULL,
    child      TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size       INTEGER NOT NULL,
    platform   TEXT NOT NULL,
    PRIMARY KEY (parent, position, role, child)
) STRICT, WITHOUT ROWID;
CREATE INDEX edge_child ON edge (child, parent);

CREATE TABLE name (
    digest     TEXT NOT NULL,
    name       TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    PRIMARY KEY (digest, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE term (
    key    TEXT NOT NULL,
    field  TEXT NOT NULL,
    digest TEXT NOT NULL,
    value  TEXT NOT NULL,
    PRIMARY KEY (key, field, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX term_digest ON term (digest);

CREATE TABLE tag (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    tag        TEXT NOT NULL,
    digest     TEXT NOT NULL,
    from_at    INTEGER NOT NULL,
    to_at      INTEGER,
    checked_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX tag_open ON tag (name, tag) WHERE to_at IS NULL;
CREATE INDEX tag_history ON tag (name, tag, from_at);
CREATE INDEX tag_repository ON tag (name, from_at);
CREATE INDEX tag_digest ON tag (digest, from_at);

CREATE TABLE cluster (
    id   TEXT PRIMARY KEY,
    name TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Containers of pods and of pod templates. The body is dossier.Place as JSON;
-- asked is Place.Asked;
-- run is the hash of the run that the place is part of, NULL when of none.
CREATE TABLE place (
    id        INTEGER PRIMARY KEY,
    cluster   TEXT NOT NULL,
    key       TEXT NOT NULL,
    namespace TEXT NOT NULL,
    digest    TEXT NOT NULL,
    asked     TEXT NOT NULL,
    run       TEXT,
    from_at   INTEGER NOT NULL,
    to_at     INTEGER,
    body      TEXT NOT NULL
) STRICT;
CREATE INDEX place_open ON place (cluster, key) WHERE to_at IS NULL;
CREATE INDEX place_history ON place (cluster, key, from_at);
CREATE INDEX place_digest ON place (digest, from_at);
CREATE INDEX place_asked ON place (asked, from_at);
CREATE INDEX place_run ON place (run) WHERE to_at IS NULL;

-- Runs, by the hash that place rows name. The body is dossier.Run as JSON.
CREATE TABLE run (
    id      INTEGER PRIMARY KEY,
    run     TEXT NOT NULL,
    from_at INTEGER NOT NULL,
    to_at   INTEGER,
    body    TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX run_open ON run (run) WHERE to_at IS NULL;

CREATE TABLE job (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    kind         TEXT NOT NULL,
    key          TEXT NOT NULL,
    payload      BLOB,
    state        TEXT NOT NULL,
    run_at       INTEGER NOT NULL,
    attempts     INTEGER NOT NULL,
    owner        TEXT NOT NULL,
    leased_until INTEGER NOT NULL,
    last_error   TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    UNIQUE (kind, key)
) STRICT;
CREATE INDEX job_ready ON job (run_at) WHERE state = 'ready';
CREATE INDEX job_leased ON job (leased_until) WHERE state = 'leased';

CREATE TABLE notice (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    body  BLOB,
    at    INTEGER NOT NULL
) STRICT;

CREATE TABLE blob (
    digest TEXT PRIMARY KEY,
    key    TEXT NOT NULL,
    size   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
