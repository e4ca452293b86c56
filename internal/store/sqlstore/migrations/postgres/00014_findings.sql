-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- What advisories say of packages. All of it can be made again.

-- +goose Up

-- Up to where changes of advisories were followed, and the last finding that was
-- given a number. generation rises with every change; who makes one locks the row.
CREATE TABLE match_state (
    id         BIGINT PRIMARY KEY CHECK (id = 1),
    generation BIGINT NOT NULL,
    serial     BIGINT NOT NULL,
    version    BIGINT NOT NULL,
    finding    BIGINT NOT NULL
);
INSERT INTO match_state (id, generation, serial, version, finding) VALUES (1, 0, 0, 0, 0);

-- The feeds as they were then, and from when to when that was so.
CREATE TABLE match_feed (
    feed       TEXT COLLATE "C" NOT NULL,
    known_from BIGINT NOT NULL,
    known_to   BIGINT NOT NULL,
    source     TEXT COLLATE "C" NOT NULL,
    serial     BIGINT NOT NULL,
    as_of      BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    records    BIGINT NOT NULL,
    PRIMARY KEY (feed, known_from)
);
CREATE INDEX match_feed_known ON match_feed (known_to, known_from);

CREATE TABLE match_ecosystem (
    ecosystem  TEXT COLLATE "C" NOT NULL,
    feed       TEXT COLLATE "C" NOT NULL,
    known_from BIGINT NOT NULL,
    known_to   BIGINT NOT NULL,
    PRIMARY KEY (ecosystem, feed, known_from)
);
CREATE INDEX match_ecosystem_known ON match_ecosystem (known_to, known_from);

-- By which rules a package was compared (0: not yet), since when it was, and what
-- of it can be known.
CREATE TABLE package_match (
    package    BIGINT PRIMARY KEY REFERENCES package (id),
    rules      BIGINT NOT NULL,
    matched_at BIGINT NOT NULL,
    ecosystem  TEXT COLLATE "C" NOT NULL,
    reason     TEXT COLLATE "C" NOT NULL,
    unclear    TEXT COLLATE "C" NOT NULL
);
CREATE INDEX package_match_rules ON package_match (rules, package);
INSERT INTO package_match (package, rules, matched_at, ecosystem, reason, unclear) SELECT id, 0, 0, '', '', '' FROM package;

-- Under which keys advisories about a package are found: ecosystem, line feed, name.
CREATE TABLE package_key (
    key     TEXT COLLATE "C" NOT NULL,
    package BIGINT NOT NULL REFERENCES package (id),
    PRIMARY KEY (key, package)
);

-- body is the dossier.Finding as JSON, without the package. A finding is known from
-- one time to another, a current one to the end of time; since is when the
-- vulnerability became known of the package.
CREATE TABLE finding (
    id            BIGINT PRIMARY KEY,
    package       BIGINT NOT NULL REFERENCES package (id),
    vulnerability TEXT COLLATE "C" NOT NULL,
    severity      TEXT COLLATE "C" NOT NULL,
    state         TEXT COLLATE "C" NOT NULL,
    since         BIGINT NOT NULL,
    known_from    BIGINT NOT NULL,
    known_to      BIGINT NOT NULL,
    body          BYTEA NOT NULL
);
CREATE INDEX finding_package ON finding (package, known_to, known_from, vulnerability, severity, state);

-- The names of a finding, in lower case.
CREATE TABLE finding_name (
    name    TEXT COLLATE "C" NOT NULL,
    package BIGINT NOT NULL,
    finding BIGINT NOT NULL REFERENCES finding (id),
    PRIMARY KEY (name, package, finding)
);
