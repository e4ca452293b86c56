// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"dossier.dev/dossier"
)

// Said is what the predicate of an in-toto statement says, by its type; what it does not
// speak of is nil.
type Said struct {
	Type       string
	Provenance *Provenance
	Scan       *Scan
	Summary    *Summary
}

// Provenance is how an artifact was built, by SLSA provenance v0.2 or v1.
type Provenance struct {
	Builder    string     `json:"builder,omitempty"` // ID
	BuildType  string     `json:"buildType,omitempty"`
	Source     string     `json:"source,omitempty"`
	Revision   string     `json:"revision,omitempty"`
	EntryPoint string     `json:"entryPoint,omitempty"` // what was run there: a Dockerfile, a workflow
	Invocation string     `json:"invocation,omitempty"` // ID
	Started    string     `json:"started,omitempty"`
	Finished   string     `json:"finished,omitempty"`
	Parameters []string   `json:"parameters,omitempty"` // NAME=VALUE, sorted
	Materials  []Material `json:"materials,omitempty"`
	BaseName   string     `json:"baseName,omitempty"` // of the only image among the materials
	BaseDigest string     `json:"baseDigest,omitempty"`
	// Complete and Reproducible are what the builder says of it.
	Complete     bool `json:"complete,omitempty"`
	Reproducible bool `json:"reproducible,omitempty"`
}

// Material is something that went into a build.
type Material struct {
	URI    string `json:"uri"`
	Digest string `json:"digest,omitempty"` // ALGORITHM:HEX
}

// Scan is what a scanner found, by cosign's vuln predicate or in-toto's vulns.
type Scan struct {
	Scanner  string `json:"scanner"`
	Version  string `json:"version,omitempty"`
	Finished string `json:"finished,omitempty"`
	Findings *int   `json:"findings,omitempty"` // absent: its form is not known
}

// Summary is a verification summary (VSA).
type Summary struct {
	Verifier string   `json:"verifier"`
	Verified string   `json:"verified,omitempty"` // when
	Resource string   `json:"resource,omitempty"`
	Policy   string   `json:"policy,omitempty"`
	Result   string   `json:"result"` // PASSED, FAILED
	Levels   []string `json:"levels,omitempty"`
}

// The types of predicates that are understood.
const (
	TypeProvenance02 = "https://slsa.dev/provenance/v0.2"
	TypeProvenance1  = "https://slsa.dev/provenance/v1"
	TypeVulnCosign   = "https://cosign.sigstore.dev/attestation/vuln/v1"
	TypeVulns        = "https://in-toto.io/attestation/vulns"
	TypeSummary      = "https://slsa.dev/verification_summary/v1"
)

// Limits of what is kept of a predicate.
const (
	maxMaterials  = 200
	maxParameters = 200
	maxPredicate  = 16 << 20 // bytes
)

// Understood reports whether ParsePredicate knows a type of predicate.
func Understood(predicateType string) bool {
	return slices.Contains([]string{TypeProvenance02, TypeProvenance1, TypeVulnCosign, TypeSummary}, predicateType) || strings.HasPrefix(predicateType, TypeVulns+"/")
}

// ParsePredicate reads a predicate. KindUnsupported: of a type that is not known.
// KindInvalid, KindLimit.
func ParsePredicate(predicateType string, b []byte) (Said, error) {
	const op = "reading predicate"
	said := Said{Type: predicateType}
	if len(b) > maxPredicate {
		return said, dossier.Errorf(dossier.KindLimit, op, predicateType, fmt.Sprintf("it has %d bytes, maxPredicate is %d", len(b), maxPredicate))
	}
	var err error
	switch {
	case predicateType == TypeProvenance02:
		said.Provenance, err = provenance02(b)
	case predicateType == TypeProvenance1:
		said.Provenance, err = provenance1(b)
	case predicateType == TypeVulnCosign:
		said.Scan, err = scanByCosign(b)
	case strings.HasPrefix(predicateType, TypeVulns+"/"):
		said.Scan, err = scanByInToto(b)
	case predicateType == TypeSummary:
		said.Summary, err = summary(b)
	default:
		return said, dossier.Errorf(dossier.KindUnsupported, op, predicateType, "it is of no type that is known")
	}
	if err != nil {
		return Said{Type: predicateType}, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Subject: predicateType, Err: err}
	}
	return said, nil
}

// lenient reads JSON in which a field of another type than v has says nothing: what
// builders add is their own affair.
func lenient(b []byte, v any) error {
	err := json.Unmarshal(b, v)
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return nil
	}
	return err
}

