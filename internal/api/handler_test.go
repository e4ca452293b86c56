// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// answers gives what it holds, and remembers what it was asked.
type answers struct {
	list    dossier.ImageList
	found   dossier.FoundList
	history dossier.History
	audit   dossier.AuditList
	err     error
	steps   chan step // of Watch; nil: it waits for its end

	asked string
}

func (a *answers) ask(format string, args ...any) error {
	a.asked = fmt.Sprintf(format, args...)
	return a.err
}

func (a *answers) Images(_ context.Context, q dossier.ImagesQuery) (dossier.ImageList, error) {
	return a.list, a.ask("images %v", q)
}

func (a *answers) Dossier(_ context.Context, ref string, at dossier.Times) (dossier.Dossier, error) {
	return dossier.Dossier{MediaType: ref}, a.ask("dossier %s %v", ref, at)
}

func (a *answers) Proof(_ context.Context, ref string, at dossier.Times) ([]byte, error) {
	return []byte("{}"), a.ask("proof %s %v", ref, at)
}

func (a *answers) Where(_ context.Context, term string, limit int) (dossier.FoundList, error) {
	return a.found, a.ask("where %s %d", term, limit)
}

func (a *answers) History(_ context.Context, ref string, at time.Time) (dossier.History, error) {
	return a.history, a.ask("history %s %v", ref, at)
}

func (a *answers) Changes(_ context.Context, q dossier.TagDiffQuery) (dossier.TagDiff, error) {
	return dossier.TagDiff{Changes: []dossier.TagChange{}}, a.ask("changes %+v", q)
}

func (a *answers) SBOM(_ context.Context, q dossier.SBOMQuery) (dossier.SBOM, error) {
	return dossier.SBOM{Name: q.Ref, Packages: []dossier.SBOMPackage{{PackageAt: dossier.PackageAt{Package: dossier.Package{PURL: "pkg:npm/a@1", Type: "npm", Name: "a", Version: "1"}}}}},
		a.ask("sbom %s %s %v", q.Ref, q.Platform, q.At)
}

func (a *answers) Findings(_ context.Context, q dossier.FindingQuery) (dossier.FindingList, error) {
	return dossier.FindingList{Artifact: q.Ref}, a.ask("findings %s %s %v", q.Ref, q.Platform, q.At)
}

func (a *answers) Explain(_ context.Context, q dossier.FindingQuery, id string) (dossier.Explanation, error) {
	return dossier.Explanation{Artifact: q.Ref, Vulnerability: id}, a.ask("explain %s %s", q.Ref, id)
}

