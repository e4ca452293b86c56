-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- Advisories, in every version that was known. All of it can be fetched again.

-- +goose Up

-- A feed is kept up to date as a whole. state is what its fetcher wants to
-- remember, as JSON.
CREATE TABLE feed (
    name       TEXT PRIMARY KEY,
    source     TEXT NOT NULL,
    serial     INTEGER NOT NULL,
    as_of      INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    records    INTEGER NOT NULL,
    state      BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Which ecosystems, with their release, a feed has advisories for.
CREATE TABLE feed_ecosystem (
    ecosystem TEXT NOT NULL,
    feed      TEXT NOT NULL,
    PRIMARY KEY (ecosystem, feed)
) STRICT, WITHOUT ROWID;
CREATE INDEX feed_ecosystem_feed ON feed_ecosystem (feed);

-- The last serial and version that were given out. Who writes advisories locks
-- its row first, so that serials become visible in their order.
CREATE TABLE advisory_counter (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    serial  INTEGER NOT NULL,
    version INTEGER NOT NULL
) STRICT;
INSERT INTO advisory_counter (id, serial, version) VALUES (1, 0, 0);

-- The exact bytes of advisories, compressed (DEFLATE).
CREATE TABLE advisory_body (
    digest TEXT PRIMARY KEY,
    body   BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- header is the advisory without its entries, as JSON. A version is known from
-- one time, and serial, to another; the current one to the end of time.
CREATE TABLE advisory (
    version     INTEGER PRIMARY KEY,
    feed        TEXT NOT NULL,
    id          TEXT NOT NULL,
    digest      TEXT NOT NULL,
    withdrawn   INTEGER NOT NULL,
    known_from  INTEGER NOT NULL,
    known_to    INTEGER NOT NULL,
    from_serial INTEGER NOT NULL,
    to_serial   INTEGER NOT NULL,
    header      BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX advisory_current ON advisory (feed, id) WHERE known_to = 9223372036854775807;
CREATE INDEX advisory_from ON advisory (from_serial, version);
CREATE INDEX advisory_to ON advisory (to_serial, version) WHERE to_serial > 0;

-- What a version says of a package: a list of entries, as JSON, under the key by
-- which packages find it.
CREATE TABLE advisory_entry (
    ecosystem TEXT NOT NULL,
    name      TEXT NOT NULL,
    version   INTEGER NOT NULL,
    entries   BLOB NOT NULL,
    PRIMARY KEY (ecosystem, name, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX advisory_entry_version ON advisory_entry (version);

-- The names of the vulnerabilities that a version is about, and its own.
CREATE TABLE advisory_name (
    name    TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX advisory_name_version ON advisory_name (version);

-- Which vulnerabilities are exploited (known_since, 0 when that is not known),
-- and how likely that is, in billionths.
CREATE TABLE exploit (
    name        TEXT PRIMARY KEY,
    known_since INTEGER NOT NULL,
    probability INTEGER NOT NULL,
    percentile  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
