// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
)

const manifestType = "application/vnd.oci.image.manifest.v1+json"

// tags is how many tags there are.
const tags = 5

// TestDifferential sends the same random requests to Dossier and to another
// registry, which keeps all in memory, and compares what they answer.
func TestDifferential(t *testing.T) {
	const seeds, requests = 8, 300
	dossier := serve(t, t.TempDir(), "").host
	other := httptest.NewServer(ociserver.New(ocimem.New(), nil))
	t.Cleanup(other.Close)
	for seed := range uint64(seeds) {
		p := &pair{
			random: rand.New(rand.NewPCG(seed, 1)), repository: fmt.Sprintf("seed/%d", seed),
			dossier: "http://" + dossier, other: other.URL,
		}
		// An unknown repository has no referrers here, and is an error there.
		p.pushBlob(t, "/v2/"+p.repository, []byte("first"))
		for range requests {
			if !p.step(t) {
				t.Fatalf("seed %d: the registries differ after:\n%s", seed, strings.Join(p.history, "\n"))
			}
		}
		if p.agreed[http.StatusOK] < 10 || p.agreed[http.StatusNotFound] < 5 || p.agreed[http.StatusCreated] < 20 ||
			p.agreed[http.StatusPartialContent] < 3 || p.agreed[http.StatusAccepted] < 2 {
			t.Errorf("seed %d compares too little: %v", seed, p.agreed)
		}
	}
}

// pair is two registries that are asked the same.
type pair struct {
	random         *rand.Rand
	repository     string
	dossier, other string
	blobs          [][]byte
	manifests      []manifest
	history        []string
	agreed         map[int]int // answers, by status
}

type manifest struct {
	mediaType string
	body      []byte
}

// step sends one request to both and reports whether they agree.
func (p *pair) step(t *testing.T) bool {
	base := "/v2/" + p.repository
	tag := fmt.Sprint("tag", p.random.IntN(tags))
	switch p.random.IntN(14) {
	case 0, 1:
		b := fmt.Appendf(nil, "blob %d", p.random.IntN(30))
		p.blobs = append(p.blobs, b)
		return p.pushBlob(t, base, b)
	case 2, 3, 4:
		m := p.newManifest()
		p.manifests = append(p.manifests, m)
		ref := tag
		if p.random.IntN(2) == 0 {
			ref = sum(m.body)
		}
		return p.same(t, http.MethodPut, base+"/manifests/"+ref, m.body, m.mediaType)
	case 5:
		return p.same(t, http.MethodGet, base+"/manifests/"+tag, nil, "")
	case 6:
		return p.same(t, http.MethodHead, base+"/manifests/"+sum(p.someManifest().body), nil, "")
	case 7:
		return p.same(t, http.MethodGet, base+"/manifests/"+sum(p.someManifest().body), nil, "")
	case 8:
		return p.same(t, http.MethodGet, base+"/blobs/"+sum(p.someBlob()), nil, "")
	case 9:
		return p.same(t, http.MethodGet, base+"/tags/list", nil, "")
	case 10:
		return p.same(t, http.MethodGet, base+"/referrers/"+sum(p.someManifest().body), nil, "")
	case 11, 12:
		return p.sameRange(t, base+"/blobs/"+sum(p.someBlob()))
	}
	switch p.random.IntN(3) {
	case 0:
		return p.same(t, http.MethodDelete, base+"/manifests/"+tag, nil, "")
	case 1:
		return p.same(t, http.MethodDelete, base+"/manifests/"+sum(p.someManifest().body), nil, "")
	}
	return p.same(t, http.MethodDelete, base+"/blobs/"+sum(p.someBlob()), nil, "")
}

func (p *pair) someBlob() []byte {
	if len(p.blobs) == 0 || p.random.IntN(6) == 0 {
		return fmt.Appendf(nil, "unknown %d", p.random.IntN(100))
	}
	return p.blobs[p.random.IntN(len(p.blobs))]
}

func (p *pair) someManifest() manifest {
	if len(p.manifests) == 0 || p.random.IntN(6) == 0 {
		return manifest{manifestType, fmt.Appendf(nil, "unknown %d", p.random.IntN(100))}
	}
	return p.manifests[p.random.IntN(len(p.manifests))]
}

// newManifest makes an image manifest, with a subject now and then. What it
// names may be there or not.
func (p *pair) newManifest() manifest {
	type descriptor struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
		Size      int    `json:"size"`
	}
	describe := func(mediaType string, b []byte) descriptor { return descriptor{mediaType, sum(b), len(b)} }
	m := struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		Config        descriptor        `json:"config"`
		Layers        []descriptor      `json:"layers"`
		Subject       *descriptor       `json:"subject,omitempty"`
		Annotations   map[string]string `json:"annotations,omitempty"`
	}{SchemaVersion: 2, MediaType: manifestType, Config: describe("application/vnd.example.config", p.someBlob()), Layers: []descriptor{}}
	for range p.random.IntN(3) {
		m.Layers = append(m.Layers, describe("text/plain", p.someBlob()))
	}
	if p.random.IntN(3) == 0 {
		subject := p.someManifest()
		d := describe(subject.mediaType, subject.body)
		m.Subject, m.Annotations = &d, map[string]string{"n": fmt.Sprint(p.random.IntN(9))}
	}
	b, _ := json.Marshal(m) // strings and numbers
	return manifest{manifestType, b}
}

