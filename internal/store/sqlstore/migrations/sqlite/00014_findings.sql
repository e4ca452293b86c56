-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- What advisories say of packages. All of it can be made again.

-- +goose Up

-- Up to where changes of advisories were followed, and the last finding that was
-- given a number. generation rises with every change; who makes one locks the row.
CREATE TABLE match_state (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    generation INTEGER NOT NULL,
    serial     INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    finding    INTEGER NOT NULL
) STRICT;
INSERT INTO match_state (id, generation, serial, version, finding) VALUES (1, 0, 0, 0, 0);

-- The feeds as they were then, and from when to when that was so.
CREATE TABLE match_feed (
    feed       TEXT NOT NULL,
    known_from INTEGER NOT NULL,
    known_to   INTEGER NOT NULL,
    source     TEXT NOT NULL,
    serial     INTEGER NOT NULL,
    as_of      INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    records    INTEGER NOT NULL,
    PRIMARY KEY (feed, known_from)
) STRICT, WITHOUT ROWID;
CREATE INDEX match_feed_known ON match_feed (known_to, known_from);

CREATE TABLE match_ecosystem (
    ecosystem  TEXT NOT NULL,
    feed       TEXT NOT NULL,
    known_from INTEGER NOT NULL,
    known_to   INTEGER NOT NULL,
    PRIMARY KEY (ecosystem, feed, known_from)
) STRICT, WITHOUT ROWID;
CREATE INDEX match_ecosystem_known ON match_ecosystem (known_to, known_from);

-- By which rules a package was compared (0: not yet), since when it was, and what
-- of it can be known.
CREATE TABLE package_match (
    package    INTEGER PRIMARY KEY REFERENCES package (id),
    rules      INTEGER NOT NULL,
    matched_at INTEGER NOT NULL,
    ecosystem  TEXT NOT NULL,
    reason     TEXT NOT NULL,
    unclear    TEXT NOT NULL
) STRICT;
CREATE INDEX package_match_rules ON package_match (rules, package);
INSERT INTO package_match (package, rules, matched_at, ecosystem, reason, unclear) SELECT id, 0, 0, '', '', '' FROM package;

-- Under which keys advisories about a package are found: ecosystem, line feed, name.
CREATE TABLE package_key (
    key     TEXT NOT NULL,
    package INTEGER NOT NULL REFERENCES package (id),
    PRIMARY KEY (key, package)
) STRICT, WITHOUT ROWID;

-- body is the dossier.Finding as JSON, without the package. A finding is known from
-- one time to another, a current one to the end of time; since is when the
-- vulnerability became known of the package.
CREATE TABLE finding (
    id            INTEGER PRIMARY KEY,
    package       INTEGER NOT NULL REFERENCES package (id),
    vulnerability TEXT NOT NULL,
    severity      TEXT NOT NULL,
    state         TEXT NOT NULL,
    since         INTEGER NOT NULL,
    known_from    INTEGER NOT NULL,
    known_to      INTEGER NOT NULL,
    body          BLOB NOT NULL
) STRICT;
CREATE INDEX finding_package ON finding (package, known_to, known_from, vulnerability, severity, state);

-- The names of a finding, in lower case.
CREATE TABLE finding_name (
    name    TEXT NOT NULL,
    package INTEGER NOT NULL,
    finding INTEGER NOT NULL REFERENCES finding (id),
    PRIMARY KEY (name, package, finding)
) STRICT, WITHOUT ROWID;
