// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

func TestReadKEV(t *testing.T) {
	got, err := ReadKEV([]byte(`{"catalogVersion":"2024.05.01","count":2,"vulnerabilities":[
		{"cveID":"CVE-2021-44228","dateAdded":"2021-12-10","vendorProject":"Apache"},{"cveID":"CVE-2014-0160","dateAdded":"2022-05-04"}]}`), Limits{})
	want := map[string]time.Time{"CVE-2021-44228": time.Date(2021, 12, 10, 0, 0, 0, 0, time.UTC), "CVE-2014-0160": time.Date(2022, 5, 4, 0, 0, 0, 0, time.UTC)}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, text := range []string{``, `{}`, `[]`, `{"vulnerabilities":[{"cveID":"../x","dateAdded":"2021-12-10"}]}`, `{"vulnerabilities":[{"cveID":"CVE-2021-44228","dateAdded":"soon"}]}`} {
		if _, err := ReadKEV([]byte(text), Limits{}); dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("%s: %v", text, err)
		}
	}
}

const scores = "#model_version:v2023.03.01,score_date:2024-05-01T00:00:00+0000\ncve,epss,percentile\nCVE-2021-44228,0.97,0.999\nCVE-2014-0160,0.5,0.9\n"

func zipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.String()
}

func TestReadEPSS(t *testing.T) {
	want := map[string]dossier.Exploit{"CVE-2021-44228": {Probability: 0.97, Percentile: 0.999}, "CVE-2014-0160": {Probability: 0.5, Percentile: 0.9}}
	for _, text := range []string{scores, zipped(scores)} {
		got, err := ReadEPSS(strings.NewReader(text), Limits{})
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	bomb := zipped("cve,epss,percentile\n" + strings.Repeat("#"+strings.Repeat(" ", 1000)+"\n", 20_000))
	for text, kind := range map[string]dossier.Kind{
		"": dossier.KindInvalid, "a,b\n": dossier.KindInvalid, "cve,epss,percentile\n": dossier.KindInvalid, "\x1f\x8b": dossier.KindInvalid,
		"cve,epss,percentile\nCVE-1,2,0\n": dossier.KindInvalid, "cve,epss,percentile\nCVE-1,NaN,0\n": dossier.KindInvalid,
		"cve,epss,percentile\nCVE-1,0.1\n": dossier.KindInvalid, "cve,epss,percentile\n../x,0.1,0.1\n": dossier.KindInvalid, bomb: dossier.KindLimit,
	} {
		if _, err := ReadEPSS(strings.NewReader(text), Limits{Table: 1 << 20}); dossier.KindOf(err) != kind {
			t.Errorf("%.40q: %v, want %s", text, err, kind)
		}
	}
}

func FuzzReadEPSS(f *testing.F) {
	f.Add([]byte(scores))
	f.Add([]byte(zipped(scores)))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := ReadEPSS(bytes.NewReader(b), Limits{Table: 1 << 20})
		for id, l := range got {
			if err != nil || !(l.Probability >= 0 && l.Probability <= 1) || id == "" {
				t.Errorf("%q: %+v, %v", id, l, err)
			}
		}
	})
}

func FuzzReadKEV(f *testing.F) {
	f.Add([]byte(`{"vulnerabilities":[{"cveID":"CVE-2021-44228","dateAdded":"2021-12-10"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := ReadKEV(b, Limits{}); err == nil && len(got) == 0 {
			t.Error("it has none, and that is no error")
		}
	})
}
