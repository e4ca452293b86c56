-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- Notifications: what was told of whom, and what is on its way.

-- +goose Up

-- What was last told of the findings of an image that a workload runs.
CREATE TABLE told (
    cluster   TEXT COLLATE "C" NOT NULL,
    namespace TEXT COLLATE "C" NOT NULL,
    kind      TEXT COLLATE "C" NOT NULL,
    name      TEXT COLLATE "C" NOT NULL,
    digest    TEXT COLLATE "C" NOT NULL,
    at        BIGINT NOT NULL,
    body      BYTEA NOT NULL,
    PRIMARY KEY (cluster, namespace, kind, name, digest)
);
CREATE INDEX told_digest ON told (digest);

-- Events on their way to targets.
CREATE TABLE delivery (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target     TEXT COLLATE "C" NOT NULL,
    event      TEXT COLLATE "C" NOT NULL,
    body       BYTEA NOT NULL,
    at         BIGINT NOT NULL,
    run_at     BIGINT NOT NULL,
    attempts   BIGINT NOT NULL,
    last_error TEXT COLLATE "C" NOT NULL,
    parked     BIGINT NOT NULL,
    UNIQUE (target, event)
);
CREATE INDEX delivery_waiting ON delivery (target, run_at) WHERE parked = 0;
CREATE INDEX delivery_parked ON delivery (at) WHERE parked = 1;

-- Whether somebody is told: then changes are written down in notice.
CREATE TABLE telling (
    id BIGINT PRIMARY KEY CHECK (id = 1)
);
