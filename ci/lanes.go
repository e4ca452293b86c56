// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

// lane is a list of steps that belong together.
type lane struct {
	name  string
	steps []step
}

// step is one program to run.
type step struct {
	name  string
	dir   string // from the root of the repository
	argv  []string
	env   []string // on top of the runner's
	reads format
	needs []need // without one of them the step is skipped, or runs with less
}

// format says what a step prints.
type format int

const (
	plain      format = iota // text; lines of go test -v in it are counted
	testEvents               // go test -json
)

// need is something of the machine that a step wants.
type need struct {
	what     string   // for people
	programs []string // patterns of paths; a name without a slash is looked up in PATH
	packages []string // of Debian
	without  string   // what the step does when it cannot be had; empty: the step is skipped
	env      string   // set for the step when it is there
}

// raced are the packages whose goroutines share something.
func raced() []string {
	return []string{
		"./internal/store/...", "./internal/blob/...", "./internal/ingest/...", "./internal/cluster/...",
		"./internal/image/...", "./internal/registry/...", "./internal/server/...",
	}
}

// allLanes returns the lanes in the order in which they run.
func allLanes() []lane {
	postgres := need{
		what: "PostgreSQL", programs: []string{"/usr/lib/postgresql/*/bin/initdb"}, packages: []string{"postgresql"},
		without: "the store suites run on SQLite only", env: "DOSSIER_REQUIRE_POSTGRES=1",
	}
	compiler := need{what: "a C compiler", programs: []string{"gcc"}, packages: []string{"gcc", "libc6-dev"}}
	skopeo := need{what: "skopeo", programs: []string{"skopeo"}, packages: []string{"skopeo"}, env: "DOSSIER_REQUIRE_PEERS=1"}
	engines := need{what: "podman and buildah", programs: []string{"podman", "buildah"}, packages: []string{"podman", "buildah"}, env: "DOSSIER_REQUIRE_PEERS=1"}
	gpg := need{what: "gpg", programs: []string{"gpg"}, packages: []string{"gnupg"}, env: "DOSSIER_REQUIRE_PEERS=1"}
	umoci := need{what: "umoci", programs: []string{"umoci"}, packages: []string{"umoci"}}
	containerd := need{what: "containerd", programs: []string{"containerd", "ctr"}, packages: []string{"containerd"}}
	strace := need{what: "strace", programs: []string{"strace"}, packages: []string{"strace"}}
	static := []string{"CGO_ENABLED=0"}

	goTest := []string{"go", "test", "-json", "-timeout=15m"}
	with := func(argv []string, more ...string) []string {
		return append(append([]string{}, argv...), more...)
	}
	return []lane{
		{"gate", []step{
			{name: "build", argv: []string{"go", "build", "./..."}, env: static},
			{name: "vet", argv: []string{"go", "vet", "./..."}, env: static},
			{name: "tidy", argv: []string{"go", "mod", "tidy", "-diff"}},
			{name: "staticcheck", argv: []string{"go", "tool", "staticcheck", "./..."}, env: static},
			{name: "test", argv: with(goTest, "./..."), env: static, reads: testEvents, needs: []need{postgres}},
			{name: "race", argv: with(goTest, append([]string{"-race"}, raced()...)...), env: []string{"CGO_ENABLED=1"},
				reads: testEvents, needs: []need{compiler, postgres}},
		}},
		{"peers", []step{
			{name: "skopeo", dir: "e2e", argv: with(goTest, "./peers/..."), env: static,
				reads: testEvents, needs: []need{skopeo, umoci, gpg, engines}},
			{name: "registry", dir: "e2e/conformance", argv: with(goTest, "./..."), env: with(static, "DOSSIER_REQUIRE_S3=1"),
				reads: testEvents, needs: []need{skopeo, postgres, strace, containerd, engines}},
			{name: "log", dir: "e2e/tessera", argv: with(goTest, "./..."), env: static, reads: testEvents},
			{name: "notary", dir: "e2e/notary", argv: with(goTest, "./..."), env: static, reads: testEvents},
			{name: "object store", argv: with(goTest, "./internal/blob/s3/..."), env: with(static, "DOSSIER_REQUIRE_S3=1"),
				reads: testEvents},
		}},
		{"oracle", []step{
			{name: "debian", argv: with(goTest, "-run=DebianOracle", "./internal/feed"), env: static, reads: testEvents, needs: []need{
				{what: "debootstrap", programs: []string{"debootstrap"}, packages: []string{"debootstrap"}, env: "DOSSIER_ORACLE=bookworm"},
			}},
		}},
		// Last, for it may find the programs of the peers then.
		{"kube", []step{
			{name: "e2e", argv: []string{"./e2e/run"}},
		}},
	}
}
