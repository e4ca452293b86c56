// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"archive/zip"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"dossier.dev/dossier"
)

// advisories are a few records, by feed and ID: one for each kind of package that
// the images hold. Real feeds have tens of thousands.
func advisories() map[string]map[string]string {
	return map[string]map[string]string{
		"Debian": {"DEBIAN-CVE-2024-2961": `{"id":"DEBIAN-CVE-2024-2961","modified":"2024-04-23T00:00:00Z","upstream":["CVE-2024-2961"],
"summary":"iconv writes past its buffer for ISO-2022-CN-EXT","database_specific":{"severity":"HIGH"},
"affected":[{"package":{"ecosystem":"Debian:12","name":"glibc"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"2.36-9+deb12u6"}]}]}]}`},
		"Alpine": {"ALPINE-CVE-2025-26519": `{"id":"ALPINE-CVE-2025-26519","modified":"2025-02-14T00:00:00Z","upstream":["CVE-2025-26519"],
"summary":"iconv writes past its buffer for EUC-KR","database_specific":{"severity":"HIGH"},
"affected":[{"package":{"ecosystem":"Alpine:v3.20","name":"musl"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1.2.5-r1"}]}]}]}`},
		"Go": {"GO-2022-1059": `{"id":"GO-2022-1059","modified":"2024-05-20T00:00:00Z","aliases":["CVE-2022-32149","GHSA-69ch-w2m2-3vjp"],
"summary":"Denial of service via crafted Accept-Language header","database_specific":{"severity":"HIGH"},
"affected":[{"package":{"ecosystem":"Go","name":"golang.org/x/text"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"0.3.8"}]}],
"ecosystem_specific":{"imports":[{"path":"golang.org/x/text/language","symbols":["MatchStrings","ParseAcceptLanguage"]}]}}]}`},
	}
}

// WriteAdvisories writes the sample advisories below a directory, as feeds are
// published, and returns the paths of the feeds.
func WriteAdvisories(dir string) ([]string, error) {
	var paths []string
	feeds := advisories()
	for _, feed := range slices.Sorted(maps.Keys(feeds)) {
		path := filepath.Join(dir, feed, "all.zip")
		if err := writeFeed(path, feeds[feed]); err != nil {
			return nil, &dossier.Error{Kind: dossier.KindStorage, Op: "writing sample advisories", Subject: path, Err: err}
		}
		paths = append(paths, path)
	}
	return paths, nil
}

func writeFeed(path string, records map[string]string) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	z := zip.NewWriter(f)
	for id, text := range records {
		w, createErr := z.Create(id + ".json")
		if createErr == nil {
			_, createErr = w.Write([]byte(text))
		}
		if createErr != nil {
			err = createErr
		}
	}
	for _, end := range []func() error{z.Close, f.Close} {
		if endErr := end(); err == nil {
			err = endErr
		}
	}
	return err
}
