-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- +goose Up

-- In which generation of findings something of a package changed last.
ALTER TABLE package_match ADD COLUMN generation BIGINT NOT NULL DEFAULT 0;
CREATE INDEX package_match_generation ON package_match (generation, package);
