// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

// start serves a handler over loopback and returns a client of it.
func start(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	c, err := New(server.URL, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		url, token string
		ok         bool
	}{
		{"http://127.0.0.1:8480", "", true},
		{"http://127.0.0.1:8480/", "secret", true},
		{"http://[::1]:8480", "secret", true},
		{"http://localhost", "secret", true},
		{"https://dossier.example/prefix/", "secret", true},
		{"http://dossier.example", "", true},
		{"http://dossier.example", "secret", false},
		{"http://127.0.0.1.dossier.example", "secret", false},
		{"127.0.0.1:8480", "", false},
		{"localhost:8480", "", false},
		{"ftp://dossier.example", "", false},
		{"http://", "", false},
		{"", "", false},
		{"https://me:hunter2@dossier.example", "", false},
		{"https://dossier.example?a=hunter2", "", false},
		{"https://dossier.example/#hunter2", "", false},
		{"http://dossier.example:port", "", false},
	}
	for _, tt := range tests {
		_, err := New(tt.url, Options{Token: tt.token})
		switch {
		case (err == nil) != tt.ok:
			t.Errorf("New(%q, %q): %v, want ok: %v", tt.url, tt.token, err, tt.ok)
		case err != nil && (dossier.KindOf(err) != dossier.KindInvalid || dossier.HintOf(err) == "" || strings.Contains(err.Error(), "hunter2")):
			t.Errorf("New(%q): %v, hint %q", tt.url, err, dossier.HintOf(err))
		}
	}
}

func TestRequests(t *testing.T) {
	var got string
	c := start(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.URL.RequestURI()
		fmt.Fprint(w, "{}")
	})
	ctx := t.Context()
	d := dossier.FromBytes(nil)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.FixedZone("", 3600))
	times := dossier.Times{Valid: at, Recorded: at.Add(time.Hour)}
	tests := []struct {
		ask  func() error
		want string
	}{
		{func() error { _, err := c.Images(ctx, dossier.ImagesQuery{}); return err }, "/images"},
		{func() error {
			_, err := c.Images(ctx, dossier.ImagesQuery{Clusters: []string{"c"}, Namespaces: []string{"a", "b"}, Selector: "x=y,z", At: times})
			return err
		}, "/images?at=2026-01-02T02%3A04%3A05.000006Z&cluster=c&knownAt=2026-01-02T03%3A04%3A05.000006Z&namespace=a&namespace=b&selector=x%3Dy%2Cz"},
		{func() error { _, err := c.Dossier(ctx, "a/b:1&?", dossier.Times{}); return err }, "/dossiers?ref=a%2Fb%3A1%26%3F"},
		{func() error { _, err := c.Proof(ctx, "a/b:1", times); return err }, "/proofs?at=2026-01-02T02%3A04%3A05.000006Z&knownAt=2026-01-02T03%3A04%3A05.000006Z&ref=a%2Fb%3A1"},
		{func() error { _, err := c.Digest(ctx, d, dossier.Times{}); return err }, "/digests/" + string(d)},
		{func() error { _, err := c.Digest(ctx, "a/../b?", dossier.Times{}); return err }, ""},
		{func() error { _, err := c.Tags(ctx, d, at); return err }, "/digests/" + string(d) + "/tags?at=2026-01-02T02%3A04%3A05.000006Z"},
		{func() error { _, err := c.Where(ctx, "x*", 7); return err }, "/where?limit=7&term=x%2A"},
		{func() error { _, err := c.History(ctx, "a/", time.Time{}); return err }, "/history?ref=a%2F"},
		{func() error { _, err := c.History(ctx, "a", at); return err }, "/history?at=2026-01-02T02%3A04%3A05.000006Z&ref=a"},
		{func() error {
			_, err := c.Changes(ctx, dossier.TagDiffQuery{Repository: "a/", From: at, After: "b", Limit: 7})
			return err
		}, "/changes?after=b&from=2026-01-02T02%3A04%3A05.000006Z&limit=7&repository=a%2F"},
		{func() error { _, err := c.SBOM(ctx, dossier.SBOMQuery{Ref: "a", Platform: "linux/arm64"}); return err }, "/sbom?platform=linux%2Farm64&ref=a"},
		{func() error { _, err := c.Clusters(ctx); return err }, "/clusters"},
		{func() error { _, err := c.Jobs(ctx); return err }, "/jobs"},
		{func() error { _, err := c.Upstreams(ctx); return err }, "/upstreams"},
		{func() error { _, err := c.Fact(ctx, d); return err }, "/facts/" + string(d)},
	}
	for _, tt := range tests {
		got = ""
		err := tt.ask()
		want := tt.want
		if want != "" {
			want = apiPath + want
		} else if dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("a digest that is none: %v", err)
		}
		if err != nil && tt.want != "" {
			t.Errorf("%s: %v", tt.want, err)
		}
		if got != want {
			t.Errorf("asked\n%s, want\n%s", got, want)
		}
	}
}

