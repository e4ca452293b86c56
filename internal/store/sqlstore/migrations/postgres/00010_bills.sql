-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- +goose Up

-- When somebody last looked for what is attached to an image.
ALTER TABLE image_read ADD COLUMN looked_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX image_read_looked ON image_read (looked_at, manifest);
