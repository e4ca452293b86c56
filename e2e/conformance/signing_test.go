// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"strings"
	"testing"
)

// TestSigning has cosign verify what we sign and attest, and the other way round: with
// bundles as cosign 3 makes them, with the tags of before, and with the keys of either.
func TestSigning(t *testing.T) {
	cosign := peer(t, "cosign3", "github.com/sigstore/cosign/v3/cmd/cosign")
	old := peer(t, "cosign", "github.com/sigstore/cosign/v2/cmd/cosign")
	ours := program(t, "dossier")
	c := newClients(t, storages[0].start(t), false)
	t.Chdir(t.TempDir())
	data := t.TempDir()
	dossier := func(want string, args ...string) {
		t.Helper()
		out, err := c.try(t, ours, append(args, "--data", data)...)
		said := out
		if err != nil {
			said = err.Error()
		}
		if !strings.Contains(said, want) || strings.HasPrefix(want, "not ") == (err == nil) {
			t.Errorf("dossier %s: %v: %s\nwant %s", strings.Join(args, " "), err, said, want)
		}
	}
	push := func(tag string) string {
		write(t, "content", tag)
		c.run(t, "tar", "-cf", "layer.tar", "content")
		c.run(t, c.crane, "append", "-f", "layer.tar", "-t", c.host+"/app:"+tag)
		return c.host + "/app@" + c.digestOf(t, c.host+"/app:"+tag)
	}
	// cosign's flags for a registry without TLS and a log that there is not.
	const plain, noLog = "--allow-http-registry", "--insecure-ignore-tlog"
	sign := func(program, command, key string, more ...string) {
		t.Helper()
		args := []string{command, "--key", key, "--tlog-upload=false", "--yes", plain}
		if program == cosign {
			args = append(args, "--use-signing-config=false")
		}
		c.run(t, program, append(args, more...)...)
	}
	dossier("ours.key", "keygen", "ours")
	c.run(t, cosign, "generate-key-pair")
	write(t, "predicate.json", `{"buildDefinition": {"buildType": "https://build.example", "externalParameters": {}}, "runDetails": {"builder": {"id": "https://build.example/1"}}}`)
	const slsa = "https://slsa.dev/provenance/v1"

	ref := push("ours")
	dossier("not verified (no-evidence)", "verify", "--key", "ours.pub", ref)
	dossier("signed", "sign", "--key", "ours.key", ref)
	dossier("signed", "attest", "--key", "ours.key", "--type", slsa, "--predicate", "predicate.json", ref)
	c.run(t, cosign, "verify", "--key", "ours.pub", noLog, plain, ref)
	c.run(t, cosign, "verify-attestation", "--key", "ours.pub", noLog, plain, "--type", slsa, ref)
	if _, err := c.try(t, cosign, "verify", "--key", "cosign.pub", noLog, plain, ref); err == nil {
		t.Error("cosign verifies with another key")
	}
	dossier("verified: ", "verify", "--key", "ours.pub", ref)

	ref = push("cosign3")
	sign(cosign, "sign", "cosign.key", ref)
	sign(cosign, "attest", "cosign.key", "--type", "slsaprovenance1", "--predicate", "predicate.json", ref)
	dossier("verified: ", "verify", "--key", "cosign.pub", ref)
	dossier("verified: ", "verify", "--key", "cosign.pub", "--type", slsa, ref)
	dossier("not verified (predicate-mismatch)", "verify", "--key", "cosign.pub", "--type", "https://spdx.dev/Document", ref)
	dossier("not verified (signature-invalid)", "verify", "--key", "ours.pub", ref)

	ref = push("cosign2")
	sign(old, "sign", "cosign.key", ref)
	dossier("verified: ", "verify", "--key", "cosign.pub", ref)
	dossier("not verified (signature-invalid)", "verify", "--key", "ours.pub", ref)
	sign(old, "attest", "cosign.key", "--type", slsa, "--predicate", "predicate.json", ref)
	dossier("verified: ", "verify", "--key", "cosign.pub", "--type", slsa, ref)

	ref = push("keys")
	sign(cosign, "sign", "ours.key", ref)
	dossier("verified: ", "verify", "--key", "ours.pub", ref)
	dossier("signed", "sign", "--key", "cosign.key", ref)
	c.run(t, cosign, "verify", "--key", "cosign.pub", noLog, plain, ref)

	// Files.
	dossier("", "sign", "--key", "ours.key", "--bundle", "ours.json", "predicate.json")
	c.run(t, cosign, "verify-blob", "--key", "ours.pub", noLog, "--bundle", "ours.json", "predicate.json")
	c.run(t, cosign, "sign-blob", "--key", "cosign.key", "--use-signing-config=false", "--tlog-upload=false", "--yes", "--bundle", "cosign.json", "predicate.json")
	dossier("verified: ", "verify", "--bundle", "cosign.json", "--key", "cosign.pub", "predicate.json")
	dossier("not verified (artifact-mismatch)", "verify", "--bundle", "cosign.json", "--key", "cosign.pub", "content")
}
