-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- What was signed as a witness of other logs.

-- +goose Up

-- The newest checkpoint of each log.
CREATE TABLE log_witnessed (
    origin     TEXT COLLATE "C" PRIMARY KEY,
    size       BIGINT NOT NULL,
    root       BYTEA NOT NULL,
    checkpoint BYTEA NOT NULL
);
