// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"os"
	"testing"
)

// TestRepository runs every check on this repository.
func TestRepository(t *testing.T) {
	r, err := load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	a := dossierArchitecture()
	checks := []struct {
		name string
		run  func(*repository) []string
	}{
		{"layers", a.checkLayers},
		{"ambient", a.checkAmbient},
		{"imports", importCheck(forbiddenImports(), nil)},
		{"root", checkRoot},
		{"kits", checkKits},
		{"modules", moduleCheck(allowed())},
		{"budgets", budgetCheck(overBudget())},
		{"licences", checkLicences},
		{"format", checkFormat},
		{"docs", checkDocs},
		{"exported", checkExported},
		{"tested", testedCheck(untested())},
		{"fuzzed", fuzzCheck(parsers())},
		{"names", checkPackageNames},
		{"interfaces", checkInterfaces},
		{"state", checkState},
		{"paths", checkPaths},
		{"commands", checkCommands},
		{"migrations", checkMigrations},
		{"machine", checkMachine},
	}
	for _, check := range checks {
		t.Run(check.name, func(t *testing.T) {
			for _, fault := range check.run(r) {
				t.Error(fault)
			}
		})
	}
}