// resource is a resource descriptor, or a material.
type resource struct {
	URI    string            `json:"uri"`
	Digest map[string]string `json:"digest"`
	Name   string            `json:"name"`
	Path   string            `json:"path"`
	Entry  string            `json:"entryPoint"`
}

// digest is the best of a resource's digests.
func (r resource) digest() string {
	for _, algorithm := range []string{"sha256", "sha512", "gitCommit", "sha1"} {
		if hex := r.Digest[algorithm]; hex != "" {
			return printable(algorithm + ":" + hex)
		}
	}
	return ""
}

// commit is the git commit of a resource.
func (r resource) commit() string { return printable(cmp.Or(r.Digest["gitCommit"], r.Digest["sha1"])) }

// vcs is what BuildKit says of the checkout that it was called in.
type vcs struct {
	Source   string `json:"source"`
	Revision string `json:"revision"`
}

func provenance02(b []byte) (*Provenance, error) {
	var p struct {
		Builder    struct{ ID string }
		BuildType  string `json:"buildType"`
		Invocation struct {
			ConfigSource resource `json:"configSource"`
			Parameters   json.RawMessage
		}
		Metadata struct {
			ID           string `json:"buildInvocationID"`
			Started      string `json:"buildStartedOn"`
			Finished     string `json:"buildFinishedOn"`
			Completeness struct{ Parameters, Environment, Materials bool }
			Reproducible bool
			BuildKit     struct {
				VCS vcs `json:"vcs"`
			} `json:"https://mobyproject.org/buildkit@v1#metadata"`
		}
		Materials []resource
	}
	if err := lenient(b, &p); err != nil {
		return nil, err
	}
	out := &Provenance{
		Builder: p.Builder.ID, BuildType: p.BuildType, Invocation: p.Metadata.ID, Started: p.Metadata.Started, Finished: p.Metadata.Finished,
		Complete: p.Metadata.Completeness.Materials, Reproducible: p.Metadata.Reproducible, EntryPoint: p.Invocation.ConfigSource.Entry,
	}
	out.source(p.Metadata.BuildKit.VCS, p.Invocation.ConfigSource, p.Materials)
	out.parameters(p.Invocation.Parameters)
	out.materials(p.Materials)
	return out.clean(), nil
}

func provenance1(b []byte) (*Provenance, error) {
	var p struct {
		Definition struct {
			BuildType string `json:"buildType"`
			External  struct {
				ConfigSource resource `json:"configSource"`
				Source       resource `json:"source"`
				Workflow     struct{ Ref, Repository, Path string }
				Request      json.RawMessage
			} `json:"externalParameters"`
			Resolved []resource `json:"resolvedDependencies"`
		} `json:"buildDefinition"`
		Run struct {
			Builder  struct{ ID string }
			Metadata struct {
				ID           string `json:"invocationID"`
				Started      string `json:"startedOn"`
				Finished     string `json:"finishedOn"`
				Completeness struct {
					Resolved bool `json:"resolvedDependencies"`
				} `json:"buildkit_completeness"`
				Reproducible bool `json:"buildkit_reproducible"`
				BuildKit     struct {
					VCS vcs `json:"vcs"`
				} `json:"buildkit_metadata"`
			}
		} `json:"runDetails"`
	}
	if err := lenient(b, &p); err != nil {
		return nil, err
	}
	d, run := p.Definition, p.Run
	out := &Provenance{
		Builder: run.Builder.ID, BuildType: d.BuildType, Invocation: run.Metadata.ID, Started: run.Metadata.Started, Finished: run.Metadata.Finished,
		Complete: run.Metadata.Completeness.Resolved, Reproducible: run.Metadata.Reproducible,
	}
	from := d.External.ConfigSource
	if from.URI == "" {
		from = d.External.Source
	}
	if w := d.External.Workflow; from.URI == "" && w.Repository != "" {
		from = resource{URI: w.Repository, Path: w.Path}
		for _, r := range d.Resolved {
			if sameRepository(r.URI, w.Repository) {
				from.Digest = r.Digest
			}
		}
	}
	out.EntryPoint = cmp.Or(from.Path, from.Entry)
	out.source(run.Metadata.BuildKit.VCS, from, d.Resolved)
	out.parameters(d.External.Request)
	out.materials(d.Resolved)
	return out.clean(), nil
}

