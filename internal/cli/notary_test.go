// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptNotary: notary DIR VAR writes what Notary's own code has signed of registry.example/acme/app (e2e/notary; its keys are
// gone) to a directory, and serves it as a Notary server, whose URL becomes $VAR.
func scriptNotary(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: notary DIR VAR")
	}
	from := filepath.Join("..", "..", "testdata", "notary1")
	ts.Check(os.CopyFS(ts.MkAbs(args[0]), os.DirFS(from)))
	server := httptest.NewServer(http.StripPrefix("/v2/registry.example/acme/app/_trust/tuf/", http.FileServer(http.Dir(from))))
	ts.Defer(server.Close)
	ts.Setenv(args[1], server.URL)
}