func TestLog(t *testing.T) {
	got := ""
	c := start(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.URL.RequestURI()
		fmt.Fprint(w, "bytes")
	})
	b, err := c.Log(t.Context(), "tile/0/x001/234.p/7")
	if err != nil || string(b) != "bytes" || got != "/log/tile/0/x001/234.p/7" {
		t.Errorf("asked %s: %q, %v", got, b, err)
	}
}

func TestErrorsOfEveryKindComeAcross(t *testing.T) {
	kinds := []dossier.Kind{
		dossier.KindInternal, dossier.KindInvalid, dossier.KindNotFound, dossier.KindConflict, dossier.KindDenied, dossier.KindLimit,
		dossier.KindUnavailable, dossier.KindCorrupt, dossier.KindUnsupported, dossier.KindStorage,
	}
	for _, kind := range kinds {
		want := &dossier.Error{Kind: kind, Op: "doing", Subject: "this", Hint: "do that", Err: errors.New("why <&>")}
		c := start(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusTeapot)
			_ = json.NewEncoder(w).Encode(dossier.ProblemOf(want))
		})
		_, err := c.History(t.Context(), "x", time.Time{})
		for _, err := range append([]error{err}, last(c.Watch(t.Context(), dossier.ImagesQuery{}))) {
			if dossier.KindOf(err) != kind || err.Error() != want.Error() || dossier.HintOf(err) != want.Hint {
				t.Errorf("got %v (%s, %q), want %v (%s, %q)", err, dossier.KindOf(err), dossier.HintOf(err), want, kind, want.Hint)
			}
		}
	}
}

// last returns the error that a sequence ends with, or nil.
func last[T any](seq iter.Seq2[T, error]) error {
	var last error
	for _, err := range seq {
		last = err
	}
	return last
}

