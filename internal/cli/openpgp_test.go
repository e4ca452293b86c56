// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"github.com/rogpeppe/go-internal/testscript"
)

// scriptSimpleSign signs an image as skopeo does, by a new OpenPGP key:
// simplesign KEYFILE DIR DIGEST REFERENCE REPOSITORY writes the public key, and the
// signature where a lookaside has it that is DIR.
func scriptSimpleSign(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 5 {
		ts.Fatalf("usage: simplesign KEYFILE DIR DIGEST REFERENCE REPOSITORY")
	}
	e, err := openpgp.NewEntity("release", "", "release@example.com", nil)
	ts.Check(err)
	var key, message bytes.Buffer
	w, err := armor.Encode(&key, openpgp.PublicKeyType, nil)
	ts.Check(err)
	ts.Check(e.Serialize(w))
	ts.Check(w.Close())
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), key.Bytes(), 0o600))
	text, err := openpgp.Sign(&message, []*openpgp.Entity{e}, nil, nil)
	ts.Check(err)
	_, err = fmt.Fprintf(text, `{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},"type":"atomic container signature"},"optional":{"creator":"test"}}`, args[3], args[2])
	ts.Check(err)
	ts.Check(text.Close())
	dir := filepath.Join(ts.MkAbs(args[1]), args[4]+"@"+strings.Replace(args[2], ":", "=", 1))
	ts.Check(os.MkdirAll(dir, 0o700))
	ts.Check(os.WriteFile(filepath.Join(dir, "signature-1"), message.Bytes(), 0o600))
}
