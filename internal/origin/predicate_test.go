// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

// TestPredicates reads predicates as builders, scanners and verifiers write them.
func TestPredicates(t *testing.T) {
	two, none := 2, 0
	const commit = "0123456789abcdef0123456789abcdef01234567"
	for _, tt := range []struct {
		name, kind, text string
		want             Said
	}{
		{"BuildKit v0.2", TypeProvenance02, `{"builder":{"id":""},"buildType":"https://mobyproject.org/buildkit@v1",
			"materials":[{"uri":"pkg:docker/docker/dockerfile@1","digest":{"sha256":"aa"}},{"uri":"pkg:docker/alpine@3.20?platform=linux%2Famd64","digest":{"sha256":"1111111111111111111111111111111111111111111111111111111111111111"}},
				{"uri":"https://github.com/shop/api.git#main","digest":{"sha1":"` + commit + `"}}],
			"invocation":{"configSource":{"uri":"https://github.com/shop/api.git#main","digest":{"sha1":"` + commit + `"},"entryPoint":"build/Dockerfile"},
				"parameters":{"frontend":"dockerfile.v0","args":{"build-arg:VERSION":"1.4","build-arg:API_TOKEN":"hunter2","vcs:revision":"x","target":"prod"}},"environment":{"platform":"linux/amd64"}},
			"metadata":{"buildInvocationID":"abc","buildStartedOn":"2026-01-01T00:00:00Z","completeness":{"parameters":true,"materials":false},"reproducible":false}}`,
			Said{Provenance: &Provenance{
				BuildType: "https://mobyproject.org/buildkit@v1", Source: "https://github.com/shop/api", Revision: commit, EntryPoint: "build/Dockerfile", Invocation: "abc", Started: "2026-01-01T00:00:00Z",
				Parameters: []string{"API_TOKEN=(hidden)", "VERSION=1.4", "target=prod"},
				Materials: []Material{{"pkg:docker/docker/dockerfile@1", "sha256:aa"}, {"pkg:docker/alpine@3.20?platform=linux%2Famd64", "sha256:1111111111111111111111111111111111111111111111111111111111111111"},
					{"https://github.com/shop/api.git#main", "sha1:" + commit}},
				BaseName: "alpine:3.20", BaseDigest: "sha256:1111111111111111111111111111111111111111111111111111111111111111",
			}}},
		{"BuildKit v0.2, of a local directory", TypeProvenance02, `{"invocation":{"configSource":{"entryPoint":"Dockerfile"},"parameters":{"frontend":"dockerfile.v0","args":{}}},
			"metadata":{"https://mobyproject.org/buildkit@v1#metadata":{"vcs":{"source":"https://u:secret@git.example/a.git","revision":"` + commit + `-dirty"}}}}`,
			Said{Provenance: &Provenance{Source: "https://u:xxxxx@git.example/a", Revision: commit + "-dirty", EntryPoint: "Dockerfile"}}},
		{"BuildKit v1", TypeProvenance1, `{"buildDefinition":{"buildType":"https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md",
			"externalParameters":{"configSource":{"uri":"https://github.com/shop/api.git#main","digest":{"sha1":"` + commit + `"},"path":"Dockerfile"},"request":{"frontend":"dockerfile.v0","args":{"build-arg:A":"1"}}},
			"resolvedDependencies":[{"uri":"pkg:docker/alpine@3.20"},{"uri":"pkg:docker/golang@1.26"}]},
			"runDetails":{"builder":{"id":"https://build.example/1"},"metadata":{"invocationID":"abc","startedOn":"2026-01-01T00:00:00Z","finishedOn":"2026-01-01T00:01:00Z",
			"buildkit_completeness":{"request":true,"resolvedDependencies":true},"buildkit_reproducible":true}}}`,
			Said{Provenance: &Provenance{
				Builder: "https://build.example/1", BuildType: "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md", Source: "https://github.com/shop/api", Revision: commit,
				EntryPoint: "Dockerfile", Invocation: "abc", Started: "2026-01-01T00:00:00Z", Finished: "2026-01-01T00:01:00Z", Parameters: []string{"A=1"},
				Materials: []Material{{"pkg:docker/alpine@3.20", ""}, {"pkg:docker/golang@1.26", ""}}, Complete: true, Reproducible: true,
			}}},
		{"a workflow", TypeProvenance1, `{"buildDefinition":{"buildType":"https://actions.github.io/buildtypes/workflow/v1",
			"externalParameters":{"workflow":{"ref":"refs/heads/main","repository":"https://github.com/shop/api","path":".github/workflows/release.yml"}},
			"resolvedDependencies":[{"uri":"git+https://github.com/shop/api@refs/heads/main","digest":{"gitCommit":"` + commit + `"}}]},
			"runDetails":{"builder":{"id":"https://github.com/actions/runner/github-hosted"},"metadata":{"invocationId":"https://github.com/shop/api/actions/runs/1"}}}`,
			Said{Provenance: &Provenance{
				Builder: "https://github.com/actions/runner/github-hosted", BuildType: "https://actions.github.io/buildtypes/workflow/v1", Source: "https://github.com/shop/api", Revision: commit,
				EntryPoint: ".github/workflows/release.yml", Invocation: "https://github.com/shop/api/actions/runs/1", Materials: []Material{{"git+https://github.com/shop/api@refs/heads/main", "gitCommit:" + commit}},
			}}},
		{"a pipeline v0.2, by its materials", TypeProvenance02, `{"builder":{"id":"https://tekton.dev/chains/v2"},"buildType":"tekton.dev/v1beta1/TaskRun",
			"materials":[{"uri":"git+https://git.example/shop/api.git","digest":{"sha1":"` + commit + `"}}]}`,
			Said{Provenance: &Provenance{
				Builder: "https://tekton.dev/chains/v2", BuildType: "tekton.dev/v1beta1/TaskRun", Source: "https://git.example/shop/api", Revision: commit,
				Materials: []Material{{"git+https://git.example/shop/api.git", "sha1:" + commit}},
			}}},
		{"fields of other types say nothing", TypeProvenance1, `{"buildDefinition":{"buildType":7,"externalParameters":[],"resolvedDependencies":{}},"runDetails":{"builder":{"id":"b"}}}`, Said{Provenance: &Provenance{Builder: "b"}}},
		{"a scan by cosign", TypeVulnCosign, `{"scanner":{"uri":"pkg:github/aquasecurity/trivy@1","version":"1","result":{"SchemaVersion":2,"Results":[{"Vulnerabilities":[{},{}]},{}]}},"metadata":{"scanFinishedOn":"2026-01-01T00:00:00Z"}}`,
			Said{Scan: &Scan{Scanner: "pkg:github/aquasecurity/trivy@1", Version: "1", Finished: "2026-01-01T00:00:00Z", Findings: &two}}},
		{"a scan in another form", TypeVulnCosign, `{"scanner":{"uri":"x","result":{"what":[]}}}`, Said{Scan: &Scan{Scanner: "x"}}},
		{"a scan by in-toto", TypeVulns + "/v0.2", `{"scanner":{"uri":"x","result":[]}}`, Said{Scan: &Scan{Scanner: "x", Findings: &none}}},
		{"a summary", TypeSummary, `{"verifier":{"id":"https://v.example"},"timeVerified":"2026-01-01T00:00:00Z","resourceUri":"oci://a","policy":{"uri":"https://p.example"},"verificationResult":"PASSED","verifiedLevels":["SLSA_BUILD_LEVEL_3"]}`,
			Said{Summary: &Summary{"https://v.example", "2026-01-01T00:00:00Z", "oci://a", "https://p.example", "PASSED", []string{"SLSA_BUILD_LEVEL_3"}}}},
	} {
		tt.want.Type = tt.kind
		got, err := ParsePredicate(tt.kind, []byte(tt.text))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	for name, tt := range map[string]struct {
		kind, text string
		want       dossier.Kind
	}{
		"another type":             {"https://example.org/p", `{}`, dossier.KindUnsupported},
		"no JSON":                  {TypeProvenance1, `{`, dossier.KindInvalid},
		"a scan by nobody":         {TypeVulnCosign, `{}`, dossier.KindInvalid},
		"a summary without result": {TypeSummary, `{"verifier":{"id":"v"},"verificationResult":"MAYBE"}`, dossier.KindInvalid},
	} {
		if _, err := ParsePredicate(tt.kind, []byte(tt.text)); dossier.KindOf(err) != tt.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzPredicate(f *testing.F) {
	f.Add(0, []byte(`{"materials":[{"uri":"pkg:docker/a@1","digest":{"sha256":"00"}}]}`))
	f.Add(1, []byte(`{"buildDefinition":{"externalParameters":{"request":{"args":{"a":"b"}}}}}`))
	types := []string{TypeProvenance02, TypeProvenance1, TypeVulnCosign, TypeVulns + "/v0.2", TypeSummary}
	f.Fuzz(func(t *testing.T, kind int, b []byte) {
		said, err := ParsePredicate(types[uint(kind)%uint(len(types))], b)
		if err == nil && said.Provenance == nil && said.Scan == nil && said.Summary == nil {
			t.Error("it says nothing, and that is no error")
		}
	})
}