func TestSomethingElseAnswers(t *testing.T) {
	answer := func(status int, mediaType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", mediaType)
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	tests := []struct {
		name    string
		handler http.HandlerFunc
		want    dossier.Kind
	}{
		{"page", answer(200, "text/html", "<html>"), dossier.KindCorrupt},
		{"other JSON", answer(200, "application/json", `{"subject": 1}`), dossier.KindCorrupt},
		{"no time", answer(200, "application/json", `{"tags": [{"from": "today"}]}`), dossier.KindCorrupt},
		{"half an answer", answer(200, "application/json", `{"subject": "a`), dossier.KindUnavailable},
		{"nothing", answer(200, "application/json", ""), dossier.KindUnavailable},
		{"redirect", answer(302, "text/html", ""), dossier.KindUnsupported},
		{"login page", answer(401, "text/html", ""), dossier.KindDenied},
		{"no such page", answer(404, "text/html", ""), dossier.KindNotFound},
		{"gateway", answer(502, "text/html", ""), dossier.KindUnavailable},
		{"too many", answer(429, "text/plain", ""), dossier.KindUnavailable},
		{"problem without kind", answer(503, "application/problem+json", "{}"), dossier.KindUnavailable},
		{"problem that is none", answer(403, "application/problem+json", "<"), dossier.KindDenied},
		{"abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, dossier.KindUnavailable},
	}
	for _, tt := range tests {
		_, err := start(t, tt.handler).History(t.Context(), "x", time.Time{})
		if dossier.KindOf(err) != tt.want {
			t.Errorf("%s: %v (%s), want %s", tt.name, err, dossier.KindOf(err), tt.want)
		}
	}
}

func TestTokenIsSentAndKept(t *testing.T) {
	var seen []string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = append(seen, r.URL.Path) }))
	t.Cleanup(other.Close)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer secret" {
			t.Errorf("Authorization: %q", got)
		}
		http.Redirect(w, r, other.URL, http.StatusFound)
	}))
	t.Cleanup(server.Close)
	c, err := New(server.URL, Options{Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Jobs(t.Context()); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
	if len(seen) > 0 {
		t.Errorf("the redirect was followed: %v", seen)
	}
}

func TestCanceledRequestSaysSo(t *testing.T) {
	begun := make(chan struct{})
	c := start(t, func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	if _, err := c.Jobs(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestLimitedFailsBeyondItsLimit(t *testing.T) {
	for n, want := range map[int64]error{10: nil, 5: nil, 4: errTooLong} {
		var v string
		err := json.NewDecoder(&limited{r: strings.NewReader(`"abc"`), left: n}).Decode(&v)
		if !errors.Is(err, want) || want == nil && v != "abc" {
			t.Errorf("limit %d: %q, %v; want error %v", n, v, err, want)
		}
	}
}

func TestFactsAreAskedForPageByPage(t *testing.T) {
	pages := map[string]dossier.FactList{
		"0": {Facts: []dossier.Fact{{Seq: 1}, {Seq: 2}}, Next: 2},
		"2": {Facts: []dossier.Fact{{Seq: 3}}, Next: 3},
		"3": {Facts: []dossier.Fact{{Seq: 4}}},
	}
	c := start(t, func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(pages[r.URL.Query().Get("after")])
	})
	var got []int64
	for f, err := range c.Facts(t.Context(), dossier.FromBytes(nil)) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, f.Seq)
	}
	if diff := cmp.Diff([]int64{1, 2, 3, 4}, got); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
	pages["3"] = dossier.FactList{Next: 1} // a server that goes round in circles
	if err := last(c.Facts(t.Context(), dossier.FromBytes(nil))); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestWatchEnds(t *testing.T) {
	lines := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
	}
	const good = `{"type":"ADDED","image":{"digest":null}}` + "\n\n" + `{"type":"SYNCED"}` + "\n"
	tests := []struct {
		name    string
		handler http.HandlerFunc
		changes int
		want    dossier.Kind
	}{
		{"the server closes", lines(good), 2, dossier.KindUnavailable},
		{"the server says why", lines(good + `{"type":"ERROR","error":{"kind":"storage","message":"full"}}`), 2, dossier.KindStorage},
		{"the connection breaks", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, good)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, 2, dossier.KindUnavailable},
		{"not JSON", lines(good + "oops\n"), 2, dossier.KindCorrupt},
		{"no type", lines("{}\n"), 0, dossier.KindCorrupt},
		{"no image", lines(`{"type":"ADDED"}` + "\n"), 0, dossier.KindCorrupt},
		{"no server", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, 0, dossier.KindUnavailable},
	}
	for _, tt := range tests {
		n := 0
		var err error
		for _, err = range start(t, tt.handler).Watch(t.Context(), dossier.ImagesQuery{}) {
			if err != nil {
				break
			}
			n++
		}
		if n != tt.changes || dossier.KindOf(err) != tt.want {
			t.Errorf("%s: %d changes, then %v (%s); want %d and %s", tt.name, n, err, dossier.KindOf(err), tt.changes, tt.want)
		}
	}
}

