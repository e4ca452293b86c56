// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/pattern"
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
		return File{}, in(path, err)
	}
	c.resolve(filepath.Dir(path))
	return c, nil
}

// in says in which file faults were found.
func in(path string, err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return fmt.Errorf("%s: %w", path, err)
	}
	var list []error
	for _, err := range joined.Unwrap() {
		list = append(list, fmt.Errorf("%s: %w", path, err))
	}
	return errors.Join(list...)
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
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	err := decoder.Decode(&f)
	if errors.Is(err, io.EOF) { // empty
		return File{}, nil
	}
	var faults []error
	if wrong, ok := errors.AsType[*yaml.TypeError](err); ok {
		for _, s := range wrong.Errors {
			faults = append(faults, fault(s))
		}
	} else if err != nil {
		return File{}, fault(err.Error())
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		faults = append(faults, fault("there is more than one document"))
	}
	if len(faults) > 0 {
		return File{}, errors.Join(faults...)
	}
	return f, nil
}

// The words of the YAML library for what it finds wrong, and ours.
var (
	lineWords    = pattern.New(`^(?:yaml: )?(line [0-9]+): (.*)$`)
	unknownWords = pattern.New(`^field (\S+) not found in type \S+$`)
	typeWords    = pattern.New("^cannot unmarshal (!!\\S+)(?: `.*`)? into (\\S+)$")
	typeNames    = map[string]string{
		"string": "text", "bool": "true or false", "int": "a number", "int64": "a number", "float64": "a number", "time.Duration": "a time such as 5m",
		"[]string": "a list of texts", "config.Check": "text",
	}
)

// fault says in our words what the YAML library found. It leaves values out.
func fault(s string) error {
	e := &dossier.Error{Kind: dossier.KindInvalid, Op: "reading the configuration", Hint: "docs/spec/config.md says what it may hold"}
	if m := lineWords.FindStringSubmatch(s); m != nil {
		e.Subject, s = m[1], m[2]
	}
	if m := unknownWords.FindStringSubmatch(s); m != nil {
		s = fmt.Sprintf("there is no field %.100q", m[1])
	} else if m := typeWords.FindStringSubmatch(s); m != nil {
		want, ok := typeNames[m[2]]
		if !ok {
			want = "fields with values"
		}
		s = "want " + want
	}
	e.Err = errors.New(s)
	return e
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
