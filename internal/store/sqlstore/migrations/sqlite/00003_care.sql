-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- Care of bytes. What a repository holds is not taken from it before kept_until
-- but by who asks for that by name; a blob whose row is gone is condemned: its
-- bytes lie under a key that nobody finds any more, until they are deleted.

-- +goose Up

ALTER TABLE repository_blob ADD COLUMN kept_until INTEGER NOT NULL DEFAULT 0;
ALTER TABLE manifest ADD COLUMN kept_until INTEGER NOT NULL DEFAULT 0;
UPDATE repository_blob SET kept_until = linked_at + 86400000000;
UPDATE manifest SET kept_until = pushed_at + 86400000000;

-- checked_at is when the bytes were last compared with the digest, damage what
-- was wrong with them then.
ALTER TABLE blob ADD COLUMN stored_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE blob ADD COLUMN checked_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE blob ADD COLUMN damage TEXT NOT NULL DEFAULT '';
ALTER TABLE blob ADD COLUMN damaged_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX blob_bytes ON blob (key);
CREATE INDEX blob_checked ON blob (checked_at, digest);
CREATE INDEX blob_damaged ON blob (digest) WHERE damage <> '';
CREATE INDEX upload_bytes ON upload (key);

-- why: the rule, or the words of who deleted it.
ALTER TABLE tombstone ADD COLUMN reason TEXT NOT NULL DEFAULT '';

-- Condemned bytes. size is -1 when nobody knows.
CREATE TABLE garbage (
    key          TEXT PRIMARY KEY,
    digest       TEXT NOT NULL,
    size         INTEGER NOT NULL,
    reason       TEXT NOT NULL,
    condemned_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX garbage_condemned ON garbage (condemned_at, key);

-- When a cluster was last listed whole: what runs, and what templates and
-- rollout history name. problem says what was missing from the last list.
CREATE TABLE listing (
    cluster TEXT NOT NULL,
    part    TEXT NOT NULL,
    at      INTEGER NOT NULL,
    problem TEXT NOT NULL,
    PRIMARY KEY (cluster, part)
) STRICT, WITHOUT ROWID;

-- Images that a cluster may want to run: named by templates, by rollout history
-- and by cron jobs. All of a cluster are replaced by each list.
CREATE TABLE pin (
    cluster   TEXT NOT NULL,
    namespace TEXT NOT NULL,
    kind      TEXT NOT NULL,
    name      TEXT NOT NULL,
    reference TEXT NOT NULL,
    owner     TEXT NOT NULL,
    PRIMARY KEY (cluster, namespace, kind, name, reference)
) STRICT, WITHOUT ROWID;

-- Limits of what repositories below a prefix hold, 0 for none, and what they hold.
CREATE TABLE quota (
    prefix    TEXT PRIMARY KEY,
    max_bytes INTEGER NOT NULL,
    max_tags  INTEGER NOT NULL,
    bytes     INTEGER NOT NULL,
    tags      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What counts for a quota, once, however many repositories hold it.
CREATE TABLE quota_item (
    prefix  TEXT NOT NULL REFERENCES quota (prefix) ON DELETE CASCADE,
    digest  TEXT NOT NULL,
    size    INTEGER NOT NULL,
    holders INTEGER NOT NULL,
    PRIMARY KEY (prefix, digest)
) STRICT, WITHOUT ROWID;
