// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/registry/upstream"
	"dossier.dev/dossier/internal/store"
)

// TestOfflineUpstream serves what is kept, and asks nobody.
func TestOfflineUpstream(t *testing.T) {
	p, _, c := newLiarLab(t, proxyOptions{})
	p.checkPullThrough(t, nginx, "", "1.27", c)
	p.want(t, http.StatusOK, "", http.MethodGet, nginx+"/referrers/"+string(c.Digest()), nil)
	p.settle(t, "docker.io/library/nginx", c)
	p.handler.Close()
	set, err := upstream.Open([]upstream.Config{{Name: "docker.io", URL: p.upstream.URL}}, upstream.Options{Offline: true, Now: p.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	off := p.again(t, set)
	p.upstream.ResetRequests()
	p.clock.pass(1000 * time.Hour)
	off.checkPullThrough(t, nginx, "", "1.27", c)
	off.want(t, http.StatusOK, "", http.MethodGet, nginx+"/referrers/"+string(c.Digest()), nil)
	if a := off.do(t, http.MethodGet, nginx+"/tags/list", nil); !strings.Contains(string(a.body), `["1.27"]`) {
		t.Errorf("tags: %s", a.body)
	}
	missing := string(dossier.FromBytes([]byte("missing")))
	off.want(t, http.StatusNotFound, "MANIFEST_UNKNOWN", http.MethodGet, nginx+"/manifests/1.28", nil)
	off.want(t, http.StatusNotFound, "MANIFEST_UNKNOWN", http.MethodGet, nginx+"/manifests/"+missing, nil)
	a := off.want(t, http.StatusNotFound, "BLOB_UNKNOWN", http.MethodGet, nginx+"/blobs/"+missing, nil)
	if !strings.Contains(string(a.body), "offline") {
		t.Errorf("it says %s", a.body)
	}
	off.want(t, http.StatusNotFound, "NAME_UNKNOWN", http.MethodGet, "/v2/docker.io/library/other/tags/list", nil)
	if n := len(p.upstream.Requests()); n != 0 {
		t.Errorf("%d requests left the server", n)
	}
	if s := set.Status()[0]; s.State != dossier.UpstreamOffline || s.Requests != 0 {
		t.Errorf("status: %+v", s)
	}
}

// TestMirrorsAreApart: what is private here, or came from another upstream, is
// not found by asking for its digest elsewhere.
func TestMirrorsAreApart(t *testing.T) {
	p := newProxyLab(t, proxyOptions{})
	private := p.blob(t, "org/private", "secret of the house")
	p.want(t, http.StatusNotFound, "BLOB_UNKNOWN", http.MethodGet, nginx+"/blobs/"+string(private), nil)
	p.want(t, http.StatusNotFound, "", http.MethodHead, "/v2/library/nginx/blobs/"+string(private)+"?ns=docker.io", nil)

	// A blob that two repositories of the upstream share is downloaded once; the
	// second one must have it, too.
	c := sample(t, webImage("linux/amd64", "1"))
	p.pushUp(t, "library/one", "1", c)
	p.checkPullThrough(t, "/v2/docker.io/library/one", "", "1", c)
	p.settle(t, "docker.io/library/one", c)
	layer := string(c.Blobs[len(c.Blobs)-1].Digest)
	p.clock.pass(time.Minute)
	p.upstream.ResetRequests()
	p.want(t, http.StatusOK, "", http.MethodGet, "/v2/docker.io/library/two/blobs/"+layer, nil) // the registry in memory shares its blobs
	if p.upstream.Count(http.MethodHead, "/library/two/blobs/") != 1 || p.upstream.Count(http.MethodGet, "/blobs/") != 0 {
		t.Errorf("asked %+v", p.upstream.Requests())
	}
	holders := 0
	err := p.store.View(t.Context(), func(r store.Reader) error {
		list, err := r.BlobHolders(t.Context(), dossier.Digest(layer), "", 10)
		holders = len(list)
		return err
	})
	if err != nil || holders != 2 {
		t.Errorf("%d holders, %v", holders, err)
	}
}

// TestMirrorsAreReadOnly pushes where nothing can be pushed, and deletes.
func TestMirrorsAreReadOnly(t *testing.T) {
	p, _, c := newLiarLab(t, proxyOptions{})
	p.checkPullThrough(t, nginx, "", "1.27", c)
	p.want(t, http.StatusMethodNotAllowed, "UNSUPPORTED", http.MethodPost, nginx+"/blobs/uploads/", nil)
	p.want(t, http.StatusMethodNotAllowed, "UNSUPPORTED", http.MethodPut, nginx+"/manifests/x", c.Manifests[0].Bytes)
	p.want(t, http.StatusMethodNotAllowed, "UNSUPPORTED", http.MethodPost, "/v2/library/nginx/blobs/uploads/?ns=docker.io", nil)
	p.want(t, http.StatusMethodNotAllowed, "UNSUPPORTED", http.MethodDelete, nginx+"/manifests/1.27", nil)
	p.want(t, http.StatusAccepted, "", http.MethodDelete, nginx+"/manifests/"+string(c.Digest()), nil)
	if list := p.history(t, "docker.io/library/nginx", "1.27"); len(list) != 1 || !list[0].To.IsZero() {
		t.Errorf("history: %+v", list)
	}
	p.upstream.ResetRequests()
	p.want(t, http.StatusOK, "", http.MethodGet, nginx+"/manifests/1.27", nil) // a new copy
	if p.upstream.Count(http.MethodGet, "/manifests/") != 1 {
		t.Errorf("asked %+v", p.upstream.Requests())
	}
	p.settle(t, "docker.io/library/nginx", c)
	// Blobs can be mounted from there like from anywhere.
	d := string(c.Blobs[0].Digest)
	p.want(t, http.StatusCreated, "", http.MethodPost, "/v2/org/app/blobs/uploads/?mount="+d+"&from=docker.io/library/nginx", nil)
}

// TestNamespaces: who names a registry that is not pulled through must not get
// what has the same path here.
func TestNamespaces(t *testing.T) {
	p := newProxyLab(t, proxyOptions{})
	c := sample(t, webImage("linux/amd64", "own"))
	p.push(t, "library/nginx", "1.27", c) // an own repository of the same path
	own := func(status int, code, ns string) {
		t.Helper()
		p.want(t, status, code, http.MethodGet, "/v2/library/nginx/manifests/1.27?ns="+ns, nil)
	}
	own(http.StatusOK, "", "")
	own(http.StatusOK, "", host)
	own(http.StatusOK, "", strings.TrimPrefix(p.url, "http://"))
	own(http.StatusNotFound, "NAME_UNKNOWN", "quay.io")
	own(http.StatusNotFound, "MANIFEST_UNKNOWN", "docker.io")
	own(http.StatusBadRequest, "NAME_INVALID", "a/b")
	own(http.StatusBadRequest, "NAME_INVALID", "http:%2f%2f169.254.169.254")
	own(http.StatusNotFound, "NAME_UNKNOWN", "169.254.169.254")
	for _, r := range p.upstream.Requests() {
		if r.Path != "/v2/" && r.Path != "/v2/library/nginx/manifests/1.27" {
			t.Errorf("asked %+v", r)
		}
	}
}

// TestPushedBefore: what was pushed before its path became that of an upstream
// stays, and can still be deleted.
func TestPushedBefore(t *testing.T) {
	p := newProxyLab(t, proxyOptions{})
	p.handler.Close()
	before := p.again(t, nil)
	c := sample(t, webImage("linux/amd64", "own"))
	before.push(t, "docker.io/org/app", "1", c)
	p.pushUp(t, "org/app", "1", sample(t, webImage("linux/amd64", "theirs")))
	after := p.again(t, p.set)
	after.checkPull(t, "docker.io/org/app", "1", c)
	if n := p.upstream.Count("", "org/app"); n != 0 {
		t.Errorf("asked %d times", n)
	}
	after.want(t, http.StatusMethodNotAllowed, "UNSUPPORTED", http.MethodPost, "/v2/docker.io/org/app/blobs/uploads/", nil)
	after.want(t, http.StatusAccepted, "", http.MethodDelete, "/v2/docker.io/org/app/manifests/1", nil)

	// The other way round: no longer an upstream, and nobody pushes over it.
	m := sample(t, webImage("linux/amd64", "1"))
	p.pushUp(t, "library/nginx", "1.27", m)
	after.checkPullThrough(t, nginx, "", "1.27", m)
	p.settle(t, "docker.io/library/nginx", m)
	last := p.again(t, nil)
	last.checkPull(t, "docker.io/library/nginx", "1.27", m)
	last.want(t, http.StatusForbidden, "DENIED", http.MethodPost, nginx+"/blobs/uploads/", nil)
	last.want(t, http.StatusForbidden, "DENIED", http.MethodPut, nginx+"/manifests/x", m.Manifests[0].Bytes, "Content-Type: "+m.Manifests[0].MediaType)
	last.want(t, http.StatusMethodNotAllowed, "UNSUPPORTED", http.MethodDelete, nginx+"/manifests/1.27", nil)
}
