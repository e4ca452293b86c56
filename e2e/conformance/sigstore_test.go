// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestPrivateSigstore verifies what cosign signs with a transparency log and an authority
// for timestamps that are not those of the public: Rekor 2 and timestamp-authority run
// here, and a trusted root names them. With a root that names others, nothing verifies.
func TestPrivateSigstore(t *testing.T) {
	cosign := peer(t, "cosign3", "github.com/sigstore/cosign/v3/cmd/cosign")
	rekorServer := peer(t, "sigstore", "github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix")
	timestampServer := peer(t, "sigstore", "./authority")
	ours := program(t, "dossier")
	c := newClients(t, storages[0].start(t), false)
	t.Chdir(t.TempDir())
	rekor := startRekor(t, rekorServer, "rekor")
	stamps := startAuthority(t, timestampServer, "chain.pem")

	const since = "start-time=2024-01-01T00:00:00Z"
	c.run(t, cosign, "signing-config", "create", "--out", "signing.json",
		"--rekor", "url="+rekor+",api-version=2,operator=test,"+since, "--rekor-config", "ANY",
		"--tsa", "url="+stamps+",api-version=1,operator=test,"+since, "--tsa-config", "ANY")
	root := func(name, key, chain string) {
		c.run(t, cosign, "trusted-root", "create", "--out", name,
			"--rekor", "url="+rekor+",public-key="+key+","+since, "--tsa", "url="+stamps+",certificate-chain="+chain)
	}
	root("root.json", "rekor.pub", "chain.pem")
	writeKey(t, "other")
	root("other-log.json", "other.pub", "chain.pem")
	startAuthority(t, timestampServer, "other.pem")
	root("other-authority.json", "rekor.pub", "other.pem")

	c.run(t, cosign, "generate-key-pair")
	write(t, "predicate.json", `{"buildDefinition": {"buildType": "https://build.example", "externalParameters": {}}, "runDetails": {"builder": {"id": "https://build.example/1"}}}`)
	const slsa = "https://slsa.dev/provenance/v1"
	write(t, "content", "signed in public")
	c.run(t, "tar", "-cf", "layer.tar", "content")
	c.run(t, c.crane, "append", "-f", "layer.tar", "-t", c.host+"/app:private")
	ref := c.host + "/app@" + c.digestOf(t, c.host+"/app:private")
	signing := []string{"--key", "cosign.key", "--signing-config", "signing.json", "--trusted-root", "root.json", "--yes"}
	c.run(t, cosign, append([]string{"sign", "--allow-http-registry", ref}, signing...)...)
	c.run(t, cosign, append([]string{"attest", "--allow-http-registry", "--type", "slsaprovenance1", "--predicate", "predicate.json", ref}, signing...)...)
	c.run(t, cosign, append([]string{"sign-blob", "--bundle", "bundle.json", "content"}, signing...)...)

	data := t.TempDir()
	bundle := []string{"--bundle", "bundle.json", "content"}
	image := []string{"--data", data, ref}
	for _, tt := range []struct {
		name, root, want string
		args             []string
	}{
		{"a file", "root.json", "verified: ", bundle},
		{"an image", "root.json", "verified: ", image},
		{"an attestation", "root.json", "verified: ", append([]string{"--type", slsa}, image...)},
		{"a file, another log", "other-log.json", "not verified (", bundle},
		{"an image, another log", "other-log.json", "not verified (", image},
		{"a file, another authority", "other-authority.json", "not verified (", bundle},
		{"an image, another authority", "other-authority.json", "not verified (", image},
	} {
		out, err := c.try(t, ours, append([]string{"verify", "--key", "cosign.pub", "--trusted-root", tt.root}, tt.args...)...)
		if err != nil {
			out = err.Error()
		}
		if !strings.Contains(out, tt.want) || strings.HasPrefix(tt.want, "not ") == (err == nil) {
			t.Errorf("%s: %v: %s\nwant %s", tt.name, err, out, tt.want)
		}
	}
}

// startRekor starts a transparency log that signs with a new key, NAME.key and NAME.pub,
// and returns its address.
func startRekor(t *testing.T, program, name string) string {
	t.Helper()
	writeKey(t, name)
	dir := filepath.Join(t.TempDir(), "log")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	// A bundle's checkpoint is checked against the host of the log's address.
	runServer(t, program, "serve", "--hostname", "127.0.0.1",
		"--storage-dir", dir, "--signer-filepath", name+".key", "--http-port", port, "--grpc-port", freePort(t),
		"--http-metrics-port", freePort(t), "--checkpoint-interval", "1s", "--batch-max-age", "100ms")
	address := "http://127.0.0.1:" + port
	ready(t, address+"/healthz")
	return address
}

// startAuthority starts an authority for timestamps with a key of its own, writes its
// certificates to a file, and returns where it is asked.
func startAuthority(t *testing.T, program, chain string) string {
	t.Helper()
	port := freePort(t)
	runServer(t, program, "-port", port)
	address := "http://127.0.0.1:" + port + "/api/v1/timestamp"
	write(t, chain, string(ready(t, address+"/certchain")))
	return address
}

// runServer runs a server until the end of the test.
func runServer(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGKILL) // nothing of it is wanted again
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(name), said.Bytes())
		}
	})
}

// ready waits until a server answers, and returns what it says.
func ready(t *testing.T, url string) []byte {
	t.Helper()
	var last error
	for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get(url)
		if err != nil {
			last = err
			continue
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err == nil && resp.StatusCode == http.StatusOK {
			return b
		}
		last = fmt.Errorf("%s: %s, %w", resp.Status, b, err)
	}
	t.Fatalf("%s is not ready: %v", url, last)
	return nil
}

// freePort returns a port that nobody has at this moment.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return port
}

// writeKey makes a key: NAME.key and NAME.pub.
func writeKey(t *testing.T, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	write(t, name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	write(t, name+".pub", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})))
}
