// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"dossier.dev/dossier/internal/store/storetest/pgtest"
)

// proxySetups are the ways in which a registry that pulls through runs.
var proxySetups = []struct {
	name  string
	start func(t *testing.T, flags ...string) string // returns host:port
}{
	{"SQLite", func(t *testing.T, flags ...string) string {
		return serveProxy(t, t.TempDir(), "", flags...).host
	}},
	{"PostgreSQL with 3 replicas", func(t *testing.T, flags ...string) string {
		database, data := pgtest.Start(t), t.TempDir()
		var replicas []string
		for range 3 {
			replicas = append(replicas, serveProxy(t, data, database, flags...).host)
		}
		return roundRobin(t, replicas)
	}},
}

// databaseAt is the environment in which a server uses a database.
func databaseAt(url string) []string { return []string{"DOSSIER_DATABASE=" + url} }

func serveProxy(t *testing.T, data, database string, flags ...string) *process {
	t.Helper()
	p, err := launch(t.Context(), []string{program(t, "dossier")}, databaseAt(database), append(flags, "--data", data, "--registry-name", "proxy.example")...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.end(syscall.SIGTERM) })
	return p
}

// TestProxyClients pulls through a registry by programs that people use, with
// another one as upstream, and goes on when that is gone.
func TestProxyClients(t *testing.T) {
	skopeo, err := exec.LookPath("skopeo")
	if err != nil {
		if os.Getenv("DOSSIER_REQUIRE_PEERS") != "" {
			t.Fatal(err)
		}
		t.Skip("SKIPPED: skopeo is missing (Debian: skopeo)")
	}
	crane := program(t, "crane")
	for _, setup := range proxySetups {
		t.Run(setup.name, func(t *testing.T) {
			up, dir := serve(t, t.TempDir(), ""), t.TempDir()
			image := up.host + "/org/app:one"
			run(t, crane, "append", "--new_layer", writeLayer(t, filepath.Join(dir, "layer.tar")), "--new_tag", image)
			run(t, crane, "index", "append", "-m", image, "-t", up.host+"/org/index:one")
			digest := strings.TrimSpace(run(t, crane, "digest", image))
			run(t, skopeo, "--insecure-policy", "copy", "--src-tls-verify=false", "docker://"+image, "dir:"+dir+"/origin")

			host := setup.start(t, "--upstream", "up.example=http://"+up.host)
			mirror := host + "/up.example/org/app"
			if got := strings.TrimSpace(run(t, crane, "digest", mirror+":one")); got != digest {
				t.Errorf("it is %s, want %s", got, digest)
			}
			run(t, crane, "validate", "--remote", host+"/up.example/org/index:one")
			run(t, skopeo, "--insecure-policy", "copy", "--src-tls-verify=false", "docker://"+mirror+":one", "dir:"+dir+"/pulled")
			sameFiles(t, filepath.Join(dir, "origin"), filepath.Join(dir, "pulled"))
			if got := strings.Fields(run(t, crane, "ls", mirror)); !slices.Equal(got, []string{"one"}) {
				t.Errorf("tags: %q", got)
			}
			run(t, crane, "copy", mirror+":one", host+"/own/app:copied")
			if _, err := try(t, crane, "tag", mirror+":one", "two"); err == nil {
				t.Error("a tag was pushed into a mirror")
			}

			up.end(syscall.SIGTERM)
			run(t, crane, "validate", "--remote", mirror+"@"+digest)
			run(t, skopeo, "--insecure-policy", "copy", "--src-tls-verify=false", "docker://"+mirror+":one", "dir:"+dir+"/again")
			sameFiles(t, filepath.Join(dir, "origin"), filepath.Join(dir, "again"))
		})
	}
}

