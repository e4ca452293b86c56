-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- What layers and images hold. All of it can be made again from facts.

-- +goose Up

-- Layers of which there is a fact layer.contents.
CREATE TABLE layer_read (
    digest  TEXT PRIMARY KEY,
    serial  INTEGER NOT NULL,
    read_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX layer_read_serial ON layer_read (serial, read_at);

-- What is linked into programs: dossier.Program as JSON.
CREATE TABLE program (
    id     INTEGER PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    body   BLOB NOT NULL
) STRICT;

-- Each package once, however many images have it. The body is dossier.Package
-- without Program as JSON.
CREATE TABLE package (
    id        INTEGER PRIMARY KEY,
    digest    TEXT NOT NULL UNIQUE,
    ecosystem TEXT NOT NULL,
    name      TEXT NOT NULL,
    program   INTEGER REFERENCES program (id),
    body      TEXT NOT NULL
) STRICT;
CREATE INDEX package_name ON package (ecosystem, name);

-- The words under which packages are found: store.PackageTerms.
CREATE TABLE package_term (
    term    TEXT NOT NULL,
    package INTEGER NOT NULL REFERENCES package (id),
    PRIMARY KEY (term, package)
) STRICT, WITHOUT ROWID;

-- The packages that a layer brings into images. Images in which the same is
-- seen of the layer share the set. whole: all its members are there.
CREATE TABLE package_set (
    id     INTEGER PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    layer  TEXT NOT NULL,
    whole  INTEGER NOT NULL
) STRICT;

CREATE TABLE package_member (
    package_set INTEGER NOT NULL REFERENCES package_set (id),
    package     INTEGER NOT NULL REFERENCES package (id),
    path        TEXT NOT NULL,
    PRIMARY KEY (package_set, package, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX package_member_package ON package_member (package, package_set);

-- Manifests of which there is a fact image.contents.
CREATE TABLE image_read (
    manifest TEXT PRIMARY KEY,
    serial   INTEGER NOT NULL,
    read_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX image_read_serial ON image_read (serial, read_at);

CREATE TABLE image_set (
    manifest    TEXT NOT NULL,
    position    INTEGER NOT NULL,
    package_set INTEGER NOT NULL REFERENCES package_set (id),
    PRIMARY KEY (manifest, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_set_set ON image_set (package_set, manifest);
