-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- +goose Up

-- Facts that are events, by what happened in them: a projection. The other part
-- of the audit lies in files of its own, one for each day.
CREATE TABLE event (
    key  INTEGER NOT NULL,
    at   INTEGER NOT NULL,
    fact INTEGER NOT NULL, -- its position
    PRIMARY KEY (key, at, fact)
) STRICT, WITHOUT ROWID;
