-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- Blobs that are so small that a file of their own would cost more than a row: their bytes
-- come with the transaction that names them. No id is ever used again.

-- +goose Up

CREATE TABLE small_blob (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    content BLOB NOT NULL
) STRICT;
