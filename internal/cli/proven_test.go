// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"os"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

var logKey = regexp.MustCompile(`(?m)^key (\S+)$`)

// scriptTrust: trust DATA FILE writes a trust file that believes the log of a store.
func scriptTrust(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: trust DATA FILE")
	}
	ts.Check(ts.Exec("dossier", "log", "verify", "--data", args[0]))
	key := logKey.FindStringSubmatch(ts.ReadFile("stdout"))
	if key == nil {
		ts.Fatalf("the log of %s has no key", args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte("logs:\n- key: "+key[1]+"\n"), 0o600))
}

// scriptReplace: replace OLD NEW FROM TO writes a file with the first OLD in it replaced.
func scriptReplace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: replace OLD NEW FROM TO")
	}
	before := ts.ReadFile(args[2])
	after := strings.Replace(before, args[0], args[1], 1)
	if after == before {
		ts.Fatalf("%s does not have %s", args[2], args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[3]), []byte(after), 0o600))
}

// scriptKey: key FILE NAME sets a variable to the key of the log that a trust file names.
func scriptKey(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: key FILE NAME")
	}
	_, key, ok := strings.Cut(strings.TrimSpace(ts.ReadFile(args[0])), "key: ")
	if !ok {
		ts.Fatalf("%s has no key", args[0])
	}
	ts.Setenv(args[1], key)
}
