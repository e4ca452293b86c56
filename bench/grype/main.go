// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Command grype makes a database for Grype from archives of OSV records, so that
// Grype and Dossier can be asked about the same images with the same advisories:
//
//	go run . -o DIR Go.zip AlmaLinux-9.zip
//	GRYPE_DB_CACHE_DIR=DIR GRYPE_DB_AUTO_UPDATE=false GRYPE_DB_VALIDATE_AGE=false grype oci-dir:LAYOUT
//
// Grype reads records of Go's and AlmaLinux's databases; it passes over others.
// The command is a module of its own: what Grype needs stays out of the rest.
package main

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/anchore/grype/grype/db"
	"github.com/anchore/grype/grype/db/provider"
	v6 "github.com/anchore/grype/grype/db/v6"
)

// schema is what Grype's feeds call OSV records.
const schema = "https://raw.githubusercontent.com/anchore/vunnel/main/schema/vulnerability/osv/schema-1.6.1.json"

func main() {
	out := flag.String("o", "", "`directory` for the database")
	flag.Parse()
	if *out == "" || flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(out string, archives []string) (err error) {
	dir, err := os.MkdirTemp("", "dossier-grype-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var states provider.States
	for _, a := range archives {
		s, err := unpack(filepath.Join(dir, filepath.Base(a)), a)
		if err != nil {
			return fmt.Errorf("%s: %w", a, err)
		}
		states = append(states, *s)
	}
	// Grype looks for a database in a directory named for its schema.
	to := filepath.Join(out, fmt.Sprint(v6.ModelVersion))
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	return db.Build(db.BuildConfig{SchemaVersion: v6.ModelVersion, Directory: to, States: states, Timestamp: time.Now(), Hydrate: true})
}

// unpack writes the records of an archive as one of Grype's feeds.
func unpack(dir, archive string) (*provider.State, error) {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	if err := os.MkdirAll(filepath.Join(dir, "results"), 0o755); err != nil {
		return nil, err
	}
	var listing strings.Builder
	for i, f := range z.File {
		r, err := f.Open()
		if err != nil {
			return nil, err
		}
		record, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			return nil, err
		}
		envelope, err := json.Marshal(map[string]any{"schema": schema, "identifier": f.Name, "item": json.RawMessage(record)})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		name := filepath.Join("results", fmt.Sprintf("%06d.json", i))
		if err := os.WriteFile(filepath.Join(dir, name), envelope, 0o644); err != nil {
			return nil, err
		}
		fmt.Fprintf(&listing, "0  %s\n", name)
	}
	if err := os.WriteFile(filepath.Join(dir, "listing.xxh64"), []byte(listing.String()), 0o644); err != nil {
		return nil, err
	}
	name := strings.TrimSuffix(filepath.Base(archive), ".zip")
	state, err := json.Marshal(provider.State{
		Provider: strings.ToLower(name), Version: 1, Processor: "dossier", Schema: provider.Schema{Version: "1.6.1", URL: schema},
		Timestamp: time.Now(), Listing: &provider.File{Path: "listing.xxh64", Algorithm: "xxh64", Digest: "0"}, Store: "flat-file",
	})
	if err != nil {
		return nil, err
	}
	location := filepath.Join(dir, "metadata.json")
	if err := os.WriteFile(location, state, 0o644); err != nil {
		return nil, err
	}
	return provider.ReadState(location)
}
