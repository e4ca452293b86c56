// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"fmt"
	"slices"
	"strings"
)

// anywhere in a list of packages means all of them.
const anywhere = "*"

// module says which packages may import from one dependency. Every dependency
// that we name in an import has an entry, so that a new one is a decision and a
// heavy one stays behind one door.
type module struct {
	prefix string   // of import paths, whole elements
	code   []string // packages whose code may import it, with those below them
	tests  []string // packages whose tests may import it as well
	why    string
}

// allowed is the list of this repository.
func allowed() []module {
	return []module{
		{"github.com/google/go-cmp", nil, []string{anywhere}, "differences in tests"},
		{"github.com/rogpeppe/go-internal", nil, []string{"internal/cli"}, "command transcripts"},
		{"github.com/distribution/reference", nil, []string{"."}, "references must agree with it"},

		{"github.com/spf13/cobra", []string{"internal/cli"}, nil, "the command line"},
		{"github.com/spf13/pflag", []string{"internal/cli"}, nil, "its flags"},
		{"github.com/ProtonMail/go-crypto", []string{"internal/trust"}, []string{"internal/cli", "internal/server"}, "OpenPGP keys, messages and signatures"},
		{"github.com/notaryproject/notation-core-go", []string{"internal/trust"}, []string{"internal/server"}, "signatures of the Notary Project: JWS and COSE envelopes"},
		{"github.com/digitorus/timestamp", nil, []string{"internal/trust"}, "timestamps made in tests"},
		{"github.com/notaryproject/tspclient-go", []string{"internal/trust"}, nil, "the RFC 3161 timestamps on them"},
		{"github.com/veraison/go-cose", []string{"internal/trust"}, nil, "counts the certificates in a COSE envelope before it is looked at"},
		{"golang.org/x/mod", []string{"internal/translog", "internal/proof"}, nil, "the mathematics of the log, signed notes"},
		{"golang.org/x/sync", []string{"internal/answer", "internal/server"}, nil, "goroutines that end together"},
		{"golang.org/x/term", []string{"internal/cli"}, nil, "what the terminal can do"},
		{"golang.org/x/text", []string{"internal/render"}, nil, "how wide a letter is"},
		{"sigs.k8s.io/yaml", []string{"internal/render"}, nil, "YAML with the names of the JSON form"},
		{"go.yaml.in/yaml/v3", []string{"internal/cluster", "internal/proof", "internal/config", "internal/form", "internal/registry/access", "internal/trust", "internal/vex"}, nil, "YAML with line numbers, document by document"},

		{"github.com/opencontainers/image-spec", []string{"internal/image", "internal/testimage", "internal/demo"}, []string{"internal/cli", "internal/registry"}, "types of the OCI image specification"},
		{"github.com/opencontainers/go-digest", []string{"internal/image", "internal/testimage"}, nil, "image-spec's digests"},
		{"github.com/klauspost/compress", []string{"internal/layer", "internal/contents"}, nil, "gzip and zstd layers; contents of layers are kept as zstd"},

		{"github.com/google/osv-scalibr", []string{"internal/contents"}, nil, "what makes packages out of files; it brings 60 modules along"},
		{"github.com/google/osv-scalibr/semantic", []string{"internal/match"}, nil, "the order of versions; it needs nothing else"},
		{"github.com/pandatix/go-cvss", []string{"internal/match"}, nil, "scores of CVSS vectors"},
		{"github.com/erikvarga/go-rpmdb", nil, []string{"internal/contents/rpmdb/rpmdbtest"}, "what others read in databases of rpm"},
		{"github.com/package-url/packageurl-go", []string{"internal/contents", "internal/vex"}, nil, "package URLs"},
		{"github.com/CycloneDX/cyclonedx-go", []string{"internal/render"}, nil, "bills of materials as CycloneDX"},
		{"github.com/spdx/tools-golang", []string{"internal/render"}, nil, "bills of materials as SPDX"},
		{"github.com/santhosh-tekuri/jsonschema/v6", nil, []string{"internal/render"}, "documents must be valid by their published schemas"},
		{"github.com/go-jose/go-jose/v4", []string{"internal/registry/access"}, nil, "tokens: signing, verifying, key sets"},
		{"golang.org/x/crypto", []string{"internal/registry/access"}, nil, "bcrypt"},
		{"golang.org/x/crypto/ocsp", []string{"internal/trust"}, []string{"internal/server"}, "what OCSP says of certificates"},

		{"github.com/sigstore", []string{"internal/trust"}, nil, "Sigstore bundles: logs, certificates, timestamps; it brings 40 modules along"},
		{"github.com/secure-systems-lab/go-securesystemslib", []string{"internal/trust"}, nil, "private keys as cosign encrypts them"},
		{"github.com/transparency-dev/merkle", []string{"internal/trust"}, nil, "inclusion proofs of those logs"},
		{"google.golang.org/protobuf", []string{"internal/trust"}, nil, "bundles are protocol buffers as JSON"},
		{"github.com/theupdateframework/go-tuf/v2", []string{"internal/tuf"}, nil, "metadata of The Update Framework: its forms, signatures and order of checks"},
		{"github.com/sigstore/sigstore", []string{"internal/trust", "internal/tuf"}, nil, "signers as go-tuf takes them, keys as cosign encrypts them"},

		{"k8s.io", []string{"internal/cluster"}, nil, "cluster turns Kubernetes objects into places; nobody else knows them"},
		{"github.com/go-logr/logr", []string{"internal/cluster"}, nil, "client-go logs through it; we send that to slog"},
		{"modernc.org/sqlite", []string{"internal/store/sqlstore"}, []string{"internal/contents/rpmdb/rpmdbtest"}, "the embedded engine"},
		{"github.com/jackc/pgx/v5", []string{"internal/store/sqlstore"}, nil, "the scaled engine"},
		{"github.com/pressly/goose/v3", []string{"internal/store/sqlstore"}, nil, "migrations"},
		{"github.com/minio/minio-go/v7", []string{"internal/blob/s3"}, nil, "object stores"},
		{"github.com/google/go-containerregistry", []string{"internal/image", "internal/testimage"}, nil, "talking to registries, being one in tests and the demo"},
		{"go.opentelemetry.io/otel", []string{"internal/server"}, nil, "spans of requests; the exporter for OTLP adds 3.5 MB to a stripped program, and without one spans would stay unseen"},
		{"github.com/prometheus/client_golang", []string{"internal/api", "internal/server"}, nil, "metrics are shown at the face and made by the wiring"},
	}
}

