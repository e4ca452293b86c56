// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/ingest"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/testimage"
)

// remote is a repository of a registry, as the product reads it.
type remote struct{ *image.Repository }

func (r remote) Manifest(ctx context.Context, d dossier.Digest) ([]byte, error) {
	n, err := r.Repository.Manifest(ctx, d)
	return n.Bytes, err
}

func (r remote) Blob(ctx context.Context, d image.Descriptor) (io.ReadCloser, error) {
	b, err := r.Repository.Blob(ctx, d.Digest)
	if err != nil {
		return nil, err
	}
	return b, nil
}

func readArtifacts(_ context.Context, ref string) (ingest.Artifacts, error) {
	parsed, err := dossier.ParseReference(ref)
	if err != nil {
		return nil, err
	}
	r, err := (&image.Client{}).Repository(parsed.Registry, parsed.Repository)
	return remote{r}, err
}

const (
	spdxBill    = `{"spdxVersion":"SPDX-2.3","creationInfo":{"creators":["Tool: a-1"]},"packages":[{"name":"x","externalRefs":[{"referenceType":"purl","referenceLocator":"pkg:npm/app@1.0.0"}]}]}`
	cycloneBill = `{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"type":"library","name":"x","purl":"pkg:npm/app@2.0.0"},{"type":"library","name":"y","purl":"pkg:npm/y@1"}]}`
)

func statementOf(on dossier.Digest, predicateType, predicate string) []byte {
	return []byte(`{"_type":"https://in-toto.io/Statement/v1","predicateType":"` + predicateType + `","subject":[{"name":"a","digest":{"sha256":"` + on.Hex() + `"}}],"predicate":` + predicate + `}`)
}

// attach pushes an artifact to where an image lies.
func (w *world) attach(tag string, a testimage.Artifact) {
	w.t.Helper()
	testimage.MustPush(w.t, w.registry, "app", tag, a)
}

// bills lists what is known to be attached to the digests: "HOW FORMAT PACKAGES".
func (w *world) bills(ds ...dossier.Digest) []string {
	w.t.Helper()
	out := []string{}
	w.view(func(r store.Reader) error {
		out = out[:0]
		for f, err := range r.Holding(w.t.Context(), ds, dossier.Times{}, dossier.FactAttached) {
			if err != nil {
				return err
			}
			var a dossier.AttachedBill
			if err := json.Unmarshal(f.Body, &a); err != nil {
				return err
			}
			text := strings.TrimSpace(a.How + " " + a.Format)
			if a.Problem != "" {
				text += " not read"
			}
			out = append(out, text)
			for doc, err := range r.Holding(w.t.Context(), []dossier.Digest{a.Document}, dossier.Times{}, dossier.FactBill) {
				if err != nil || !a.Document.Matches(doc.Body) {
					w.t.Errorf("the document of %s is not what its digest says: %v", text, err)
				}
			}
		}
		return nil
	})
	slices.Sort(out)
	return out
}

