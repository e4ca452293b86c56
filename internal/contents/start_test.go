// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"dossier.dev/dossier"
)

// smallProgram builds a small Go program, once for all tests.
var smallProgram = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "dossier-contents-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	for name, text := range map[string]string{
		"go.mod":               "module example.com/shop/v2\n\ngo 1.26\n",
		"cmd/server/server.go": "package main\n\nfunc main() {}\n",
	} {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	cmd := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", "out", "./cmd/server")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=", "GOOS=linux", "GOARCH=amd64")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", &exec.Error{Name: string(text), Err: err}
	}
	b, err := os.ReadFile(filepath.Join(dir, "out"))
	return string(b), err
})

func shopProgram(t testing.TB) string {
	t.Helper()
	b, err := smallProgram()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestProgramThatIsStarted(t *testing.T) {
	body := shopProgram(t)
	prog := func(name string) entry { return exe(name, body) }
	text := func(name string) entry { return exe(name, "#!/bin/sh\n") }
	link := func(name, target string) entry {
		e := hardlink(name, target)
		e.Mode = 0o755
		return e
	}
	opq := func(dir string) entry { return file(filepath.Join(dir, opaque), "") }
	for _, tt := range []struct {
		name   string
		paths  string
		layers [][]entry // base first
		want   string    // path; empty: none
		layer  int
	}{
		{"there", "/app", [][]entry{{prog("./app")}}, "/app", 0},
		{"in both layers", "/app", [][]entry{{prog("app")}, {prog("app")}}, "/app", 1},
		{"lower layer", "/app", [][]entry{{prog("app")}, {text("other")}}, "/app", 0},
		{"deleted", "/app", [][]entry{{prog("app")}, {gone("app")}}, "", 0},
		{"deleted and made anew in one layer", "/app", [][]entry{{text("app")}, {gone("app"), prog("app")}}, "/app", 1},
		{"replaced by a script", "/app", [][]entry{{prog("app")}, {text("app")}}, "", 0},
		{"directory deleted", "/x/y/app", [][]entry{{dir("x"), dir("x/y"), prog("x/y/app")}, {gone("x")}}, "", 0},
		{"opaque directory", "/x/app", [][]entry{{dir("x"), prog("x/app")}, {dir("x"), opq("x")}}, "", 0},
		{"opaque root", "/app", [][]entry{{prog("app")}, {opq("")}}, "", 0},
		{"directory became a file", "/x/app", [][]entry{{dir("x"), prog("x/app")}, {text("x")}}, "", 0},
		{"first of several", "/a/app /b/app /c/app", [][]entry{{prog("b/app"), prog("c/app")}}, "/b/app", 0},
		{"another program comes first", "/a/app /b/app", [][]entry{{text("a/app"), prog("b/app")}}, "", 0},
		{"what comes first is deleted", "/a/app /b/app", [][]entry{{text("a/app"), prog("b/app")}, {gone("a/app")}}, "/b/app", 0},
		{"what comes first is in a deleted directory", "/a/app /b/app", [][]entry{{text("a/app"), prog("b/app")}, {gone("a")}, {dir("a")}}, "/b/app", 0},
		{"symbolic link", "/app", [][]entry{{prog("opt/real")}, {symlink("app", "opt/real")}}, "/opt/real", 0},
		{"symbolic link upwards", "/a/b/app", [][]entry{{symlink("a/b/app", "../../../../real"), prog("real")}}, "/real", 0},
		{"linked directory of a lower layer", "/bin/app", [][]entry{{symlink("bin", "usr/bin")}, {prog("usr/bin/app")}}, "/usr/bin/app", 1},
		{"written through a linked directory", "/bin/app", [][]entry{{symlink("bin", "usr/bin")}, {prog("bin/app")}}, "/usr/bin/app", 1},
		{"script through a linked directory", "/usr/bin/app /opt/app", [][]entry{{symlink("bin", "usr/bin"), prog("opt/app")}, {text("bin/app")}}, "", 0},
		{"link to a layer above it", "/app", [][]entry{{symlink("app", "/real")}, {prog("real")}}, "/real", 1},
		{"hard link", "/app", [][]entry{{prog("real"), link("app", "real")}}, "/app", 0},
		{"link to itself", "/app", [][]entry{{symlink("app", "app")}}, "", 0},
		{"hard link to itself", "/app", [][]entry{{link("app", "app")}}, "", 0},
		{"links in a circle", "/app", [][]entry{{symlink("app", "b/c"), symlink("b", "app")}}, "", 0},
		{"directory", "/app", [][]entry{{dir("app")}}, "", 0},
		{"not there", "/app", [][]entry{{prog("other")}}, "", 0},
		{"nothing is started", "", [][]entry{{prog("app")}}, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var layers []LayerResult
			for _, entries := range tt.layers {
				layers = append(layers, readLayer(t, Options{}, entries...))
			}
			got := Lay(layers).Program(strings.Fields(tt.paths))
			switch {
			case got == nil && tt.want == "":
			case got == nil:
				t.Errorf("found nothing, want %s", tt.want)
			case got.Path != tt.want || got.Layer != layers[tt.layer].Digest:
				t.Errorf("got %s of %s, want %s of %s", got.Path, got.Layer, tt.want, layers[tt.layer].Digest)
			}
		})
	}
}

