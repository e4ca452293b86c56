// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/testimage"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// pages follows the links of a list and returns the bodies.
func (p *proxyLab) pages(t testing.TB, path string) []answer {
	t.Helper()
	var all []answer
	for path != "" && len(all) < 20 {
		a := p.want(t, http.StatusOK, "", http.MethodGet, path, nil)
		all = append(all, a)
		path, _, _ = strings.Cut(strings.TrimPrefix(a.header.Get("Link"), "<"), ">")
	}
	return all
}

// TestUpstreamTags lists the tags of an upstream in pages, by either name.
func TestUpstreamTags(t *testing.T) {
	l := &liar{}
	p := newProxyLab(t, proxyOptions{upstream: testimage.RegistryOptions{Intercept: l.intercept}})
	c := sample(t, webImage("linux/amd64", "1"))
	var want []string
	for i := range 5 {
		want = append(want, fmt.Sprint("1.", i))
		p.pushUp(t, "library/nginx", want[i], c)
	}
	tags := func(path string) []string {
		t.Helper()
		var got []string
		for _, a := range p.pages(t, path) {
			var list struct {
				Name string
				Tags []string
			}
			if err := json.Unmarshal(a.body, &list); err != nil || list.Name != "docker.io/library/nginx" || len(list.Tags) > 2 && strings.Contains(path, "n=2") {
				t.Errorf("%s: %v", a.body, err)
			}
			got = append(got, list.Tags...)
		}
		return got
	}
	for _, path := range []string{nginx + "/tags/list", nginx + "/tags/list?n=2", "/v2/library/nginx/tags/list?n=2&ns=docker.io"} {
		if got := tags(path); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	// An upstream that knows no pages.
	l.set(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/tags/list") {
			return false
		}
		_, _ = w.Write([]byte(`{"name":"library/nginx","tags":["1.3","1.0","1.4","1.2","1.1"]}`))
		return true
	})
	if got := tags(nginx + "/tags/list?n=2"); !slices.Equal(got, want) {
		t.Errorf("without pages: %q, want %q", got, want)
	}
	// When it is away: those that were seen.
	p.want(t, http.StatusOK, "", http.MethodGet, nginx+"/manifests/1.2", nil)
	l.set(answering("/", http.StatusBadGateway))
	a := p.want(t, http.StatusOK, "", http.MethodGet, nginx+"/tags/list", nil)
	if string(a.body) != `{"name":"docker.io/library/nginx","tags":["1.2"]}` || a.header.Get("Warning") == "" {
		t.Errorf("%s, Warning %q", a.body, a.header.Get("Warning"))
	}
	p.clock.pass(time.Minute)
	a = p.want(t, http.StatusServiceUnavailable, "UNAVAILABLE", http.MethodGet, "/v2/docker.io/library/other/tags/list", nil)
	if a.header.Get("Warning") != "" {
		t.Error("a failure with a warning")
	}
}

// TestUpstreamReferrers lists what refers to an image elsewhere, by the API and by
// the tag that stands in for it, and pulls it.
func TestUpstreamReferrers(t *testing.T) {
	l := &liar{}
	p := newProxyLab(t, proxyOptions{upstream: testimage.RegistryOptions{Intercept: l.intercept}})
	c := sample(t, webImage("linux/amd64", "1"))
	p.pushUp(t, "library/nginx", "1.27", c)
	subject := ocispec.Descriptor{MediaType: c.Root.MediaType, Digest: c.Root.Digest, Size: c.Root.Size}
	notes := map[string]*testimage.Content{}
	list := ocispec.Index{MediaType: indexType}
	list.SchemaVersion = 2
	for i := range 3 {
		kind := fmt.Sprint("application/x-note-", i%2)
		note := sample(t, testimage.Artifact{ConfigType: kind, Subject: &subject, Annotations: map[string]string{"n": fmt.Sprint(i)}})
		p.pushUp(t, "library/nginx", "", note)
		notes[string(note.Digest())] = note
		d := note.Root
		d.ArtifactType, d.Annotations = kind, map[string]string{"n": fmt.Sprint(i)}
		list.Manifests = append(list.Manifests, d)
	}
	path := nginx + "/referrers/" + string(c.Digest())
	referrers := func(path string) []string {
		t.Helper()
		var got []string
		for _, a := range p.pages(t, path) {
			var index ocispec.Index
			if err := json.Unmarshal(a.body, &index); err != nil || a.header.Get("Content-Type") != indexType {
				t.Errorf("%s: %v", a.body, err)
			}
			for _, d := range index.Manifests {
				if note := notes[string(d.Digest)]; note == nil || d.Annotations["n"] == "" || d.Size != note.Root.Size {
					t.Errorf("%+v", d)
				}
				got = append(got, string(d.Digest))
			}
		}
		if !slices.IsSorted(got) {
			t.Errorf("not in order: %q", got)
		}
		return got
	}
	check := func(asked int) {
		t.Helper()
		p.upstream.ResetRequests()
		for path, want := range map[string]int{
			path: 3, path + "?n=1": 3, path + "?n=2": 3, path + "?artifactType=application/x-note-0": 2, path + "?artifactType=application/x-note-0&n=1": 2,
			path + "?artifactType=none": 0, strings.Replace(path, "docker.io/", "", 1) + "?n=2&ns=docker.io": 3,
		} {
			if got := referrers(path); len(got) != want {
				t.Errorf("%s: %d, want %d", path, len(got), want)
			}
		}
		if n := p.upstream.Count("", "/referrers/"); n != asked {
			t.Errorf("asked %d times, want %d", n, asked)
		}
	}
	check(1)
	check(0) // fresh
	for d, note := range notes {
		a := p.want(t, http.StatusOK, "", http.MethodGet, nginx+"/manifests/"+d, nil)
		if string(a.body) != string(note.Manifests[0].Bytes) {
			t.Errorf("%s differs", d)
		}
	}
	// The upstream does not know the API.
	p.clock.pass(2 * time.Minute)
	body, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	fallback := sample(t, testimage.Raw{MediaType: indexType, Bytes: body})
	p.pushUp(t, "library/nginx", strings.Replace(string(c.Digest()), ":", "-", 1), fallback)
	l.set(answering("/referrers/", http.StatusNotFound))
	check(1)
	// It is away: what was heard last.
	p.clock.pass(2 * time.Minute)
	l.set(answering("/", http.StatusBadGateway))
	a := p.want(t, http.StatusOK, "", http.MethodGet, path, nil)
	if a.header.Get("Warning") == "" || len(referrers(path)) != 3 {
		t.Errorf("Warning %q: %s", a.header.Get("Warning"), a.body)
	}
	// Nothing was heard of this one, and "nothing refers to it" is not known.
	other := string(dossier.FromBytes([]byte("other")))
	p.want(t, http.StatusServiceUnavailable, "UNAVAILABLE", http.MethodGet, nginx+"/referrers/"+other, nil)
	// Questions about what is not there leave nothing behind. That the upstream did not know the
	// API is forgotten by then.
	l.set(nil)
	p.clock.pass(2 * time.Hour)
	p.want(t, http.StatusOK, "", http.MethodGet, nginx+"/referrers/"+other, nil)
	p.upstream.ResetRequests()
	p.want(t, http.StatusOK, "", http.MethodGet, nginx+"/referrers/"+other, nil)
	if p.upstream.Count("", "/referrers/") != 1 {
		t.Error("an empty list about what is not there was kept")
	}
}
