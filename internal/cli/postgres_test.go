// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"dossier.dev/dossier/internal/store/storetest/pgtest"
)

// TestScriptPostgres runs transcripts once more with PostgreSQL instead of the
// embedded store: the same words must come out.
func TestScriptPostgres(t *testing.T) {
	for _, name := range []string{"images-files", "show", "history", "where"} {
		t.Run(name, func(t *testing.T) {
			params := scriptParams("", "DOSSIER_DATABASE="+pgtest.Start(t))
			params.Files = []string{filepath.Join("..", "..", "testdata", "script", name+".txtar")}
			if _, err := os.Stat(params.Files[0]); err != nil {
				t.Fatal(err)
			}
			testscript.Run(t, params)
		})
	}
}
