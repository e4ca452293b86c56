-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- What an upload has in its own row needs no way back from a key.

-- +goose Up

DROP INDEX upload_bytes;
CREATE INDEX upload_bytes ON upload (key) WHERE key <> '';
