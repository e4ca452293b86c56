// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// fewest is how many tests the suite counts at least: one that could not begin
// ends well, and has counted none.
const fewest = 800

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
	}
	if err := xml.Unmarshal(text, &counts); err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", counts)
	if passed := counts.Tests - counts.Disabled; passed < fewest {
		t.Errorf("%d tests passed, want %d or more", passed, fewest)
	}
	if counts.Failures+counts.Errors+counts.Skipped > 0 || t.Failed() {
		t.Errorf("%d failed, %d could not run, %d were skipped:\n%s", counts.Failures, counts.Errors, counts.Skipped, out)
	}
}