// TestAttachedVEX finds VEX documents beside bills of materials: one may be both.
func TestAttachedVEX(t *testing.T) {
	w := newWorld(t, func(c *ingest.Config) { c.Layer, c.Artifacts = readLayers(t, nil), readArtifacts }, testimage.RegistryOptions{})
	app, err := onDebian("app").Build()
	if err != nil {
		t.Fatal(err)
	}
	const open = `{"@context":"https://openvex.dev/ns/v0.2.0","author":"A","statements":[{"vulnerability":{"name":"CVE-1"},"products":[{"@id":"pkg:npm/a"}],"status":"fixed"}]}`
	const both = `{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"bom-ref":"a","type":"library","purl":"pkg:npm/a@1"}],
		"vulnerabilities":[{"id":"CVE-1","analysis":{"state":"resolved"},"affects":[{"ref":"a"}]}]}`
	index := testimage.Of(onDebian("app"))
	index.Entries = append(index.Entries, testimage.Attestation(app.Digest(),
		statementOf(app.Digest(), "https://openvex.dev/ns/v0.2.0", open), statementOf(app.Digest(), "https://openvex.dev/ns", `{}`), statementOf(app.Digest(), "https://slsa.dev/provenance/v1", open)))
	w.push("app", "1", index)
	w.attach("r1", testimage.Artifact{ArtifactType: "application/vnd.cyclonedx+json", Subject: &app.Root,
		Layers: []testimage.Blob{{MediaType: "application/vnd.cyclonedx+json", Bytes: []byte(both)}}})
	w.attach("r2", testimage.Artifact{ArtifactType: "application/csaf+json", Subject: &app.Root,
		Layers: []testimage.Blob{{MediaType: "application/csaf+json", Bytes: []byte(`{"document":`)}}})
	for range 2 { // again, and nothing is doubled
		if _, err := w.ingest.Inspect(t.Context(), w.registry.Host+"/app:1", true); err != nil {
			t.Fatal(err)
		}
		w.now = w.now.Add(2 * time.Hour)
	}
	got := []string{}
	w.view(func(r store.Reader) error {
		got = got[:0]
		for f, err := range r.Holding(t.Context(), []dossier.Digest{app.Digest()}, dossier.Times{}, dossier.FactAttachedVEX) {
			var a dossier.AttachedVEX
			if err != nil || json.Unmarshal(f.Body, &a) != nil {
				t.Fatalf("%v: %s", err, f.Body)
			}
			got = append(got, fmt.Sprintf("%s %s %d %v", a.How, a.Format, a.Statements, a.Problem != ""))
			kept := 0
			for doc, err := range r.Holding(t.Context(), []dossier.Digest{a.Document}, dossier.Times{}, dossier.FactVEX) {
				if err != nil || !a.Document.Matches(doc.Body) {
					t.Errorf("the document is not what its digest says: %v", err)
				}
				kept++
			}
			if kept != 1 {
				t.Errorf("%d documents are kept", kept)
			}
		}
		return nil
	})
	slices.Sort(got)
	if diff := cmp.Diff([]string{"buildkit  0 true", "buildkit OpenVEX 0.2.0 1 false", "referrer  0 true", "referrer CycloneDX 1.6 1 false"}, got); diff != "" {
		t.Errorf("VEX (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"referrer CycloneDX 1.6"}, w.bills(app.Digest())); diff != "" {
		t.Errorf("bills (-want +got):\n%s", diff)
	}
}

// TestAttachedBills finds bills of materials in all the ways in which they are
// attached, and leaves aside what is none.
func TestAttachedBills(t *testing.T) {
	w := newWorld(t, func(c *ingest.Config) { c.Layer, c.Artifacts = readLayers(t, nil), readArtifacts }, testimage.RegistryOptions{})
	app, err := onDebian("app").Build()
	if err != nil {
		t.Fatal(err)
	}
	manifest := app.Digest()
	index := testimage.Of(onDebian("app"))
	index.Entries = append(index.Entries, testimage.Attestation(manifest,
		statementOf(manifest, "https://spdx.dev/Document", spdxBill), statementOf(manifest, "https://slsa.dev/provenance/v1", `{}`)))
	root := w.push("app", "1", index)
	bundle := `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","dsseEnvelope":{"payloadType":"application/vnd.in-toto+json","payload":"` +
		base64.StdEncoding.EncodeToString(statementOf(manifest, "https://cyclonedx.org/bom", cycloneBill)) + `","signatures":[]}}`
	w.attach("r1", testimage.Artifact{ArtifactType: "application/vnd.dev.sigstore.bundle.v0.3+json", Subject: &app.Root,
		Layers: []testimage.Blob{{MediaType: "application/vnd.dev.sigstore.bundle.v0.3+json", Bytes: []byte(bundle)}}})
	w.attach("r2", testimage.Artifact{ArtifactType: "application/vnd.example.scan", ConfigType: "application/vnd.example.scan", Subject: &app.Root,
		Layers: []testimage.Blob{{MediaType: "application/spdx+json", Bytes: []byte(spdxBill)}}})
	w.attach("r3", testimage.Artifact{ArtifactType: "application/spdx+json", Subject: &app.Root,
		Layers: []testimage.Blob{{MediaType: "application/spdx+json", Bytes: []byte(`{"spdxVersion":"SPDX-2.3","packages":`)}}})
	w.attach(strings.Replace(string(root), ":", "-", 1)+".sbom", testimage.Artifact{
		Layers: []testimage.Blob{{MediaType: "text/spdx+json", Bytes: []byte(spdxBill)}}})
	inspect := func() {
		t.Helper()
		if _, err := w.ingest.Inspect(t.Context(), w.registry.Host+"/app:1", true); err != nil {
			t.Fatal(err)
		}
	}
	inspect()
	want := []string{"buildkit SPDX 2.3", "cosign SPDX 2.3", "referrer CycloneDX 1.6", "referrer not read"}
	if diff := cmp.Diff(want, w.bills(manifest, root)); diff != "" {
		t.Errorf("bills (-want +got):\n%s", diff)
	}
	// Looked at lately; then again, and nothing is doubled.
	late := testimage.Artifact{ArtifactType: "application/vnd.cyclonedx+json", Subject: &app.Root,
		Layers: []testimage.Blob{{MediaType: "application/vnd.cyclonedx+json", Bytes: []byte(cycloneBill)}}}
	w.attach("r4", late)
	w.now = w.now.Add(time.Minute)
	inspect()
	if got := w.bills(manifest); len(got) != 3 {
		t.Errorf("after a minute: %v", got)
	}
	w.now = w.now.Add(time.Hour)
	inspect()
	if got := w.bills(manifest); len(got) != 4 {
		t.Errorf("after an hour: %v, want one more", got)
	}
	var mark ingest.Mark
	if n, err := w.ingest.Refresh(t.Context(), &mark, 10); n != 0 || err != nil {
		t.Errorf("Refresh: %d, %v; want nothing to do", n, err)
	}
	w.now = w.now.Add(25 * time.Hour)
	if n, err := w.ingest.Refresh(t.Context(), &mark, 10); n != 1 || err != nil {
		t.Errorf("Refresh after a day: %d, %v; want one look", n, err)
	}
	w.drain()
	if got := w.bills(manifest); len(got) != 4 || len(w.jobs(ingest.JobBill)) != 0 {
		t.Errorf("after another look: %v, jobs %v", got, w.jobs(ingest.JobBill))
	}
}

// TestStatements keeps what BuildKit states of an image without a signature, once, and
// says why something says nothing.
func TestStatements(t *testing.T) {
	w := newWorld(t, func(c *ingest.Config) { c.Layer, c.Artifacts = readLayers(t, nil), readArtifacts }, testimage.RegistryOptions{})
	app, err := onDebian("app").Build()
	if err != nil {
		t.Fatal(err)
	}
	const slsa = "https://slsa.dev/provenance/v1"
	good := statementOf(app.Digest(), slsa, `{"runDetails":{"builder":{"id":"b"}}}`)
	index := testimage.Of(onDebian("app"))
	index.Entries = append(index.Entries, testimage.Attestation(app.Digest(), good,
		statementOf(dossier.FromBytes([]byte("another")), slsa, `{}`), statementOf(app.Digest(), "https://example.org/unknown", `{}`),
		statementOf(app.Digest(), "https://slsa.dev/verification_summary/v1", `{}`)))
	w.push("app", "1", index)
	w.attach("r1", testimage.Artifact{ArtifactType: "application/vnd.in-toto+json", Subject: &app.Root, Annotations: map[string]string{"dev.sigstore.bundle.predicateType": "https://slsa.dev/provenance/v0.2"}, Layers: []testimage.Blob{{
		MediaType: "application/vnd.in-toto+json", Bytes: statementOf(app.Digest(), slsa, `{"x":1}`),
	}}})
	for range 2 {
		if _, err := w.ingest.Inspect(t.Context(), w.registry.Host+"/app:1", true); err != nil {
			t.Fatal(err)
		}
		w.now = w.now.Add(25 * time.Hour)
	}
	got := []string{}
	w.view(func(r store.Reader) error {
		for f, err := range r.Holding(t.Context(), []dossier.Digest{app.Digest()}, dossier.Times{}, dossier.FactStatement) {
			var a dossier.AttachedStatement
			if err != nil || json.Unmarshal(f.Body, &a) != nil {
				t.Fatalf("%v: %s", err, f.Body)
			}
			if a.Bytes != nil && !bytes.Equal(a.Bytes, good) {
				t.Errorf("other bytes are kept: %s", a.Bytes)
			}
			got = append(got, fmt.Sprintf("%s %s %v %s", a.How, a.Predicate, a.Bytes != nil, a.Problem))
		}
		return nil
	})
	slices.Sort(got)
	want := []string{
		"buildkit https://slsa.dev/provenance/v1 false the statement does not speak of the image",
		"buildkit https://slsa.dev/provenance/v1 true ",
		"buildkit https://slsa.dev/verification_summary/v1 false reading predicate https://slsa.dev/verification_summary/v1: it names no verifier, or its result is neither PASSED nor FAILED",
		`referrer https://slsa.dev/provenance/v1 false it is said to be a "https://slsa.dev/provenance/v0.2", and is a "https://slsa.dev/provenance/v1"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("statements (-want +got):\n%s", diff)
	}
}

// TestNotation keeps signatures that notation attached, by the form of their envelope.
func TestNotation(t *testing.T) {
	w := newWorld(t, func(c *ingest.Config) { c.Layer, c.Artifacts = readLayers(t, nil), readArtifacts }, testimage.RegistryOptions{})
	app, err := onDebian("app").Build()
	if err != nil {
		t.Fatal(err)
	}
	w.push("app", "1", testimage.Of(onDebian("app")))
	for tag, mediaType := range map[string]string{"r1": "application/jose+json", "r2": "application/cose", "r3": "application/octet-stream"} {
		w.attach(tag, testimage.Artifact{ArtifactType: "application/vnd.cncf.notary.signature", ConfigType: "application/vnd.cncf.notary.signature", Subject: &app.Root, Layers: []testimage.Blob{{MediaType: mediaType, Bytes: []byte(mediaType)}}})
	}
	if _, err := w.ingest.Inspect(t.Context(), w.registry.Host+"/app:1", true); err != nil {
		t.Fatal(err)
	}
	got := []string{}
	w.view(func(r store.Reader) error {
		for f, err := range r.Holding(t.Context(), []dossier.Digest{app.Digest()}, dossier.Times{}, dossier.FactSignature) {
			var e struct {
				Form  string
				Bytes []byte
			}
			if err != nil || json.Unmarshal(f.Body, &e) != nil {
				t.Fatalf("%v: %s", err, f.Body)
			}
			got = append(got, e.Form+" "+string(e.Bytes))
		}
		return nil
	})
	slices.Sort(got)
	if diff := cmp.Diff([]string{"notation-cose application/cose", "notation-jws application/jose+json"}, got); diff != "" {
		t.Errorf("signatures (-want +got):\n%s", diff)
	}
}