func TestWatchEndsQuietlyWithItsContext(t *testing.T) {
	c := start(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, `{"type":"SYNCED"}`)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	for change, err := range c.Watch(ctx, dossier.ImagesQuery{}) {
		if err != nil {
			t.Fatalf("got %v", err)
		}
		if change.Type == dossier.ChangeSynced {
			cancel()
		}
	}
	cancel()
	for range c.Watch(t.Context(), dossier.ImagesQuery{}) {
		break // the caller may leave
	}
}

// quiet answers with a body that yields a line a tick, for a while, and then
// nothing until the request ends.
type quiet struct {
	ctx   context.Context
	ticks int
}

func (q *quiet) Read(p []byte) (int, error) {
	if q.ticks > 0 {
		q.ticks--
		time.Sleep(15 * time.Second)
		return copy(p, "\n"), nil
	}
	<-q.ctx.Done()
	return 0, q.ctx.Err()
}

func (q *quiet) Close() error { return nil }

// RoundTrip implements http.RoundTripper.
func (q *quiet) RoundTrip(r *http.Request) (*http.Response, error) {
	q.ctx = r.Context()
	return &http.Response{StatusCode: http.StatusOK, Body: q, Header: http.Header{}, Request: r}, nil
}

func TestWatchNoticesSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New("http://127.0.0.1:1", Options{HTTPClient: &http.Client{Transport: &quiet{ticks: 20}}})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		err = last(c.Watch(t.Context(), dossier.ImagesQuery{}))
		if got, want := time.Since(begin), 20*15*time.Second+silence; got != want || !errors.Is(err, errSilent) {
			t.Errorf("ended after %v with %v, want %v", got, err, want)
		}
	})
}

func FuzzParseLine(f *testing.F) {
	for _, s := range []string{
		`{"type":"SYNCED"}`, `{"type":"ADDED","image":{"digest":null}}`, `{"type":"ERROR","error":{"kind":"limit","message":"m"}}`, `{}`, `[`, `null`,
		`{"type":"ADDED","image":{"digest":"sha256:12","answers":{"what":{"grade":"signed"}}}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		change, err := parseLine(line)
		if err == nil && change.Type != dossier.ChangeSynced && change.Image == nil {
			t.Fatalf("%+v has no image", change)
		}
		if _, ok := errors.AsType[*dossier.Error](err); err != nil && !ok {
			t.Fatalf("error %T", err)
		}
	})
}

// TestTagsAsksForEveryPage also ends with a server that would never.
func TestTagsAsksForEveryPage(t *testing.T) {
	d := dossier.FromBytes([]byte("d"))
	var asked []string
	endless := false
	c := start(t, func(w http.ResponseWriter, r *http.Request) {
		after := r.URL.Query().Get("after")
		asked = append(asked, after)
		list := dossier.TagList{Digest: d, Tags: []dossier.TagInterval{{Name: "r.example/" + after, Tag: "1"}}}
		switch {
		case endless:
			list.Next, list.Tags = "r.example/a:1", nil
		case len(asked) < 3:
			list.Next = fmt.Sprint("r.example/", len(asked), ":1")
		}
		_ = json.NewEncoder(w).Encode(list)
	})
	list, err := c.Tags(t.Context(), d, time.Time{})
	if err != nil || len(list.Tags) != 3 || list.Next != "" {
		t.Errorf("got %+v, %v; want three tags", list, err)
	}
	if want := []string{"", "r.example/1:1", "r.example/2:1"}; !slices.Equal(asked, want) {
		t.Errorf("asked after %q, want %q", asked, want)
	}
	endless = true
	if _, err := c.Tags(t.Context(), d, time.Time{}); err != nil {
		t.Error(err)
	}
}
