// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/form"
)

// MaxFile bounds a file, in bytes.
const MaxFile = 1 << 20

// Read reads a file and makes the paths in it relative to the working directory.
// Errors: those of Parse, with the path; KindNotFound, KindStorage.
func Read(path string) (File, error) {
	fail := func(kind dossier.Kind, err error) (File, error) {
		return File{}, &dossier.Error{Kind: kind, Op: "reading", Subject: path, Err: err, Hint: "check --config"}
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return fail(dossier.KindNotFound, errors.New("there is no such file"))
	}
	if err != nil {
		return fail(dossier.KindStorage, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return fail(dossier.KindStorage, err)
	}
	c, err := Parse(text)
	if err != nil {
		return File{}, form.In(path, err)
	}
	c.resolve(filepath.Dir(path))
	return c, nil
}

// resolve makes paths that are not absolute relative to dir.
func (f *File) resolve(dir string) {
	paths := []*string{
		&f.Data, &f.TLS.Cert, &f.TLS.Key, &f.TokenFile, &f.LogKey, &f.SealKey, &f.Witness.Key, &f.RegistryCA, &f.Cluster.Kubeconfig, &f.Registry.UpstreamCredentials,
		&f.Registry.Htpasswd, &f.Registry.Rules, &f.Registry.Tokens.Keys,
	}
	for i := range f.Registry.Upstreams {
		paths = append(paths, &f.Registry.Upstreams[i].Credentials)
	}
	for _, list := range [][]string{f.Triage.VEX, f.Triage.Ignore} {
		for i := range list {
			paths = append(paths, &list[i])
		}
	}
	for i := range f.Notifications.Targets {
		paths = append(paths, &f.Notifications.Targets[i].Secret, &f.Notifications.Targets[i].CA)
	}
	if !strings.Contains(f.Advisories.Base, "://") {
		paths = append(paths, &f.Advisories.Base)
	}
	for _, path := range paths {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(dir, *path)
		}
	}
}

// Parse reads a configuration from YAML: one document of at most MaxFile bytes.
// All faults of form are returned as one joined error, each a KindInvalid with its line.
// What the values mean is for who uses them to check. KindLimit.
func Parse(text []byte) (File, error) {
	const op = "reading the configuration"
	var f File
	if len(text) > MaxFile {
		return f, dossier.Errorf(dossier.KindLimit, op, "", fmt.Sprintf("the file has more than %d bytes", MaxFile))
	}
	if err := form.Decode(text, &f, op, "docs/spec/config.md says what it may hold"); err != nil {
		return File{}, err
	}
	return f, nil
}

// Environ puts the variables of an environment that settings have over the file.
func (f *File) Environ(env map[string]string) {
	for name, to := range map[string]*string{"DOSSIER_DATABASE": &f.Database, "DOSSIER_BLOBS": &f.Blobs, "DOSSIER_LISTEN": &f.Listen,
		"OTEL_EXPORTER_OTLP_ENDPOINT": &f.Traces.Endpoint,
	} {
		if v := env[name]; v != "" {
			*to = v
		}
	}
}
