// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
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

// distribution is the registry of github.com/distribution/distribution, built once
// it is needed, which takes minutes the first time.
var distribution = sync.OnceValues(func() (string, error) {
	dir, err := programs()
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-o", dir+"/distribution", "github.com/distribution/distribution/v3/cmd/registry")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building distribution: %w\n%s", err, out)
	}
	return dir + "/distribution", nil
})

// startDistribution serves a storage root until stop is called.
func startDistribution(t *testing.T, root string) (host string, stop func()) {
	t.Helper()
	program, err := distribution()
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: info}\nstorage:\n  filesystem: {rootdirectory: %q}\n  delete: {enabled: true}\nhttp: {addr: '127.0.0.1:0'}\n", root)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, "serve", config)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	lines := bufio.NewScanner(io.TeeReader(stderr, &log))
	for host == "" && lines.Scan() {
		_, rest, _ := strings.Cut(lines.Text(), "listening on ")
		host, _, _ = strings.Cut(rest, `"`)
	}
	if host == "" {
		t.Fatalf("distribution does not listen: %s, %v", log.Bytes(), cmd.Wait())
	}
	var once sync.Once
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, stderr)
	}()
	stop = func() {
		once.Do(func() {
			_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
			<-drained
			_ = cmd.Wait()
		})
	}
	t.Cleanup(stop)
	return host, stop
}

// fill puts images, an index, an artifact with what refers to it, and the traces
// of tags that moved and were deleted into a registry.
func (c clients) fill(t *testing.T) {
	skopeo := installed(t, "skopeo")
	layer := writeLayer(t, filepath.Join(c.dir, "layer.tar"))
	small := filepath.Join(c.dir, "small.tar")
	if err := os.WriteFile(small, make([]byte, 1024), 0o600); err != nil { // an empty archive
		t.Fatal(err)
	}
	image := c.host + "/org/app:one"
	run(t, c.crane, "append", "--new_layer", layer, "--new_tag", image)
	run(t, c.crane, "append", "--base", image, "--new_layer", small, "--new_tag", c.host+"/org/app:two")
	run(t, c.crane, "tag", image, "moved")
	run(t, c.crane, "tag", c.host+"/org/app:two", "moved")
	run(t, c.crane, "tag", image, "1.2.3")
	run(t, c.crane, "index", "append", "-m", image, "-m", c.host+"/org/app:two", "-t", c.host+"/org/app/index:latest")
	layout := filepath.Join(c.dir, "layout")
	run(t, skopeo, "--insecure-policy", "copy", "--src-tls-verify=false", "docker://"+image, "oci:"+layout+":x")
	run(t, skopeo, "--insecure-policy", "copy", "--dest-tls-verify=false", "oci:"+layout+":x", "docker://"+c.host+"/skopeo/app:copy")
	run(t, skopeo, "--insecure-policy", "copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--format", "v2s2",
		"docker://"+image, "docker://"+c.host+"/skopeo/app:docker")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "chart.tgz"), []byte("chart"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	subject := c.host + "/charts/web:0.1.0"
	run(t, c.oras, "push", "--plain-http", "--artifact-type", "application/vnd.example.chart", subject, "chart.tgz:application/vnd.example.chart.v1")
	run(t, c.oras, "attach", "--plain-http", "--artifact-type", "application/vnd.example.signature", subject, "chart.tgz:text/plain")
	run(t, c.crane, "append", "--base", image, "--new_layer", small, "--new_tag", c.host+"/org/deleted:gone", "--set-base-image-annotations")
	run(t, c.crane, "delete", c.host+"/org/deleted@"+strings.TrimSpace(run(t, c.crane, "digest", c.host+"/org/deleted:gone")))
}

const dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"

