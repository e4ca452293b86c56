-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- Tags of a digest are read in pages, tags of a repository are compared between
-- two times, and the repositories that hold a manifest are found.

-- +goose Up

DROP INDEX tag_digest;
CREATE INDEX tag_digest ON tag (digest, name, tag, from_at);
CREATE INDEX tag_ended ON tag (name, to_at) WHERE to_at IS NOT NULL;
CREATE INDEX manifest_digest ON manifest (digest, repository);
