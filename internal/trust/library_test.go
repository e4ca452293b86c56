// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLibraryBundles judges the bundles that sigstore-go is tested with, from the module
// cache: each by who signed it, and by somebody else.
func TestLibraryBundles(t *testing.T) {
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/sigstore/sigstore-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(strings.TrimSpace(string(module)), "pkg", "testing", "data")
	identity := func(issuer, san string) Signer {
		t.Helper()
		id, err := NewIdentity(issuer, "", san, "")
		if err != nil {
			t.Fatal(err)
		}
		return Signer{Name: "the signer", Identity: id}
	}
	key, err := ParseKey(readFile(t, filepath.Join(data, "public-keys", "public-key-validity.pem")))
	if err != nil {
		t.Fatal(err)
	}
	bounded := key
	bounded.From, bounded.Until = time.Unix(0, 0), time.Unix(1, 0)
	const (
		provenance = "sha512:46d4e2f74c4877316640000a6fdf8a8b59f1e0847667973e9859f774dd31b8f1e0937813b777fb66a2ac67d50540fe34640966eee9fc2ccca387082b4c85cd3c"
		demo       = "sha512:bbfd372fc9beeb777fe35d05bb10c0c70a9733d366a75fed7dd18866c7391de3ee7e88ba74dd47abf3e15c845e547fcf0e5c3da80854c751554224d3a6d4e55f"
		other      = "sha256:bc103b4a84971ef6459b294a2b98568a2bfb72cded09d4acd1e16366a401f95b"
		actions    = "https://token.actions.githubusercontent.com"
		workflow   = "https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main"
		github     = "https://github.com/login/oauth"
	)
	for _, tt := range []struct {
		name, bundle, root string
		asked              Question
		signer             Signer
		want               Code // code; empty: it verifies
	}{
		{"provenance of npm", "sigstore.js@2.0.0-provenance", "public-good", Question{Digest: provenance}, identity(actions, workflow), ""},
		{"of another package", "sigstore.js@2.0.0-provenance", "public-good", Question{Digest: demo}, identity(actions, workflow), CodeSubject},
		{"by another workflow", "sigstore.js@2.0.0-provenance", "public-good", Question{Digest: provenance}, identity(actions, workflow+"x"), CodeIdentity},
		{"by another root", "sigstore.js@2.0.0-provenance", "scaffolding", Question{Digest: provenance}, identity(actions, workflow), CodeLogUnknown},
		// sigstore-go takes it; its conformance suite wants it refused.
		{"a chain that brings its root", "dsse", "public-good", Question{Digest: demo}, identity(github, "brian@dehamer.com"), CodeRootInside},
		{"two signatures", "dsse-2sigs", "public-good", Question{Digest: demo}, identity(github, "brian@dehamer.com"), CodeNoSignature},
		{"a user name", "othername", "scaffolding", Question{Digest: other}, identity("http://oidc.local:8080", "foo!oidc.local"), ""},
		{"a user name is no address", "othername", "scaffolding", Question{Digest: other}, identity("http://oidc.local:8080", "foo@oidc.local"), CodeIdentity},
		{"a key", "public-key-validity", "public-key-validity", About([]byte("test content")), Signer{Name: "the key", Key: &key}, ""},
		{"a key out of its time", "public-key-validity", "public-key-validity", About([]byte("test content")), Signer{Name: "the key", Key: &bounded}, CodeKeyTime},
	} {
		t.Run(tt.name, func(t *testing.T) {
			trusted, err := ParseRoot(readFile(t, filepath.Join(data, "trusted-roots", tt.root+".json")))
			if err != nil {
				t.Fatal(err)
			}
			evidence := []Evidence{{Form: FormBundle, Bytes: readFile(t, filepath.Join(data, "bundles", tt.bundle+".sigstore.json"))}}
			d := verifier{}.decide(tt.asked, Terms{Signers: []Signer{tt.signer}, Root: trusted}, evidence, conformanceTime)
			if d.Code != tt.want || d.Verified != (tt.want == "") {
				t.Errorf("got %v %q (%s), want %q", d.Verified, d.Code, d.Reason, tt.want)
			}
		})
	}
}