// inventory reads all that a registry shows: tags, manifests from them down, blobs.
func inventory(t *testing.T, host string) map[string]string {
	t.Helper()
	all := map[string]string{}
	get := func(path string) answer {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, mediaType := range []string{manifestType, "application/vnd.oci.image.index.v1+json", dockerManifest, "application/vnd.docker.distribution.manifest.list.v2+json"} {
			r.Header.Add("Accept", mediaType) // distribution hides what one does not ask for
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer{resp.StatusCode, resp.Header, b}
	}
	var catalog struct{ Repositories []string }
	if err := json.Unmarshal(get("/v2/_catalog?n=1000").body, &catalog); err != nil {
		t.Fatal(err)
	}
	for _, repository := range catalog.Repositories {
		var list struct{ Tags []string }
		if err := json.Unmarshal(get("/v2/"+repository+"/tags/list").body, &list); err != nil {
			t.Fatal(err)
		}
		for _, tag := range list.Tags {
			a := get("/v2/" + repository + "/manifests/" + tag)
			if a.status != http.StatusOK {
				continue // the registry keeps tags of manifests that it deleted
			}
			d := sum(a.body)
			all[repository+":"+tag] = d
			descend(t, get, all, repository, d)
		}
	}
	return all
}

// descend reads a manifest and all below it.
func descend(t *testing.T, get func(string) answer, all map[string]string, repository, digest string) {
	t.Helper()
	name := repository + "@" + digest
	if all[name] != "" {
		return
	}
	a := get("/v2/" + repository + "/manifests/" + digest)
	if a.status != http.StatusOK || sum(a.body) != digest {
		t.Errorf("manifest %s: %d, %s", name, a.status, sum(a.body))
	}
	all[name] = a.header.Get("Content-Type")
	var m struct {
		Config            *struct{ Digest string }
		Layers, Manifests []struct{ Digest string }
	}
	if err := json.Unmarshal(a.body, &m); err != nil {
		t.Fatal(err)
	}
	for _, child := range m.Manifests {
		descend(t, get, all, repository, child.Digest)
	}
	if m.Config != nil {
		m.Layers = append(m.Layers, struct{ Digest string }{m.Config.Digest})
	}
	for _, b := range m.Layers {
		a := get("/v2/" + repository + "/blobs/" + b.Digest)
		all[repository+" "+b.Digest] = sum(a.body)
	}
}

// TestImport fills a real registry by real clients, takes its storage while a server
// runs and while the import is killed again and again, and compares all of it.
// Then it writes everything out, and lets others read it.
func TestImport(t *testing.T) {
	installed(t, "skopeo")
	root := t.TempDir()
	host, stop := startDistribution(t, root)
	c := newClients(t, host, false)
	c.fill(t)
	want := inventory(t, host)
	stop()
	if len(want) < 20 {
		t.Fatalf("the registry shows little: %v", slices.Sorted(maps.Keys(want)))
	}
	for _, engine := range []struct {
		name     string
		database func(t *testing.T) string
	}{
		{"SQLite", func(*testing.T) string { return "" }},
		{"PostgreSQL", func(t *testing.T) string { return pgtest.Start(t) }},
	} {
		t.Run(engine.name, func(t *testing.T) {
			data, database := t.TempDir(), engine.database(t)
			server := serve(t, data, database)
			importKilled(t, data, database, root)
			checkInventory(t, want, server.host)
			checkTimes(t, root, server.host)
			t.Run("export", func(t *testing.T) { c.checkExport(t, data, database, server.host, want) })
		})
	}
}

// importKilled runs an import that is killed at random, until one ends.
func importKilled(t *testing.T, data, database, root string) {
	t.Helper()
	random := rand.New(rand.NewPCG(3, 3))
	killed := 0
	for delay := 20; ; delay += random.IntN(60) {
		cmd := exec.CommandContext(t.Context(), program(t, "dossier"), "registry", "import", root, "--data", data)
		cmd.Env = append(os.Environ(), "DOSSIER_DATABASE="+database)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(delay)*time.Millisecond, func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		if !timer.Stop() && err != nil {
			killed++
			continue
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, out.Bytes())
		}
		t.Logf("killed %d times, then: %s", killed, out.Bytes())
		break
	}
	if killed < 3 {
		t.Errorf("it was killed %d times only: the test does too little", killed)
	}
	if out := run(t, "env", "DOSSIER_DATABASE="+database, program(t, "dossier"), "registry", "import", root, "--data", data); !strings.Contains(out, " 0 manifests, 0 blobs (0 B) and 0 tags are new") {
		t.Errorf("once more: %s", out)
	}
}