// source finds out where the source code lies: where the builder was told to look, or
// what it was called in, or the only repository among the materials.
func (p *Provenance) source(v vcs, from resource, materials []resource) {
	if isGit(from.URI) || from.commit() != "" && from.URI != "" {
		p.Source, p.Revision = repository(from.URI), from.commit()
	} else {
		p.Source, p.Revision = repository(v.Source), v.Revision
	}
	if p.Source != "" && p.Revision != "" {
		return
	}
	var repos []resource
	for _, m := range materials {
		if m.commit() != "" && m.Digest["sha256"] == "" && isGit(m.URI) {
			repos = append(repos, m)
		}
	}
	if len(repos) == 1 && (p.Source == "" || sameRepository(repos[0].URI, p.Source)) {
		p.Source, p.Revision = repository(repos[0].URI), cmp.Or(p.Revision, repos[0].commit())
	}
}

func isGit(uri string) bool {
	return strings.HasPrefix(uri, "git+") || strings.HasPrefix(uri, "git://") || strings.HasPrefix(uri, "git@") || strings.HasPrefix(uri, "https://github.com/") || strings.Contains(uri, ".git")
}

// repository is the address of a git repository as people write it.
func repository(uri string) string {
	uri = strings.TrimPrefix(uri, "git+")
	uri, _, _ = strings.Cut(uri, "#")
	if scheme := strings.Index(uri, "://"); scheme >= 0 {
		if at := strings.LastIndex(uri, "@"); at > scheme+3 && strings.Contains(uri[scheme+3:at], "/") {
			uri = uri[:at] // @REF
		}
	}
	return strings.TrimSuffix(uri, ".git")
}

func sameRepository(a, b string) bool { return strings.EqualFold(repository(a), repository(b)) }

// parameters reads what BuildKit was asked for: build arguments and others.
func (p *Provenance) parameters(raw json.RawMessage) {
	var request struct {
		Frontend string
		Args     map[string]string
	}
	if lenient(raw, &request) != nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(request.Args)) {
		value := request.Args[name]
		if len(p.Parameters) >= maxParameters || strings.HasPrefix(name, "vcs:") {
			continue
		}
		bare := strings.TrimPrefix(name, "build-arg:")
		if p.EntryPoint == "" && name == "filename" {
			p.EntryPoint = value
		}
		p.Parameters = append(p.Parameters, printable(Argument{Name: bare, Value: withoutPassword(value)}.String()))
	}
	if p.EntryPoint == "" && request.Frontend == "dockerfile.v0" {
		p.EntryPoint = "Dockerfile"
	}
}

// materials keeps what went into the build, and finds the base image: the only image
// but for the one that reads the Dockerfile.
func (p *Provenance) materials(list []resource) {
	var images []resource
	for _, m := range list {
		if len(p.Materials) < maxMaterials {
			p.Materials = append(p.Materials, Material{URI: printable(withoutPassword(cmp.Or(m.URI, m.Name))), Digest: m.digest()})
		}
		if strings.HasPrefix(m.URI, "pkg:docker/") && !strings.HasPrefix(m.URI, "pkg:docker/docker/dockerfile") {
			images = append(images, m)
		}
	}
	if len(images) != 1 {
		return
	}
	p.BaseName = imageOf(images[0].URI)
	if d, err := dossier.ParseDigest("sha256:" + images[0].Digest["sha256"]); err == nil {
		p.BaseDigest = string(d)
	}
}

// imageOf makes a reference of a package URL of the type docker.
func imageOf(purl string) string {
	rest := strings.TrimPrefix(purl, "pkg:docker/")
	rest, query, _ := strings.Cut(rest, "?")
	name, version, _ := strings.Cut(rest, "@")
	name, err := url.PathUnescape(name)
	if err != nil {
		return ""
	}
	values, _ := url.ParseQuery(query)
	if host := values.Get("repository_url"); host != "" {
		name = host + "/" + name
	}
	if version != "" && !strings.Contains(version, ":") {
		name += ":" + version
	}
	return name
}

// clean makes what is shown printable.
func (p *Provenance) clean() *Provenance {
	for _, s := range []*string{&p.Builder, &p.BuildType, &p.Source, &p.Revision, &p.EntryPoint, &p.Invocation, &p.Started, &p.Finished, &p.BaseName} {
		*s = printable(withoutPassword(*s))
	}
	return p
}

// Statements are what provenance says of what labels speak of as well.
func (p *Provenance) Statements() []Statement {
	var out []Statement
	for _, x := range []struct {
		meaning Meaning
		value   string
	}{{Source, p.Source}, {Revision, p.Revision}, {BaseName, p.BaseName}, {BaseDigest, p.BaseDigest}} {
		if x.value != "" {
			out = append(out, Statement{Meaning: x.meaning, Value: x.value, Key: string(x.meaning), Where: InProvenance, Invalid: fault(x.meaning, x.value)})
		}
	}
	return out
}
