-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- What is pulled through from other registries.

-- +goose Up

-- upstream is the registry of which a repository is a mirror, or empty. The name
-- of a mirror is the one it has there.
ALTER TABLE repository ADD COLUMN upstream TEXT COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX repository_upstream ON repository (upstream, path) WHERE upstream > '';

-- What a registry said refers to a manifest. body is JSON.
CREATE TABLE upstream_referrer (
    repository TEXT COLLATE "C" NOT NULL REFERENCES repository (path),
    subject    TEXT COLLATE "C" NOT NULL,
    body       BYTEA NOT NULL,
    checked_at BIGINT NOT NULL,
    PRIMARY KEY (repository, subject)
);
