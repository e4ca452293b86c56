-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- Notifications: what was told of whom, and what is on its way.

-- +goose Up

-- What was last told of the findings of an image that a workload runs.
CREATE TABLE told (
    cluster   TEXT NOT NULL,
    namespace TEXT NOT NULL,
    kind      TEXT NOT NULL,
    name      TEXT NOT NULL,
    digest    TEXT NOT NULL,
    at        INTEGER NOT NULL,
    body      BLOB NOT NULL,
    PRIMARY KEY (cluster, namespace, kind, name, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX told_digest ON told (digest);

-- Events on their way to targets.
CREATE TABLE delivery (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    target     TEXT NOT NULL,
    event      TEXT NOT NULL,
    body       BLOB NOT NULL,
    at         INTEGER NOT NULL,
    run_at     INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    last_error TEXT NOT NULL,
    parked     INTEGER NOT NULL,
    UNIQUE (target, event)
) STRICT;
CREATE INDEX delivery_waiting ON delivery (target, run_at) WHERE parked = 0;
CREATE INDEX delivery_parked ON delivery (at) WHERE parked = 1;

-- Whether somebody is told: then changes are written down in notice.
CREATE TABLE telling (
    id INTEGER PRIMARY KEY CHECK (id = 1)
) STRICT;