// checkInventory compares what a registry shows with what another showed.
func checkInventory(t *testing.T, want map[string]string, host string) {
	t.Helper()
	got := inventory(t, host)
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			t.Errorf("%s is %q, was %q", name, got[name], want[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if want[name] == "" {
			t.Errorf("%s was not there", name)
		}
	}
}

// checkTimes compares since when tags point where they do with the times of links.
func checkTimes(t *testing.T, root, host string) {
	t.Helper()
	type interval struct {
		Tag      string
		From, To time.Time
	}
	tags := filepath.Join(root, "docker/registry/v2/repositories/org/app/_manifests/tags")
	a, err := do(t.Context(), http.MethodGet, "http://"+host+"/api/v1/history?ref=registry.example/org/app/", nil, "")
	if err != nil {
		t.Fatal(err)
	}
	var history struct{ Tags []interval }
	if err := json.Unmarshal(a.body, &history); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	moved := 0
	for _, i := range history.Tags {
		if !i.To.IsZero() {
			moved++
			continue
		}
		info, err := os.Stat(filepath.Join(tags, i.Tag, "current/link"))
		if err != nil || !info.ModTime().Truncate(time.Microsecond).Equal(i.From) {
			t.Errorf("%s points there since %v, the link is of %v, %v", i.Tag, i.From, info.ModTime(), err)
		}
	}
	if moved != 1 || len(history.Tags) != 5 {
		t.Errorf("%d intervals, %d of them over: %s", len(history.Tags), moved, a.body)
	}
}

// checkExport writes all repositories out and has others read the layouts.
func (c clients) checkExport(t *testing.T, data, database, host string, want map[string]string) {
	dir := t.TempDir()
	skopeoReads, craneReads := 0, 0
	dossier := []string{"DOSSIER_DATABASE=" + database, program(t, "dossier"), "registry"}
	run(t, "env", append(dossier, "export", dir, "--data", data)...)
	for name, digest := range want {
		repository, tag, ok := strings.Cut(name, ":")
		if !ok || strings.ContainsAny(repository, "@ ") {
			continue
		}
		switch {
		case strings.HasPrefix(tag, "sha256-") || strings.HasPrefix(repository, "charts/"): // no image to run
		case want[repository+"@"+digest] == manifestType:
			skopeoReads++
			out := filepath.Join(t.TempDir(), "dir")
			run(t, installed(t, "skopeo"), "--insecure-policy", "copy", "--preserve-digests", "oci:"+filepath.Join(dir, repository)+":"+tag, "dir:"+out)
			manifest, err := os.ReadFile(filepath.Join(out, "manifest.json"))
			if err != nil || sum(manifest) != digest {
				t.Errorf("skopeo reads %s as %s, %v; want %s", name, sum(manifest), err, digest)
			}
		default: // Docker's form, which skopeo does not look for in a layout, or an index
			craneReads++
			one, to := t.TempDir(), host+"/crane/"+repository+":"+tag
			run(t, "env", append(dossier, "export", one, name, "--data", data)...)
			flags := []string{"push", one, to}
			if want[repository+"@"+digest] != dockerManifest {
				flags = append(flags, "--index")
			}
			run(t, c.crane, flags...)
			if got := strings.TrimSpace(run(t, c.crane, "digest", to)); got != digest && len(flags) == 3 {
				t.Errorf("crane reads %s as %s, want %s", name, got, digest)
			}
		}
	}
	if skopeoReads == 0 || craneReads < 3 {
		t.Errorf("skopeo read %d, crane %d images: the test does too little", skopeoReads, craneReads)
	}
	charts := t.TempDir()
	run(t, "env", append(dossier, "export", charts, "charts/web", "--data", data)...)
	if got := strings.TrimSpace(run(t, c.oras, "resolve", "--oci-layout", charts+":0.1.0")); got != want["charts/web:0.1.0"] {
		t.Errorf("oras reads %s, want %s", got, want["charts/web:0.1.0"])
	}
}