// matches reports whether an import path is of the module.
func (m module) matches(importPath string) bool {
	return importPath == m.prefix || strings.HasPrefix(importPath, m.prefix+"/")
}

// holds reports whether a directory is in a list, or below one that is.
func holds(list []string, dir string) bool {
	return slices.ContainsFunc(list, func(entry string) bool {
		return entry == anywhere || entry == dir || strings.HasPrefix(dir, entry+"/") || (entry == "." && dir == "")
	})
}

// moduleCheck returns the check of a list: imports it does not allow, and
// allowances that nobody uses.
func moduleCheck(list []module) func(*repository) []string {
	return func(r *repository) []string {
		var faults []string
		used := map[string]bool{}
		for _, p := range r.packages {
			if p.nested {
				continue
			}
			for _, s := range p.sources {
				for _, imported := range s.imports() {
					if _, ok := r.local(imported); ok || isStandard(imported) {
						continue
					}
					if fault := judgeImport(list, p, s, imported, used); fault != "" {
						faults = append(faults, s.path+": imports "+imported+fault)
					}
				}
			}
		}
		return append(faults, staleAllowances(r, list, used)...)
	}
}

// judgeImport says what is wrong with an import, or "", and notes which
// allowance it uses.
func judgeImport(list []module, p *pkg, s *source, imported string, used map[string]bool) string {
	best := -1
	for i, m := range list {
		if m.matches(imported) && (best < 0 || len(m.prefix) > len(list[best].prefix)) {
			best = i
		}
	}
	if best < 0 {
		return ": a module that is not on the list (internal/archtest/modules_test.go)"
	}
	m := list[best]
	for _, entry := range slices.Concat(m.code, m.tests) {
		if holds([]string{entry}, p.dir) {
			used[m.prefix+" "+entry] = true
		}
	}
	if holds(m.code, p.dir) || ((s.test || p.isKit()) && holds(m.tests, p.dir)) {
		return ""
	}
	return fmt.Sprintf(": only %s may (%s)", strings.Join(slices.Concat(m.code, testsOf(m.tests)), ", "), m.why)
}

func testsOf(list []string) []string {
	var out []string
	for _, entry := range list {
		out = append(out, "tests of "+entry)
	}
	return out
}

// staleAllowances finds allowances of packages that are there and do not use them.
func staleAllowances(r *repository, list []module, used map[string]bool) []string {
	var faults []string
	for _, m := range list {
		for _, entry := range slices.Concat(m.code, m.tests) {
			if !used[m.prefix+" "+entry] && r.exists(entry) {
				faults = append(faults, fmt.Sprintf("%s: %s may import it and does not: remove it from the list", m.prefix, entry))
			}
		}
	}
	return faults
}
