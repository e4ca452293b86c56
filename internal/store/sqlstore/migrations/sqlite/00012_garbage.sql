-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- +goose Up

-- What is condemned of a digest is asked for when somebody asks why it is kept.
CREATE INDEX garbage_digest ON garbage (digest, condemned_at, key);
