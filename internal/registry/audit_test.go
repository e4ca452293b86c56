// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/audit"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/store/sqlstore"
)

// auditLab is a registry whose audit is read.
type auditLab struct {
	*lab
	reader *audit.Reader
	seen   map[string]bool // facts and times that were shown
}

func newAuditLab(t testing.TB, open func(change func(*registry.Config)) *lab) *auditLab {
	t.Helper()
	log, err := sqlstore.OpenAudit(sqlstore.AuditConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	recorder := audit.Start(t.Context(), audit.RecorderConfig{Log: log, Registry: host})
	t.Cleanup(func() {
		recorder.Close()
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	l := open(func(c *registry.Config) { c.Audit = recorder.Add })
	return &auditLab{lab: l, reader: &audit.Reader{Store: l.store, Log: log, Sync: recorder.Sync}, seen: map[string]bool{}}
}

// all returns the audit, the oldest first.
func (l *auditLab) all(t testing.TB) []dossier.AuditEntry {
	t.Helper()
	list, err := l.reader.Audit(t.Context(), dossier.AuditQuery{Limit: dossier.MaxAuditPage})
	if err != nil || list.Next != "" {
		t.Fatalf("%v, next %q", err, list.Next)
	}
	slices.Reverse(list.Entries)
	return list.Entries
}

// since returns what is new, one line an entry.
func (l *auditLab) since(t testing.TB, names map[dossier.Digest]string) []string {
	t.Helper()
	lines := []string{}
	for i, e := range l.all(t) {
		if key := fmt.Sprint(i, e); l.seen[key] {
			continue
		} else {
			l.seen[key] = true
		}
		if e.Address != "127.0.0.1" || !strings.HasPrefix(e.Client, "Go-http-client/") || e.At.IsZero() {
			t.Errorf("where from, with what, when: %+v", e)
		}
		if (e.Fact == "") == (e.Status == 0) {
			t.Errorf("it is neither in the log nor a fact, or both: %+v", e)
		}
		words := []string{string(e.Action)}
		if e.Denied {
			words = append(words, "denied", fmt.Sprint(e.Status), e.Code)
		}
		add := func(format, value string) {
			if value != "" {
				words = append(words, fmt.Sprintf(format, value))
			}
		}
		add("%s", string(e.Object))
		add("%s", strings.TrimPrefix(e.Repository, host+"/"))
		add(":%s", e.Tag)
		add("@%s", names[e.Digest])
		add("was %s", names[e.Was])
		add("from %s", strings.TrimPrefix(e.Source, host+"/"))
		if e.Bytes > 0 {
			words = append(words, fmt.Sprint(e.Bytes, " bytes"))
		}
		if e.Caller.Kind != "anonymous" {
			words = append(words, "by "+e.Caller.String())
		}
		lines = append(lines, strings.Join(words, " "))
	}
	return lines
}

// layeredManifest is a manifest of one layer.
func layeredManifest(layer dossier.Digest, note string) []byte {
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},`+
		`"layers":[{"mediaType":"text/plain","digest":%q,"size":5}],"annotations":{"note":%q}}`,
		manifestType, dossier.FromBytes([]byte("{}")), layer, note)
}

// TestAuditOfWrites checks that each request that changed something and was
// acknowledged is on record once, as a fact, and no other.
func TestAuditOfWrites(t *testing.T) {
	l := newAuditLab(t, func(change func(*registry.Config)) *lab {
		return newLab(t, func(c *registry.Config) {
			change(c)
			c.Fixed = func(_, tag string) bool { return tag == "1.0.0" }
		})
	})
	one, two := layeredManifest(dossier.FromBytes([]byte("layer")), "1"), layeredManifest(dossier.FromBytes([]byte("layer")), "2")
	names := map[dossier.Digest]string{
		dossier.FromBytes([]byte("{}")): "config", dossier.FromBytes([]byte("layer")): "layer", dossier.FromBytes(one): "one", dossier.FromBytes(two): "two",
	}
	digest := func(name string) string {
		for d, n := range names {
			if n == name {
				return string(d)
			}
		}
		t.Fatal(name)
		return ""
	}
	put := func(ref string, b []byte, status int) {
		t.Helper()
		if a := l.do(t, http.MethodPut, "/v2/app/manifests/"+ref, b, "Content-Type: "+manifestType); a.status != status {
			t.Errorf("PUT %s: %d %s, want %d", ref, a.status, a.body, status)
		}
	}
	size := fmt.Sprint(" ", len(one), " bytes")
	for _, step := range []struct {
		name string
		do   func()
		want []string
	}{
		{"a blob at once", func() { l.blob(t, "app", "{}") }, []string{"push blob app @config 2 bytes"}},
		{"a blob in chunks", func() {
			a := l.want(t, http.StatusAccepted, "", http.MethodPost, "/v2/app/blobs/uploads/", nil)
			a = l.want(t, http.StatusAccepted, "", http.MethodPatch, a.header.Get("Location"), []byte("lay"))
			l.want(t, http.StatusCreated, "", http.MethodPut, a.header.Get("Location")+"?digest="+digest("layer"), []byte("er"))
		}, []string{"push blob app @layer 5 bytes"}},
		{"it is there already", func() { l.blob(t, "app", "layer") }, []string{"push blob app @layer 5 bytes"}},
		{"an upload that ends otherwise", func() {
			a := l.want(t, http.StatusAccepted, "", http.MethodPost, "/v2/app/blobs/uploads/", nil)
			l.want(t, http.StatusNoContent, "", http.MethodDelete, a.header.Get("Location"), nil)
			l.want(t, http.StatusBadRequest, "DIGEST_INVALID", http.MethodPost, "/v2/app/blobs/uploads/?digest="+digest("layer"), []byte("other"))
		}, nil},
		{"a new tag", func() { put("latest", one, http.StatusCreated) }, []string{"push manifest app :latest @one" + size, "tag tag app :latest @one"}},
		{"the same again", func() { put("latest", one, http.StatusCreated) }, []string{"push manifest app :latest @one" + size}},
		{"a tag that moves", func() { put("latest", two, http.StatusCreated) }, []string{"push manifest app :latest @two" + size, "tag tag app :latest @two was one"}},
		{"several tags", func() { put(digest("one")+"?tag=latest&tag=1.0.0", one, http.StatusCreated) },
			[]string{"push manifest app :latest @one" + size, "tag tag app :latest @one was two", "tag tag app :1.0.0 @one"}},
		{"no tag", func() { put(digest("two"), two, http.StatusCreated) }, []string{"push manifest app @two" + size}},
		{"a tag that does not move", func() { put("1.0.0", two, http.StatusConflict) }, []string{"push denied 409 TAG_IMMUTABLE manifest app :1.0.0 @two"}},
		{"a manifest that lacks something", func() {
			put("x", layeredManifest("sha256:"+dossier.Digest(strings.Repeat("0", 64)), ""), http.StatusNotFound)
		}, nil},
		{"a mount", func() {
			l.want(t, http.StatusCreated, "", http.MethodPost, "/v2/other/blobs/uploads/?mount="+digest("layer")+"&from=app", nil)
			l.want(t, http.StatusCreated, "", http.MethodPost, "/v2/third/blobs/uploads/?mount="+digest("config"), nil)
			l.want(t, http.StatusAccepted, "", http.MethodPost, "/v2/third/blobs/uploads/?mount="+digest("layer")+"&from=nowhere", nil)
		}, []string{"mount blob other @layer from app", "mount blob third @config from app"}},
		{"deletions", func() {
			l.want(t, http.StatusAccepted, "", http.MethodDelete, "/v2/app/manifests/latest", nil)
			l.want(t, http.StatusNotFound, "MANIFEST_UNKNOWN", http.MethodDelete, "/v2/app/manifests/latest", nil)
			l.want(t, http.StatusConflict, "IN_USE", http.MethodDelete, "/v2/app/blobs/"+digest("layer"), nil)
			l.want(t, http.StatusAccepted, "", http.MethodDelete, "/v2/app/manifests/"+digest("one"), nil)
			l.want(t, http.StatusAccepted, "", http.MethodDelete, "/v2/app/manifests/"+digest("two"), nil)
			l.want(t, http.StatusAccepted, "", http.MethodDelete, "/v2/app/blobs/"+digest("layer"), nil)
		}, []string{"delete tag app :latest @one", "delete manifest app :1.0.0 @one", "delete tag app :1.0.0 @one", "delete manifest app @two", "delete blob app @layer"}},
	} {
		step.do()
		want := step.want
		if want == nil {
			want = []string{}
		}
		if diff := cmp.Diff(want, l.since(t, names)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}

// TestAuditOfPulls checks what is on record of reading.
func TestAuditOfPulls(t *testing.T) {
	l := newAuditLab(t, func(change func(*registry.Config)) *lab { return newLab(t, change) })
	l.blob(t, "app", "{}")
	layer := l.blob(t, "app", "layer")
	body := layeredManifest(layer, "")
	d := dossier.FromBytes(body)
	l.want(t, http.StatusCreated, "", http.MethodPut, "/v2/app/manifests/latest", body, "Content-Type: "+manifestType)
	names := map[dossier.Digest]string{d: "manifest", layer: "layer"}
	l.since(t, names)
	size := fmt.Sprint(" ", len(body), " bytes")
	for _, tt := range []struct {
		method, path string
		headers      []string
		status       int
		want         string
	}{
		{"GET", "/v2/app/manifests/latest", nil, 200, "pull manifest app :latest @manifest" + size},
		{"HEAD", "/v2/app/manifests/latest", nil, 200, "head manifest app :latest @manifest"},
		{"GET", "/v2/app/manifests/" + string(d), nil, 200, "pull manifest app @manifest" + size},
		{"GET", "/v2/app/manifests/latest", []string{`If-None-Match: "` + string(d) + `"`}, 304, "pull manifest app :latest @manifest"},
		{"GET", "/v2/app/blobs/" + string(layer), nil, 200, "pull blob app @layer 5 bytes"},
		{"HEAD", "/v2/app/blobs/" + string(layer), nil, 200, "head blob app @layer"},
		{"GET", "/v2/app/blobs/" + string(layer), []string{"Range: bytes=1-2"}, 206, "pull blob app @layer 2 bytes"},
		{"GET", "/v2/app/manifests/other", nil, 404, ""},
		{"GET", "/v2/other/manifests/latest", nil, 404, ""},
		{"HEAD", "/v2/app/blobs/" + string(d), nil, 404, ""},
		{"GET", "/v2/app/tags/list", nil, 200, ""},
		{"GET", "/v2/_catalog", nil, 200, ""},
		{"GET", "/v2/app/referrers/" + string(d), nil, 200, ""},
		{"GET", "/v2/", nil, 200, ""},
		{"GET", "/v2/no/such", nil, 404, ""},
	} {
		if a := l.do(t, tt.method, tt.path, nil, tt.headers...); a.status != tt.status {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.path, a.status, tt.status)
		}
		want := []string{}
		if tt.want != "" {
			want = append(want, tt.want)
		}
		if diff := cmp.Diff(want, l.since(t, names)); diff != "" {
			t.Errorf("%s %s %v (-want +got):\n%s", tt.method, tt.path, tt.headers, diff)
		}
	}
}

// TestHostileClient looks at what a client makes of the audit that calls itself
// by something else than a name.
func TestHostileClient(t *testing.T) {
	l := newAuditLab(t, func(change func(*registry.Config)) *lab { return newLab(t, change) })
	l.do(t, http.MethodPost, "/v2/app/blobs/uploads/?digest="+string(dossier.FromBytes(nil)), nil,
		"User-Agent: evil\t\u202elevel=ERROR\u2028 \xff"+strings.Repeat("x", 1000))
	d := dossier.FromBytes(nil)
	l.do(t, http.MethodGet, "/v2/app/blobs/"+string(d), nil, "User-Agent: evil\t\u202elevel=ERROR\u2028 \xff"+strings.Repeat("x", 1000))
	list := l.all(t)
	if len(list) != 2 || list[0].Action != dossier.ActionPush || list[1].Action != dossier.ActionPull {
		t.Fatalf("the audit is %+v", list)
	}
	for _, e := range list {
		if !strings.HasPrefix(e.Client, "evil??level=ERROR? ?xxx") || len(e.Client) != audit.MaxText {
			t.Errorf("%s: client %q of %d bytes", e.Action, e.Client, len(e.Client))
		}
	}
}

// TestAuditIsWhole writes from many at a time and counts: as many facts as
// requests that were acknowledged.
func TestAuditIsWhole(t *testing.T) {
	l := newAuditLab(t, func(change func(*registry.Config)) *lab { return newLab(t, change) })
	l.blob(t, "app", "{}")
	layer := l.blob(t, "app", "layer")
	const pushers, each = 8, 12
	var mu sync.Mutex
	acknowledged := 2
	var group sync.WaitGroup
	for p := range pushers {
		group.Go(func() {
			for i := range each {
				tag := fmt.Sprint("t", (p+i)%4)
				a, err := send(t.Context(), http.MethodPut, l.url+"/v2/app/manifests/"+tag, strings.NewReader(string(layeredManifest(layer, fmt.Sprint(i%3)))),
					"Content-Type: "+manifestType)
				if i%5 == 4 && err == nil && a.status == http.StatusCreated {
					mu.Lock()
					acknowledged++
					mu.Unlock()
					a, err = send(t.Context(), http.MethodDelete, l.url+"/v2/app/manifests/"+tag, nil)
				}
				mu.Lock()
				if err == nil && (a.status == http.StatusCreated || a.status == http.StatusAccepted) {
					acknowledged++
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	facts := map[dossier.Digest]bool{}
	for _, e := range l.all(t) {
		facts[e.Fact] = true
	}
	if len(facts) != acknowledged || acknowledged < pushers*each {
		t.Errorf("%d facts, %d requests were acknowledged", len(facts), acknowledged)
	}
}

// TestAuditOfRefusals checks what is on record of those who may not.
func TestAuditOfRefusals(t *testing.T) {
	l := newAuditLab(t, func(change func(*registry.Config)) *lab {
		return newGuarded(t, `rules:
- {repositories: [app], users: [alice], allow: [pull, push]}
- {repositories: [app], users: [bob], allow: [pull]}`, change).lab
	})
	wrong := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("alice:wrong"))
	d := dossier.FromBytes([]byte("layer"))
	names := map[dossier.Digest]string{d: "layer"}
	for _, tt := range []struct {
		method, path string
		headers      []string
		want         string
	}{
		{"GET", "/v2/", nil, ""}, // asks how to log in
		{"GET", "/v2/", []string{wrong}, "login denied 401 UNAUTHORIZED by claimed:alice"},
		{"GET", "/v2/", []string{"Authorization: Bearer x"}, "login denied 401 UNAUTHORIZED"},
		{"GET", "/v2/", []string{as("alice")}, ""},
		{"GET", "/v2/app/manifests/latest", nil, "pull denied 401 UNAUTHORIZED manifest app :latest"},
		{"HEAD", "/v2/other/blobs/" + string(d), []string{as("bob")}, "pull denied 403 DENIED blob other @layer by user:bob"},
		{"POST", "/v2/app/blobs/uploads/", nil, "push denied 401 UNAUTHORIZED blob app"},
		{"POST", "/v2/app/blobs/uploads/?mount=" + string(d) + "&from=base", nil, "mount denied 401 UNAUTHORIZED blob app @layer from base"},
		{"PUT", "/v2/app/manifests/latest", nil, "push denied 401 UNAUTHORIZED manifest app :latest"},
		{"DELETE", "/v2/app/manifests/" + string(d), nil, "delete denied 401 UNAUTHORIZED manifest app @layer"},
		{"DELETE", "/v2/app/blobs/" + string(d), nil, "delete denied 401 UNAUTHORIZED blob app @layer"},
		{"GET", "/v2/app/tags/list", nil, "list denied 401 UNAUTHORIZED app"},
		{"GET", "/v2/_catalog", []string{wrong}, "list denied 401 UNAUTHORIZED by claimed:alice"},
		{"GET", "/v2/no/such", []string{wrong}, "other denied 401 UNAUTHORIZED by claimed:alice"},
		{"POST", "/v2/app/blobs/uploads/", []string{as("alice"), "Sec-Fetch-Site: cross-site"}, "push denied 403 DENIED blob app"},
		{"GET", "/v2/app/manifests/latest", []string{as("alice")}, ""}, // it is not there
		{"POST", "/v2/app/blobs/uploads/?digest=" + string(dossier.FromBytes(nil)), []string{as("alice")}, "push blob app by user:alice"},
	} {
		l.do(t, tt.method, tt.path, nil, tt.headers...)
		want := []string{}
		if tt.want != "" {
			want = append(want, tt.want)
		}
		if diff := cmp.Diff(want, l.since(t, names)); diff != "" {
			t.Errorf("%s %s %v (-want +got):\n%s", tt.method, tt.path, tt.headers, diff)
		}
	}
}
