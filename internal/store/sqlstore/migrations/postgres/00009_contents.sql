-- SPDX-FileCopyrightText: The Dossier Authors
-- SPDX-License-Identifier: Apache-2.0

-- What layers and images hold. All of it can be made again from facts.

-- +goose Up

-- Layers of which there is a fact layer.contents.
CREATE TABLE layer_read (
    digest  TEXT COLLATE "C" PRIMARY KEY,
    serial  BIGINT NOT NULL,
    read_at BIGINT NOT NULL
);
CREATE INDEX layer_read_serial ON layer_read (serial, read_at);

-- What is linked into programs: dossier.Program as JSON.
CREATE TABLE program (
    id     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest TEXT COLLATE "C" NOT NULL UNIQUE,
    body   BYTEA NOT NULL
);

-- Each package once, however many images have it. The body is dossier.Package
-- without Program as JSON.
CREATE TABLE package (
    id        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest    TEXT COLLATE "C" NOT NULL UNIQUE,
    ecosystem TEXT COLLATE "C" NOT NULL,
    name      TEXT COLLATE "C" NOT NULL,
    program   BIGINT REFERENCES program (id),
    body      TEXT COLLATE "C" NOT NULL
);
CREATE INDEX package_name ON package (ecosystem, name);

-- The words under which packages are found: store.PackageTerms.
CREATE TABLE package_term (
    term    TEXT COLLATE "C" NOT NULL,
    package BIGINT NOT NULL REFERENCES package (id),
    PRIMARY KEY (term, package)
);

-- The packages that a layer brings into images. Images in which the same is
-- seen of the layer share the set. whole: all its members are there.
CREATE TABLE package_set (
    id     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest TEXT COLLATE "C" NOT NULL UNIQUE,
    layer  TEXT COLLATE "C" NOT NULL,
    whole  BIGINT NOT NULL
);

CREATE TABLE package_member (
    package_set BIGINT NOT NULL REFERENCES package_set (id),
    package     BIGINT NOT NULL REFERENCES package (id),
    path        TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (package_set, package, path)
);
CREATE INDEX package_member_package ON package_member (package, package_set);

-- Manifests of which there is a fact image.contents.
CREATE TABLE image_read (
    manifest TEXT COLLATE "C" PRIMARY KEY,
    serial   BIGINT NOT NULL,
    read_at  BIGINT NOT NULL
);
CREATE INDEX image_read_serial ON image_read (serial, read_at);

CREATE TABLE image_set (
    manifest    TEXT COLLATE "C" NOT NULL,
    position    BIGINT NOT NULL,
    package_set BIGINT NOT NULL REFERENCES package_set (id),
    PRIMARY KEY (manifest, position)
);
CREATE INDEX image_set_set ON image_set (package_set, manifest);
