-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- Trust on first use: who is pinned as the signer of a repository. There is one at most.

-- +goose Up

CREATE TABLE signer_pin (
    scope  TEXT NOT NULL PRIMARY KEY,
    signer TEXT NOT NULL,
    image  TEXT NOT NULL,
    at     INTEGER NOT NULL,
    trust  TEXT NOT NULL
) STRICT, WITHOUT ROWID;