func (a *answers) Watch(ctx context.Context, _ dossier.ImagesQuery) iter.Seq2[dossier.Change, error] {
	return func(yield func(dossier.Change, error) bool) {
		for {
			select {
			case s := <-a.steps:
				if !yield(s.change, s.err) || s.err != nil {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

func (a *answers) Audit(_ context.Context, q dossier.AuditQuery) (dossier.AuditList, error) {
	return a.audit, a.ask("audit %v", q)
}

func openStore(t *testing.T) store.Store {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(t.TempDir(), "test.db"), Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// start serves over loopback.
func start(t *testing.T, c Config) (*Handler, string) {
	t.Helper()
	if c.Answers == nil {
		c.Answers = &answers{}
	}
	c.Now = func() time.Time { return noon }
	h := New(c)
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	t.Cleanup(h.Drain)
	return h, server.URL
}

// request is one request and its whole response. headers are "Name: value".
func request(t *testing.T, method, url string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
		}
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func get(t *testing.T, url string, headers ...string) (*http.Response, string) {
	t.Helper()
	return request(t, http.MethodGet, url, headers...)
}

func TestParametersReachTheAnswers(t *testing.T) {
	a := &answers{}
	_, url := start(t, Config{Answers: a})
	d := "sha256:" + strings.Repeat("ab", 32)
	at, known := "2026-01-02T03:04:05.000006Z", "2026-01-03"
	times := fmt.Sprint(dossier.Times{
		Valid: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), Recorded: time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC)})
	never := fmt.Sprint(dossier.Times{})
	tests := []struct{ path, want string }{
		{"images", fmt.Sprint("images ", dossier.ImagesQuery{})},
		{"images?namespace=a&namespace=b&cluster=c&selector=x%3Dy&watch=false", fmt.Sprint("images ",
			dossier.ImagesQuery{Clusters: []string{"c"}, Namespaces: []string{"a", "b"}, Selector: "x=y"})},
		{"dossiers?ref=nginx%3A1&at=" + at + "&knownAt=" + known, "dossier nginx:1 " + times},
		{"dossiers", "dossier  " + never},
		{"proofs?ref=nginx%3A1&at=" + at + "&knownAt=" + known, "proof nginx:1 " + times},
		{"digests/" + d, "dossier " + d + " " + never},
		{"where?term=a+b", "where a b 100"},
		{"where?term=a&limit=-3", "where a 0"},
		{"history?ref=docker.io/library/", fmt.Sprint("history docker.io/library/ ", time.Time{})},
		{"history?ref=a&at=" + known, fmt.Sprint("history a ", time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC))},
		{"changes?repository=a/&from=" + known + "&to=2026-01-04&after=b&limit=7", fmt.Sprintf("changes %+v", dossier.TagDiffQuery{
			Repository: "a/", From: time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 1, 4, 0, 0, 0, 0, time.UTC), After: "b", Limit: 7})},
		{"changes?repository=a", fmt.Sprintf("changes %+v", dossier.TagDiffQuery{Repository: "a", Limit: MaxTags})},
	}
	for _, tt := range tests {
		a.asked = ""
		resp, body := get(t, url+"/api/v1/"+tt.path)
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s %s", tt.path, resp.Status, body)
		}
		if got := a.asked; got != tt.want {
			t.Errorf("%s asked\n%s, want\n%s", tt.path, got, tt.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	_, url := start(t, Config{Store: openStore(t)})
	d := "sha256:" + strings.Repeat("ab", 32)
	tests := []struct {
		method, path string
		status       int
		kind         dossier.Kind
	}{
		{"GET", "/", 404, dossier.KindNotFound},
		{"GET", "/api/v1/nothing", 404, dossier.KindNotFound},
		{"POST", "/api/v1/images", 405, dossier.KindUnsupported},
		{"DELETE", "/api/v1/digests/" + d, 405, dossier.KindUnsupported},
		{"GET", "/api/v1/images?colour=red", 400, dossier.KindInvalid},
		{"GET", "/api/v1/images?selector=a&selector=b", 400, dossier.KindInvalid},
		{"GET", "/api/v1/images?namespace=", 400, dossier.KindInvalid},
		{"GET", "/api/v1/images?at=yesterday", 400, dossier.KindInvalid},
		{"GET", "/api/v1/images?watch=yes", 400, dossier.KindInvalid},
		{"GET", "/api/v1/images?watch=true&at=2026-01-01", 400, dossier.KindInvalid},
		{"GET", "/api/v1/images?selector=%ff", 400, dossier.KindInvalid},
		{"GET", "/api/v1/images?selector=%00", 400, dossier.KindInvalid},
		{"GET", "/api/v1/images?selector=%zz", 400, dossier.KindInvalid},
		{"GET", "/api/v1/images?selector=" + strings.Repeat("a", MaxQuery), 413, dossier.KindLimit},
		{"GET", "/api/v1/images?" + strings.Repeat("namespace=a&", MaxValues), 413, dossier.KindLimit},
		{"GET", "/api/v1/where?term=a&limit=x", 400, dossier.KindInvalid},
		{"GET", "/api/v1/where?term=a&limit=10001", 413, dossier.KindLimit},
		{"GET", "/api/v1/digests/sha256:12", 400, dossier.KindInvalid},
		{"GET", "/api/v1/digests/x/tags", 400, dossier.KindInvalid},
		{"GET", "/api/v1/facts/x", 400, dossier.KindInvalid},
		{"GET", "/api/v1/facts/" + d, 404, dossier.KindNotFound},
		{"GET", "/api/v1/subjects/x/facts", 400, dossier.KindInvalid},
		{"GET", "/api/v1/subjects/" + d + "/facts?limit=0", 400, dossier.KindInvalid},
		{"GET", "/api/v1/subjects/" + d + "/facts?after=a", 400, dossier.KindInvalid},
		{"GET", "/healthz?x=1", 400, dossier.KindInvalid},
	}
	for _, tt := range tests {
		resp, body := request(t, tt.method, url+tt.path)
		var p dossier.Problem
		if err := json.Unmarshal([]byte(body), &p); err != nil {
			t.Errorf("%s %.80s: %v in %s", tt.method, tt.path, err, body)
			continue
		}
		if resp.StatusCode != tt.status || p.Kind != tt.kind || p.Message == "" {
			t.Errorf("%s %.80s: %d %+v, want %d and kind %q", tt.method, tt.path, resp.StatusCode, p, tt.status, tt.kind)
		}
		if got := resp.Header.Get("Content-Type"); got != problemType {
			t.Errorf("%s %.80s: type %s, want %s", tt.method, tt.path, got, problemType)
		}
	}
}

func TestBodyIsRefused(t *testing.T) {
	_, url := start(t, Config{})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/api/v1/images", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("got %s, want 400", resp.Status)
	}
}

// allKinds are all kinds of error.
var allKinds = []dossier.Kind{
	dossier.KindInternal, dossier.KindInvalid, dossier.KindNotFound, dossier.KindConflict, dossier.KindDenied, dossier.KindLimit,
	dossier.KindUnavailable, dossier.KindCorrupt, dossier.KindUnsupported, dossier.KindStorage,
}

func TestEveryKindHasItsStatus(t *testing.T) {
	if len(statuses) != len(allKinds) {
		t.Errorf("%d statuses, want %d", len(statuses), len(allKinds))
	}
	a := &answers{}
	_, url := start(t, Config{Answers: a})
	seen := map[int]dossier.Kind{}
	for _, kind := range allKinds {
		a.err = fmt.Errorf("outer: %w", &dossier.Error{Kind: kind, Op: "doing", Hint: "do it again"})
		resp, body := get(t, url+"/api/v1/history?ref=a")
		want, _ := json.Marshal(dossier.Problem{Kind: kind, Message: "outer: doing", Hint: "do it again"})
		if body != string(want) {
			t.Errorf("%s: got %s, want %s", kind, body, want)
		}
		if other, ok := seen[resp.StatusCode]; ok || resp.StatusCode < 400 {
			t.Errorf("%s: status %d, as of %q", kind, resp.StatusCode, other)
		}
		seen[resp.StatusCode] = kind
		if got := resp.Header.Get("Retry-After") != ""; got != (kind == dossier.KindUnavailable) {
			t.Errorf("%s: Retry-After: %v", kind, got)
		}
	}
	a.err = errors.New("the password is swordfish")
	resp, body := get(t, url+"/api/v1/history?ref=a")
	if resp.StatusCode != http.StatusInternalServerError || strings.Contains(body, "swordfish") || !strings.Contains(body, "internal error") {
		t.Errorf("an error without a kind: %s %s", resp.Status, body)
	}
}

func TestHeaders(t *testing.T) {
	_, url := start(t, Config{})
	for _, path := range []string{"/api/v1/images", "/healthz", "/nothing"} {
		resp, _ := get(t, url+path, "Origin: https://evil.example")
		h := resp.Header
		if h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: headers %v", path, h)
		}
	}
	resp, body := request(t, http.MethodHead, url+"/api/v1/images")
	if resp.StatusCode != http.StatusOK || body != "" {
		t.Errorf("HEAD: %s %q", resp.Status, body)
	}
}

func TestHostMustBeLoopback(t *testing.T) {
	_, url := start(t, Config{LoopbackOnly: true})
	_, open := start(t, Config{})
	tests := []struct {
		host string
		want int
	}{
		{"127.0.0.1:8480", 200}, {"127.1.2.3", 200}, {"localhost:8480", 200}, {"LOCALHOST", 200}, {"[::1]:8480", 200}, {"[::1]", 200},
		{"evil.example", 403}, {"evil.example:8480", 403}, {"localhost.evil.example", 403}, {"127.0.0.1.evil.example:80", 403},
		{"10.0.0.1:8480", 403}, {"0.0.0.0:8480", 403},
	}
	for _, tt := range tests {
		if resp, _ := get(t, url+"/api/v1/images", "Host: "+tt.host); resp.StatusCode != tt.want {
			t.Errorf("Host %s: %s, want %d", tt.host, resp.Status, tt.want)
		}
		if resp, _ := get(t, open+"/api/v1/images", "Host: "+tt.host); resp.StatusCode != 200 {
			t.Errorf("Host %s where any is good: %s", tt.host, resp.Status)
		}
	}
}

// sampleList is a list too long to be held back.
func sampleList(n int) dossier.ImageList {
	list := dossier.ImageList{
		AsOf: noon, Clusters: []dossier.Cluster{{ID: "1", Name: `say "images":[`}}, Notes: []string{"a <note>"}, Images: []dossier.Dossier{},
	}
	for i := range n {
		list.Images = append(list.Images, dossier.Dossier{
			Digest: dossier.FromBytes([]byte{byte(i), byte(i >> 8)}), Requested: []string{fmt.Sprintf("registry.example/app:%d", i)},
			Answers: dossier.Answers{What: dossier.Answer{Summary: "a & b <c>", AsOf: noon}},
		})
	}
	return list
}

func TestListIsTheSameHoweverItIsSent(t *testing.T) {
	for _, n := range []int{0, 1, 2, 300} {
		a := &answers{list: sampleList(n)}
		_, url := start(t, Config{Answers: a})
		for _, encoding := range []string{"identity", "gzip", "br;q=1, gzip;q=0", "br, gzip;q=0.5"} {
			resp, body := get(t, url+"/api/v1/images", "Accept-Encoding: "+encoding)
			packed := resp.Header.Get("Content-Encoding") == "gzip"
			if want := n == 300 && strings.Contains(encoding, "gzip") && !strings.HasSuffix(encoding, "q=0"); packed != want {
				t.Errorf("%d images, %s: compressed %v, want %v", n, encoding, packed, want)
			}
			if packed {
				z, err := gzip.NewReader(strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(z)
				if err != nil {
					t.Fatal(err)
				}
				body = string(b)
			}
			var got dossier.ImageList
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatalf("%d images: %v", n, err)
			}
			if diff := cmp.Diff(a.list, got); diff != "" {
				t.Errorf("%d images, %s (-want +got):\n%s", n, encoding, diff)
			}
		}
	}
}

func TestFormsOfAcceptEncoding(t *testing.T) {
	tests := map[string]bool{
		"": false, "identity": false, "gzip": true, "deflate, gzip": true, "*": true, "gzip;q=0": false, "gzip;q=0.0": false,
		"gzip; q=0.1": true, "gzipped": false,
	}
	for header, want := range tests {
		if got := acceptsGzip(header); got != want {
			t.Errorf("acceptsGzip(%q) = %v, want %v", header, got, want)
		}
	}
}