// pushBlob uploads a blob to both.
func (p *pair) pushBlob(t *testing.T, base string, b []byte) bool {
	p.history = append(p.history, "push blob "+sum(b))
	var statuses [2]int
	for i, host := range []string{p.dossier, p.other} {
		a := p.send(t, host, http.MethodPost, base+"/blobs/uploads/", nil, "")
		location := a.header.Get("Location")
		location = location[strings.Index(location, "/v2/"):]
		separator := "?"
		if strings.Contains(location, "?") {
			separator = "&"
		}
		statuses[i] = p.send(t, host, http.MethodPut, location+separator+"digest="+sum(b), b, "application/octet-stream").status
	}
	p.count(statuses[0])
	return statuses[0] == statuses[1]
}

// same sends a request to both and compares the answers. A refusal to delete
// what is needed, which only Dossier knows, is not sent on.
func (p *pair) same(t *testing.T, method, path string, body []byte, contentType string) bool {
	a := p.send(t, p.dossier, method, path, body, contentType)
	if a.status == http.StatusConflict && method == http.MethodDelete {
		return strings.Contains(string(a.body), "IN_USE")
	}
	if base, digest, ok := strings.Cut(path, "/manifests/sha256:"); ok && method == http.MethodDelete {
		p.dropTags(t, base, "sha256:"+digest)
	}
	b := p.send(t, p.other, method, path, body, contentType)
	if b.status == http.StatusInternalServerError && strings.Contains(string(b.body), "not found") {
		b.status = http.StatusNotFound // its word for a manifest that lacks a child
	}
	p.history = append(p.history, fmt.Sprintf("%s %s: %d %d", method, path, a.status, b.status))
	p.count(a.status)
	if a.status != b.status {
		p.history = append(p.history, string(a.body), string(b.body))
		return false
	}
	if a.status >= http.StatusBadRequest || method != http.MethodGet {
		return method != http.MethodHead || a.header.Get("Docker-Content-Digest") == b.header.Get("Docker-Content-Digest")
	}
	if strings.HasSuffix(path, "/tags/list") || strings.Contains(path, "/referrers/") {
		a.body, b.body = sorted(a.body), sorted(b.body)
	}
	p.history = append(p.history, string(a.body), string(b.body))
	return string(a.body) == string(b.body)
}

// sameRange asks both for a part of a blob. The other registry does not know parts
// that are counted from the end, nor several at a time.
func (p *pair) sameRange(t *testing.T, path string) bool {
	first := p.random.IntN(12)
	want := fmt.Sprintf("bytes=%d-", first)
	if p.random.IntN(3) > 0 {
		want += fmt.Sprint(first + p.random.IntN(12))
	}
	var answers [2]answer
	for i, host := range []string{p.dossier, p.other} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, host+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Range", want)
		if answers[i], err = roundTrip(r); err != nil {
			t.Fatal(err)
		}
	}
	a, b := answers[0], answers[1]
	// Its words for a part that begins at the end, or after it.
	if b.status == http.StatusPartialContent && len(b.body) == 0 || b.status == http.StatusInternalServerError && strings.Contains(string(b.body), "invalid range") {
		b.status = http.StatusRequestedRangeNotSatisfiable
	}
	p.history = append(p.history, fmt.Sprintf("%s of %s: %d %q, %d %q", want, path, a.status, a.body, b.status, b.body))
	p.count(a.status)
	if a.status != b.status {
		return false
	}
	return a.status >= http.StatusBadRequest || string(a.body) == string(b.body) && a.header.Get("Content-Range") == b.header.Get("Content-Range")
}

// sorted returns what a list of referrers or of tags holds, in order.
func sorted(body []byte) []byte {
	var list struct {
		Tags      []string
		Manifests []struct {
			Digest, MediaType, ArtifactType string
			Size                            int
			Annotations                     map[string]string
		}
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return body
	}
	lines := list.Tags
	for _, m := range list.Manifests {
		lines = append(lines, fmt.Sprintf("%+v", m))
	}
	return []byte(strings.Join(slices.Sorted(slices.Values(lines)), "\n"))
}

// dropTags drops the tags of a manifest that is to be deleted. The other
// registry keeps them, and they come back with the manifest.
func (p *pair) dropTags(t *testing.T, base, digest string) {
	for i := range tags {
		tag := fmt.Sprint(base, "/manifests/tag", i)
		if p.send(t, p.other, http.MethodHead, tag, nil, "").header.Get("Docker-Content-Digest") == digest {
			p.send(t, p.other, http.MethodDelete, tag, nil, "")
		}
	}
}

func (p *pair) count(status int) {
	if p.agreed == nil {
		p.agreed = map[int]int{}
	}
	p.agreed[status]++
}

func (p *pair) send(t *testing.T, host, method, path string, body []byte, contentType string) answer {
	t.Helper()
	a, err := do(t.Context(), method, host+path, body, contentType)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
