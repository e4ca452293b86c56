// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"bufio"
	"encoding/json"
	"io"
	"strings"
)

// licensed adds what a file says of the licence to packages of extractors that
// leave it out.
func licensed(name string, in input, packages []Package) {
	if len(packages) != 1 || packages[0].License != "" || isPythonArchive(in.path) {
		return
	}
	if _, err := in.body.Seek(0, io.SeekStart); err != nil {
		return
	}
	switch name {
	case "javascript/packagejson":
		packages[0].License = npmLicense(in.body)
	case "python/wheelegg":
		packages[0].License = pythonLicense(in.body)
	}
}

// npmLicense reads the licence of a package.json: an expression, or in older
// ones an object or a list of objects with a type.
func npmLicense(r io.Reader) string {
	var file struct {
		License  npmLicenses `json:"license"`
		Licenses npmLicenses `json:"licenses"`
	}
	if json.NewDecoder(r).Decode(&file) != nil {
		return ""
	}
	if len(file.License) == 0 {
		file.License = file.Licenses
	}
	return printable(strings.Join(file.License, " OR "))
}

// npmLicenses are the names of licences in any of those forms.
type npmLicenses []string

// UnmarshalJSON never fails on JSON: a licence is not worth a package.
func (l *npmLicenses) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		if one != "" {
			*l = npmLicenses{one}
		}
		return nil
	}
	type typed struct {
		Type string `json:"type"`
	}
	var object typed
	list := []typed{}
	if json.Unmarshal(b, &object) == nil {
		list = append(list, object)
	} else if json.Unmarshal(b, &list) != nil {
		return nil
	}
	for _, o := range list {
		if o.Type != "" {
			*l = append(*l, o.Type)
		}
	}
	return nil
}

// pythonLicense reads the licence in the metadata of a Python package: an
// expression, or else a line of words, or else a classifier (core metadata
// specification 2.4).
func pythonLicense(r io.Reader) string {
	fields := map[string]string{}
	lines := bufio.NewScanner(r)
	for lines.Scan() && lines.Text() != "" { // the description comes after an empty line
		key, value, ok := strings.Cut(lines.Text(), ": ")
		if !ok || strings.HasPrefix(key, " ") {
			continue
		}
		if rest, isLicense := strings.CutPrefix(value, "License :: "); isLicense && key == "Classifier" {
			parts := strings.Split(rest, " :: ")
			key, value = "classifier", parts[len(parts)-1]
		}
		if fields[key] == "" {
			fields[key] = strings.TrimSpace(value)
		}
	}
	for _, key := range []string{"License-Expression", "License", "classifier"} {
		if v := fields[key]; v != "" && v != "UNKNOWN" {
			return printable(v)
		}
	}
	return ""
}