func TestGoBuildOfProgram(t *testing.T) {
	r := readLayer(t, Options{}, exe("app", shopProgram(t)))
	got := Lay([]LayerResult{r}).Program([]string{"/app"})
	if got == nil || !strings.HasPrefix(got.GoVersion, "go1.") || got.Settings["GOARCH"] != "amd64" || got.Settings["-trimpath"] != "true" {
		t.Fatalf("got %+v", got)
	}
	want := &dossier.GoBuild{Path: "/app", Layer: r.Digest, Main: "example.com/shop/v2/cmd/server", Module: "example.com/shop/v2", Version: "(devel)"}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(dossier.GoBuild{}, "GoVersion", "Settings")); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestMainPackages: what an image is there for, as far as its command tells.
func TestMainPackages(t *testing.T) {
	nginx := strings.ReplaceAll(dpkgBash, "bash", "nginx")
	for _, tt := range []struct {
		name    string
		command Command
		entries []entry
		want    string
	}{
		{"Go program", Command{Programs: []string{"/app"}}, []entry{exe("app", shopProgram(t))}, "example.com/shop/v2"},
		{"jar", Command{Words: []string{"java", "-jar", "app.jar"}, Dir: "/srv"},
			[]entry{file("srv/app.jar", jar(t, "org.example", "app", "1", "lib/dep.jar", jar(t, "org.example", "dep", "2"))), file("other.jar", jar(t, "g", "other", "1"))}, "org.example:app"},
		{"shaded jar", Command{Words: []string{"java", "-jar", "/app-1.0.jar"}},
			[]entry{file("app-1.0.jar", jar(t, "org.example", "app", "1.0", "META-INF/maven/g/lib/pom.properties", "groupId=g\nartifactId=lib\nversion=3\n"))}, "org.example:app"},
		{"script", Command{Words: []string{"node", "dist/server.js"}, Dir: "/app"},
			[]entry{file("app/package.json", npm("shop", "1.2.3")), file("app/node_modules/dep/package.json", npm("dep", "1.0.0")), file("app/dist/server.js", "")}, "shop"},
		{"npm", Command{Words: []string{"docker-entrypoint.sh", "npm", "start"}, Dir: "/app"}, []entry{file("app/package.json", npm("shop", "1.2.3"))}, "shop"},
		{"package of the distribution", Command{Words: []string{"/docker-entrypoint.sh", "/usr/sbin/nginx", "-g"}},
			[]entry{file("etc/os-release", debian12), file(status, nginx+dpkgBash)}, "nginx"},
		{"built beside the distribution", Command{Words: []string{"nginx"}},
			[]entry{file("etc/os-release", debian12), file(status, nginx), exe("usr/local/bin/nginx", "#!")}, ""},
		{"a shell says nothing", Command{Words: []string{"bash"}}, []entry{file("etc/os-release", debian12), file(status, dpkgBash)}, ""},
		{"nothing", Command{}, []entry{file(status, dpkgBash)}, ""},
	} {
		summary, _ := Lay([]LayerResult{readLayer(t, Options{}, tt.entries...)}).Summary(make([]dossier.Digest, 1), tt.command)
		var got []string
		for _, m := range summary.Main {
			got = append(got, m.Name)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: got %v, want %q", tt.name, got, tt.want)
		}
	}
}

