-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- A listing says of what of its cluster it is, in words; empty: of all of it.

-- +goose Up

ALTER TABLE listing ADD COLUMN scope TEXT NOT NULL DEFAULT '';
