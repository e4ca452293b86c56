-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- Trust on first use: who is pinned as the signer of a repository. There is one at most.

-- +goose Up

CREATE TABLE signer_pin (
    scope  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    signer TEXT COLLATE "C" NOT NULL,
    image  TEXT COLLATE "C" NOT NULL,
    at     BIGINT NOT NULL,
    trust  TEXT COLLATE "C" NOT NULL
);
