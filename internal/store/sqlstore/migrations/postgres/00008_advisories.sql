-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- Advisories, in every version that was known. All of it can be fetched again.

-- +goose Up

-- A feed is kept up to date as a whole. state is what its fetcher wants to
-- remember, as JSON.
CREATE TABLE feed (
    name       TEXT COLLATE "C" PRIMARY KEY,
    source     TEXT COLLATE "C" NOT NULL,
    serial     BIGINT NOT NULL,
    as_of      BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    records    BIGINT NOT NULL,
    state      BYTEA NOT NULL
);

-- Which ecosystems, with their release, a feed has advisories for.
CREATE TABLE feed_ecosystem (
    ecosystem TEXT COLLATE "C" NOT NULL,
    feed      TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (ecosystem, feed)
);
CREATE INDEX feed_ecosystem_feed ON feed_ecosystem (feed);

-- The last serial and version that were given out. Who writes advisories locks
-- its row first, so that serials become visible in their order.
CREATE TABLE advisory_counter (
    id      BIGINT PRIMARY KEY CHECK (id = 1),
    serial  BIGINT NOT NULL,
    version BIGINT NOT NULL
);
INSERT INTO advisory_counter (id, serial, version) VALUES (1, 0, 0);

-- The exact bytes of advisories, compressed (DEFLATE).
CREATE TABLE advisory_body (
    digest TEXT COLLATE "C" PRIMARY KEY,
    body   BYTEA NOT NULL
);

-- header is the advisory without its entries, as JSON. A version is known from
-- one time, and serial, to another; the current one to the end of time.
CREATE TABLE advisory (
    version     BIGINT PRIMARY KEY,
    feed        TEXT COLLATE "C" NOT NULL,
    id          TEXT COLLATE "C" NOT NULL,
    digest      TEXT COLLATE "C" NOT NULL,
    withdrawn   BIGINT NOT NULL,
    known_from  BIGINT NOT NULL,
    known_to    BIGINT NOT NULL,
    from_serial BIGINT NOT NULL,
    to_serial   BIGINT NOT NULL,
    header      BYTEA NOT NULL
);
CREATE UNIQUE INDEX advisory_current ON advisory (feed, id) WHERE known_to = 9223372036854775807;
CREATE INDEX advisory_from ON advisory (from_serial, version);
CREATE INDEX advisory_to ON advisory (to_serial, version) WHERE to_serial > 0;

-- What a version says of a package: a list of entries, as JSON, under the key by
-- which packages find it.
CREATE TABLE advisory_entry (
    ecosystem TEXT COLLATE "C" NOT NULL,
    name      TEXT COLLATE "C" NOT NULL,
    version   BIGINT NOT NULL,
    entries   BYTEA NOT NULL,
    PRIMARY KEY (ecosystem, name, version)
);
CREATE INDEX advisory_entry_version ON advisory_entry (version);

-- The names of the vulnerabilities that a version is about, and its own.
CREATE TABLE advisory_name (
    name    TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (name, version)
);
CREATE INDEX advisory_name_version ON advisory_name (version);

-- Which vulnerabilities are exploited (known_since, 0 when that is not known),
-- and how likely that is, in billionths.
CREATE TABLE exploit (
    name        TEXT COLLATE "C" PRIMARY KEY,
    known_since BIGINT NOT NULL,
    probability BIGINT NOT NULL,
    percentile  BIGINT NOT NULL
);
