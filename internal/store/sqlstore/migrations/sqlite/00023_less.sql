-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- The end of a chain is found where the facts are: there is one writer, who need not lock it.
-- What an upload has in its own row needs no way back from a key.

-- +goose Up

DROP TABLE head;

DROP INDEX upload_bytes;
CREATE INDEX upload_bytes ON upload (key) WHERE key <> '';
