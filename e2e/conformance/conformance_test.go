// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fewest is how many tests the suite counts at least: one that could not begin
// ends well, and has counted none.
const fewest = 800

// disabledIn returns the tests that the suite leaves out by itself, as they are about what a version of the specification does
// not have: in 1.1 no upload can be cancelled. (Pushing several tags at once, new in dev too, has no tests of its own to leave out.)
func disabledIn(version string) []string {
	if version == "1.1" {
		return []string{"sha256 blobs/post cancel/blob-post-cancel", "sha512 blobs/post cancel/blob-post-cancel"}
	}
	return nil
}

// TestConformance runs the suite of the OCI distribution specification. What it
// skips counts as failed.
func TestConformance(t *testing.T) {
	for _, storage := range storages {
		for _, login := range logins {
			t.Run(storage.name+"/"+login.name, func(t *testing.T) {
				host := storage.start(t, login.flags(t)...)
				for _, version := range []string{"1.1", "dev"} {
					t.Run(version, func(t *testing.T) { conform(t, host, version) })
				}
			})
		}
	}
}

func conform(t *testing.T, host, version string) {
	results := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program(t, "conformance"))
	cmd.Dir = results // where it looks for a configuration
	cmd.Env = append(os.Environ(), "OCI_REGISTRY="+host, "OCI_TLS=disabled", "OCI_REPO1=conformance/one", "OCI_REPO2=conformance/two",
		"OCI_VERSION="+version, "OCI_RESULTS_DIR="+results, "OCI_USERNAME="+user, "OCI_PASSWORD="+password)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("the suite: %v", err)
	}
	if info, err := os.Stat(filepath.Join(results, "results.yaml")); err != nil || info.Size() == 0 {
		t.Errorf("no results: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(results, "junit.xml"))
	if err != nil {
		t.Fatalf("no counts: %v\n%s", err, out)
	}
	var counts struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
		Skipped  int `xml:"skipped,attr"`
		Disabled int `xml:"disabled,attr"`
		Cases    []struct {
			Name   string `xml:"name,attr"`
			Status string `xml:"status,attr"`
		} `xml:"testsuite>testcase"`
	}
	if err := xml.Unmarshal(text, &counts); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d tests, %d failures, %d errors, %d skipped, %d disabled", counts.Tests, counts.Failures, counts.Errors, counts.Skipped, counts.Disabled)
	var left []string
	for _, c := range counts.Cases {
		if c.Status == "skipped" {
			left = append(left, strings.TrimPrefix(c.Name, "OCI Conformance Test/"))
		}
	}
	if want := disabledIn(version); !slices.Equal(left, want) || len(left) != counts.Disabled {
		t.Errorf("the suite left out %q, want only what %s does not have: %q", left, version, want)
	}
	if passed := counts.Tests - counts.Disabled; passed < fewest {
		t.Errorf("%d tests passed, want %d or more", passed, fewest)
	}
	if counts.Failures+counts.Errors+counts.Skipped > 0 || t.Failed() {
		t.Errorf("%d failed, %d could not run, %d were skipped:\n%s", counts.Failures, counts.Errors, counts.Skipped, out)
	}
}
