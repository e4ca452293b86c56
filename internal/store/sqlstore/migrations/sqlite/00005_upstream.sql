-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- What is pulled through from other registries.

-- +goose Up

-- upstream is the registry of which a repository is a mirror, or empty. The name
-- of a mirror is the one it has there.
ALTER TABLE repository ADD COLUMN upstream TEXT NOT NULL DEFAULT '';
CREATE INDEX repository_upstream ON repository (upstream, path) WHERE upstream > '';

-- What a registry said refers to a manifest. body is JSON.
CREATE TABLE upstream_referrer (
    repository TEXT NOT NULL REFERENCES repository (path),
    subject    TEXT NOT NULL,
    body       BLOB NOT NULL,
    checked_at INTEGER NOT NULL,
    PRIMARY KEY (repository, subject)
) STRICT, WITHOUT ROWID;