func TestSummary(t *testing.T) {
	base := readLayer(t, Options{}, file("etc/os-release", debian12), file(status, dpkgBash+dpkgZlib))
	top := readLayer(t, Options{}, file(status, dpkgNewer+dpkgZlib), file("app/package.json", npm("a", "1.0.0")), hardlink("lost", "nowhere"), file("usr/lib/python3/requests-1.egg-info", "x"))
	facts := []dossier.Digest{dossier.FromBytes([]byte("1")), ""}
	got, sets := Lay([]LayerResult{base, top}).Summary(facts, Command{})
	want := dossier.Contents{
		Version:      Version,
		Distribution: &dossier.Distribution{Path: "etc/os-release", ID: "debian", VersionID: "12", Codename: "bookworm", Name: "Debian GNU/Linux 12 (bookworm)", Ecosystem: "Debian:12"},
		Layers: []dossier.LayerContents{
			{Layer: base.Digest, Fact: facts[0], Set: sets[0].Digest, Packages: map[string]int{"deb": 1}},
			{Layer: top.Digest, Set: sets[1].Digest, Packages: map[string]int{"deb": 1, "npm": 1}},
		},
		Missed: got.Missed, MissedCount: len(got.Missed),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
	var packages []string
	for _, s := range sets {
		for _, p := range s.Packages {
			packages = append(packages, strings.Join([]string{s.Layer.Short(), p.Distribution, p.Ecosystem, p.Name, p.Version, p.Path}, "|"))
		}
	}
	wantPackages := []string{
		base.Digest.Short() + "|debian 12|Debian:12|zlib1g|1:1.2.13.dfsg-1|" + status,
		top.Digest.Short() + "|debian 12|Debian:12|bash|5.2.15-2+b9|" + status,
		top.Digest.Short() + "||npm|a|1.0.0|app/package.json",
	}
	if diff := cmp.Diff(wantPackages, packages); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	again, _ := Lay([]LayerResult{base}).Summary(facts[:1], Command{})
	if again.Layers[0].Set == got.Layers[0].Set {
		t.Error("a set is the same although a package of it is hidden")
	}
}

// TestOwnersAreThemselvesPackages: a package of a language that the distribution
// installed says which package did.
func TestOwnersAreThemselvesPackages(t *testing.T) {
	_, sets := Lay([]LayerResult{readLayer(t, Options{},
		file("etc/os-release", debian12), file(status, strings.ReplaceAll(dpkgBash, "bash", "node-a")),
		file("var/lib/dpkg/info/node-a.list", "/.\n/usr/share/nodejs/a/package.json\n"),
		file("usr/share/nodejs/a/package.json", npm("a", "1.0.0")), file("srv/node_modules/b/package.json", npm("b", "1.0.0")),
	)}).Summary(make([]dossier.Digest, 1), Command{})
	owners := map[string]string{}
	for _, p := range sets[0].Packages {
		if p.Owner != nil {
			owners[p.Name] = p.Owner.PURL
		}
	}
	if diff := cmp.Diff(map[string]string{"a": "pkg:deb/debian/node-a@5.2.15-2%2Bb2?arch=amd64&distro=debian-12"}, owners); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
}
