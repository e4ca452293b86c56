-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- Times are microseconds since 1970 in UTC; the zero time is that of year 1.
-- Text is compared byte by byte (collation C), as in the other engine.
-- An interval without an end (to_at IS NULL) is open.

-- +goose Up

-- Facts, in the order of recording. A body that was erased is NULL.
CREATE TABLE fact (
    position    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          TEXT COLLATE "C" NOT NULL UNIQUE,
    subject     TEXT COLLATE "C" NOT NULL,
    seq         BIGINT NOT NULL,
    kind        TEXT COLLATE "C" NOT NULL,
    source      TEXT COLLATE "C" NOT NULL,
    valid_at    BIGINT NOT NULL,
    recorded_at BIGINT NOT NULL,
    body_hash   TEXT COLLATE "C" NOT NULL,
    salt        BYTEA NOT NULL,
    prev        TEXT COLLATE "C" NOT NULL,
    leaf        TEXT COLLATE "C" NOT NULL,
    body        BYTEA,
    UNIQUE (subject, seq)
);
CREATE INDEX fact_holding ON fact (subject, kind, source, valid_at, seq, recorded_at);

-- The end of each subject's chain.
CREATE TABLE head (
    subject TEXT COLLATE "C" PRIMARY KEY,
    seq     BIGINT NOT NULL,
    leaf    TEXT COLLATE "C" NOT NULL
);

-- Which fact was taken back, and since when we know.
CREATE TABLE retraction (
    fact        BIGINT NOT NULL REFERENCES fact (position),
    by          BIGINT NOT NULL REFERENCES fact (position),
    recorded_at BIGINT NOT NULL,
    PRIMARY KEY (fact, by)
);

CREATE TABLE image (
    digest     TEXT COLLATE "C" PRIMARY KEY,
    kind       TEXT COLLATE "C" NOT NULL,
    media_type TEXT COLLATE "C" NOT NULL,
    size       BIGINT NOT NULL,
    platform   TEXT COLLATE "C" NOT NULL
);

CREATE TABLE edge (
    parent     TEXT COLLATE "C" NOT NULL,
    position   BIGINT NOT NULL,
    role       TEXT COLLATE "C" NOT NULL,
    child      TEXT COLLATE "C" NOT NULL,
    media_type TEXT COLLATE "C" NOT NULL,
    size       BIGINT NOT NULL,
    platform   TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (parent, position, role, child)
);
CREATE INDEX edge_child ON edge (child, parent);

CREATE TABLE name (
    digest     TEXT COLLATE "C" NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    first_seen BIGINT NOT NULL,
    PRIMARY KEY (digest, name)
);

CREATE TABLE term (
    key    TEXT COLLATE "C" NOT NULL,
    field  TEXT COLLATE "C" NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    value  TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (key, field, digest)
);
CREATE INDEX term_digest ON term (digest);

CREATE TABLE tag (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       TEXT COLLATE "C" NOT NULL,
    tag        TEXT COLLATE "C" NOT NULL,
    digest     TEXT COLLATE "C" NOT NULL,
    from_at    BIGINT NOT NULL,
    to_at      BIGINT,
    checked_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX tag_open ON tag (name, tag) WHERE to_at IS NULL;
CREATE INDEX tag_history ON tag (name, tag, from_at);
CREATE INDEX tag_repository ON tag (name, from_at);
CREATE INDEX tag_digest ON tag (digest, from_at);

CREATE TABLE cluster (
    id   TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL
);

-- Containers of pods and of pod templates. The body is dossier.Place as JSON;
-- asked is Place.Asked;
-- run is the hash of the run that the place is part of, NULL when of none.
CREATE TABLE place (
    id        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cluster   TEXT COLLATE "C" NOT NULL,
    key       TEXT COLLATE "C" NOT NULL,
    namespace TEXT COLLATE "C" NOT NULL,
    digest    TEXT COLLATE "C" NOT NULL,
    asked     TEXT COLLATE "C" NOT NULL,
    run       TEXT COLLATE "C",
    from_at   BIGINT NOT NULL,
    to_at     BIGINT,
    body      TEXT COLLATE "C" NOT NULL
);
CREATE INDEX place_open ON place (cluster, key) WHERE to_at IS NULL;
CREATE INDEX place_history ON place (cluster, key, from_at);
CREATE INDEX place_digest ON place (digest, from_at);
CREATE INDEX place_asked ON place (asked, from_at);
CREATE INDEX place_run ON place (run) WHERE to_at IS NULL;

-- Runs, by the hash that place rows name. The body is dossier.Run as JSON.
CREATE TABLE run (
    id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run     TEXT COLLATE "C" NOT NULL,
    from_at BIGINT NOT NULL,
    to_at   BIGINT,
    body    TEXT COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX run_open ON run (run) WHERE to_at IS NULL;

CREATE TABLE job (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         TEXT COLLATE "C" NOT NULL,
    key          TEXT COLLATE "C" NOT NULL,
    payload      BYTEA,
    state        TEXT COLLATE "C" NOT NULL,
    run_at       BIGINT NOT NULL,
    attempts     BIGINT NOT NULL,
    owner        TEXT COLLATE "C" NOT NULL,
    leased_until BIGINT NOT NULL,
    last_error   TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL,
    UNIQUE (kind, key)
);
CREATE INDEX job_ready ON job (run_at) WHERE state = 'ready';
CREATE INDEX job_leased ON job (leased_until) WHERE state = 'leased';

CREATE TABLE notice (
    id    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic TEXT COLLATE "C" NOT NULL,
    body  BYTEA,
    at    BIGINT NOT NULL
);

CREATE TABLE blob (
    digest TEXT COLLATE "C" PRIMARY KEY,
    key    TEXT COLLATE "C" NOT NULL,
    size   BIGINT NOT NULL
);