// TestProxyContainerd pulls through as a node does: containerd is told to ask the
// mirror, by the host of the reference (ns).
func TestProxyContainerd(t *testing.T) {
	containerd, err := exec.LookPath("containerd")
	ctr, ctrErr := exec.LookPath("ctr")
	if err := errors.Join(err, ctrErr); err != nil {
		if os.Getenv("DOSSIER_REQUIRE_PEERS") != "" {
			t.Fatal(err)
		}
		t.Skip("SKIPPED: containerd is missing (Debian: containerd)")
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: containerd wants to be root")
	}
	crane := program(t, "crane")
	up, dir := serve(t, t.TempDir(), ""), t.TempDir()
	image := up.host + "/library/app:one"
	run(t, crane, "append", "--new_layer", writeLayer(t, filepath.Join(dir, "layer.tar")), "--new_tag", image)
	digest := strings.TrimSpace(run(t, crane, "digest", image))
	proxy := serveProxy(t, t.TempDir(), "", "--upstream", "docker.io=http://"+up.host)

	hosts := filepath.Join(dir, "hosts", "docker.io")
	if err := os.MkdirAll(hosts, 0o755); err != nil {
		t.Fatal(err)
	}
	toml := fmt.Sprintf("server = \"https://docker.invalid\"\n\n[host.\"http://%s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", proxy.host)
	if err := os.WriteFile(filepath.Join(hosts, "hosts.toml"), []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	socket := startContainerd(t, containerd)
	run(t, ctr, "--address", socket, "content", "fetch", "--hosts-dir", filepath.Dir(hosts), "docker.io/library/app:one")
	list := run(t, ctr, "--address", socket, "images", "ls", "-q")
	if !strings.Contains(list, "docker.io/library/app:one") {
		t.Errorf("containerd has %q", list)
	}
	manifest := run(t, ctr, "--address", socket, "content", "get", digest)
	for _, d := range append(layersOf(t, manifest), digest) {
		if got := sum([]byte(run(t, ctr, "--address", socket, "content", "get", d))); got != d {
			t.Errorf("%s came as %s", d, got)
		}
	}
	// It is known by the name that containerd asked for.
	a, err := do(t.Context(), http.MethodGet, "http://"+proxy.host+"/api/v1/history?ref=docker.io/library/app:one", nil, "")
	if err != nil || a.status != http.StatusOK || !strings.Contains(string(a.body), digest) {
		t.Errorf("history: %d, %v: %s", a.status, err, a.body)
	}
}

// TestProxyKilled kills a registry at random while clients pull through it.
// Whatever it serves afterwards, without its upstream, is right to the last
// byte; and with its upstream everything can be pulled.
func TestProxyKilled(t *testing.T) {
	for _, engine := range []struct {
		name     string
		database func(t *testing.T) string
	}{
		{"SQLite", func(*testing.T) string { return "" }},
		{"PostgreSQL", func(t *testing.T) string { return pgtest.Start(t) }},
	} {
		t.Run(engine.name, func(t *testing.T) {
			const rounds, images = 8, 60
			up, random := serve(t, t.TempDir(), ""), rand.New(rand.NewPCG(11, 11))
			var all []pushed
			for i := range images {
				push := newPush(random, fmt.Sprint("t", i))
				if err := push.send(t.Context(), up.host, false); err != nil {
					t.Fatal(err)
				}
				all = append(all, push)
			}
			data, database := t.TempDir(), engine.database(t)
			flags := []string{"--data", data, "--registry-name", "proxy.example", "--upstream", "up.example=http://" + up.host}
			for range rounds {
				p, err := launch(t.Context(), []string{program(t, "dossier")}, databaseAt(database), flags...)
				if err != nil {
					t.Fatal(err)
				}
				pullUntilKilled(t, p, all, random)
			}
			p, err := launch(t.Context(), []string{program(t, "dossier")}, databaseAt(database), append(flags, "--offline")...)
			if err != nil {
				t.Fatal(err)
			}
			there := 0
			for _, push := range all {
				there += push.checkKept(t, p.host)
			}
			t.Logf("%d parts of %d images had been kept", there, images)
			p.end(syscall.SIGTERM)
			if there == 0 {
				t.Error("nothing was kept: the test does too little")
			}
			p, err = launch(t.Context(), []string{program(t, "dossier")}, databaseAt(database), flags...)
			if err != nil {
				t.Fatal(err)
			}
			defer p.end(syscall.SIGTERM)
			for _, push := range all {
				push.pull(t, p.host)
			}
			checkNoRemains(t, data)
		})
	}
}

const mirrored = "/v2/up.example/" + repository

// parts are the requests that pull an image, with what they should give.
func (p pushed) parts() map[string][]byte {
	return map[string][]byte{
		"/manifests/" + p.tag: p.manifest, "/manifests/" + sum(p.manifest): p.manifest,
		"/blobs/" + sum(p.layer): p.layer, "/blobs/" + sum([]byte("{}")): []byte("{}"),
	}
}

// pullUntilKilled pulls until the process is killed, which is soon.
func pullUntilKilled(t *testing.T, p *process, all []pushed, random *rand.Rand) {
	t.Helper()
	var group sync.WaitGroup
	for range pushers {
		order := random.Perm(len(all))
		group.Go(func() {
			for _, i := range order {
				for path, want := range all[i].parts() {
					a, err := do(t.Context(), http.MethodGet, "http://"+p.host+mirrored+path, nil, "")
					if err != nil {
						return // it was killed
					}
					if a.status == http.StatusOK && !bytes.Equal(a.body, want) {
						t.Errorf("%s: %d bytes, want %d", path, len(a.body), len(want))
					}
				}
			}
		})
	}
	time.Sleep(time.Duration(5+random.IntN(150)) * time.Millisecond)
	p.end(syscall.SIGKILL)
	group.Wait()
}

// checkKept pulls what is kept, and returns how much that is.
func (p pushed) checkKept(t *testing.T, host string) int {
	t.Helper()
	n := 0
	for path, want := range p.parts() {
		a, err := do(t.Context(), http.MethodGet, "http://"+host+mirrored+path, nil, "")
		switch {
		case err != nil:
			t.Error(err)
		case a.status == http.StatusOK && bytes.Equal(a.body, want):
			n++
		case a.status != http.StatusNotFound:
			t.Errorf("%s: %d, %d bytes, want %d or none", path, a.status, len(a.body), len(want))
		}
	}
	return n
}

// pull pulls everything.
func (p pushed) pull(t *testing.T, host string) {
	t.Helper()
	for path, want := range p.parts() {
		a, err := do(t.Context(), http.MethodGet, "http://"+host+mirrored+path, nil, "")
		if err != nil || a.status != http.StatusOK || !bytes.Equal(a.body, want) {
			t.Errorf("%s: %v, %d, %d bytes; want %d", path, err, a.status, len(a.body), len(want))
		}
	}
}

// checkNoRemains checks that no spool of a download has a name.
func checkNoRemains(t *testing.T, data string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(data, "dossier-download-*"))
	if err != nil || len(files) > 0 {
		t.Errorf("left behind: %q, %v", files, err)
	}
}
