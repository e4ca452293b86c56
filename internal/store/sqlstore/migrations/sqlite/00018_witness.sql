-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- What was signed as a witness of other logs.

-- +goose Up

-- The newest checkpoint of each log.
CREATE TABLE log_witnessed (
    origin     TEXT PRIMARY KEY,
    size       INTEGER NOT NULL,
    root       BLOB NOT NULL,
    checkpoint BLOB NOT NULL
) STRICT, WITHOUT ROWID;
