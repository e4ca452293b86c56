// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dossier.dev/dossier"
)

// script answers requests one after the other: a status with a Retry-After
// header, or, for status 0, a broken connection.
type script struct {
	answers []answer

	mu    sync.Mutex
	times []time.Time
}

type answer struct {
	status int
	after  string
}

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.answers[min(len(s.times), len(s.answers)-1)]
	s.times = append(s.times, time.Now())
	if a.status == 0 {
		return nil, errors.New("connection reset by peer")
	}
	h := http.Header{}
	if a.after != "" {
		h.Set("Retry-After", a.after)
	}
	return &http.Response{StatusCode: a.status, Header: h, Body: http.NoBody, Request: req}, nil
}

func TestWirePatience(t *testing.T) {
	// synctest begins at this time.
	date := time.Date(2000, 1, 1, 0, 0, 20, 0, time.UTC).Format(http.TimeFormat)
	tests := []struct {
		name     string
		method   string
		answers  []answer
		deadline time.Duration // 0: none
		status   int           // 0: an error
		requests int
		atLeast  time.Duration
		atMost   time.Duration
		until    time.Duration // of the Throttled error
	}{
		{"fine", "GET", []answer{{200, ""}}, 0, 200, 1, 0, 0, 0},
		{"seconds", "GET", []answer{{429, "7"}, {200, ""}}, 0, 200, 2, 7 * time.Second, 7 * time.Second, 0},
		{"date", "GET", []answer{{429, date}, {200, ""}}, 0, 200, 2, 20 * time.Second, 20 * time.Second, 0},
		{"unavailable", "HEAD", []answer{{503, "3"}, {503, ""}, {200, ""}}, 0, 200, 3, 3 * time.Second, 4 * time.Second, 0},
		{"nonsense", "GET", []answer{{429, "soon"}, {200, ""}}, 0, 200, 2, time.Millisecond, time.Second, 0},
		{"negative", "GET", []answer{{429, "-5"}, {200, ""}}, 0, 200, 2, time.Millisecond, time.Second, 0},
		{"network", "GET", []answer{{}, {}, {200, ""}}, 0, 200, 3, 300 * time.Millisecond, 750 * time.Millisecond, 0},
		{"network for good", "GET", []answer{{}}, 0, 0, 4, 0, 10 * time.Second, 0},
		{"server for good", "GET", []answer{{502, ""}}, 0, 502, 4, 0, 10 * time.Second, 0},
		{"not repeatable", "POST", []answer{{503, "1"}}, 0, 503, 1, 0, 0, 0},
		{"too long", "GET", []answer{{429, "3600"}}, 0, 0, 1, 0, 0, time.Hour},
		{"too often", "GET", []answer{{429, "1"}}, 0, 0, 4, 3 * time.Second, 3 * time.Second, 4 * time.Second},
		{"longer than the caller", "GET", []answer{{429, "30"}}, 10 * time.Second, 0, 1, 0, 0, 0},
		{"client error", "GET", []answer{{404, ""}}, 0, 404, 1, 0, 0, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, err := newNetwork(&Client{Limits: Limits{Retries: 3}})
				if err != nil {
					t.Fatal(err)
				}
				ctx := t.Context()
				if test.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.deadline)
					defer cancel()
				}
				s := &script{answers: test.answers}
				req, err := http.NewRequestWithContext(ctx, test.method, "https://registry.example/v2/", nil)
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				resp, err := wire{n, s}.RoundTrip(req)
				took := time.Since(start)
				switch {
				case err != nil && test.status != 0:
					t.Fatal(err)
				case err == nil && resp.StatusCode != test.status:
					t.Errorf("status %d, want %d", resp.StatusCode, test.status)
				}
				if len(s.times) != test.requests || n.usage().Requests() != int64(test.requests) {
					t.Errorf("%d requests, %d counted, want %d", len(s.times), n.usage().Requests(), test.requests)
				}
				if took < test.atLeast || took > test.atMost {
					t.Errorf("took %v, want %v to %v", took, test.atLeast, test.atMost)
				}
				throttled, ok := errors.AsType[*Throttled](err)
				if ok != (test.until > 0) {
					t.Fatalf("error %v, want one that says until when: %v", err, test.until > 0)
				}
				if ok && throttled.Until != start.Add(test.until) {
					t.Errorf("until %v, want %v", throttled.Until.Sub(start), test.until)
				}
			})
		})
	}
}

// TestWireHoldsOthersBack: one 429 is enough for all who ask the host.
func TestWireHoldsOthersBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, err := newNetwork(&Client{})
		if err != nil {
			t.Fatal(err)
		}
		s := &script{answers: []answer{{429, "5"}, {200, ""}}}
		start := time.Now()
		done := make(chan time.Duration)
		ask := func() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://registry.example/", nil)
			if err != nil {
				t.Error(err)
			}
			if _, err := (wire{n, s}).RoundTrip(req); err != nil {
				t.Error(err)
			}
			done <- time.Since(start)
		}
		go ask()
		synctest.Wait()
		go ask()
		for range 2 {
			if got := <-done; got != 5*time.Second {
				t.Errorf("answered after %v, want 5s", got)
			}
		}
	})
}

func TestWireRefusesPlainHTTP(t *testing.T) {
	n, err := newNetwork(&Client{PlainHTTP: []string{"plain.example", "port.example:80"}})
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]bool{
		"registry.example": false, "10.0.0.1:5000": false, "registry.local": false, "localhost.example": false, "port.example": false, "port.example:81": false,
		"localhost": true, "LOCALHOST:5000": true, "127.0.0.1:5000": true, "127.9.9.9": true, "[::1]:5000": true, "[::1]": true, "[::ffff:127.0.0.1]:1": true,
		"plain.example": true, "plain.example:5000": true, "port.example:80": true,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = wire{n, &script{answers: []answer{{200, ""}}}}.RoundTrip(req)
		if (err == nil) != want {
			t.Errorf("%s: %v, want allowed: %v", host, err, want)
		}
		if err != nil && dossier.KindOf(err) != dossier.KindDenied {
			t.Errorf("%s: error %v is of kind %q", host, err, dossier.KindOf(err))
		}
	}
}

func TestRedirectTarget(t *testing.T) {
	tests := []struct{ from, location, want string }{
		{"https://a.example/v2/x", "/y", "https://a.example/y"},
		{"https://a.example/v2/x", "https://user:pw@cdn.example/y?sig=1", "https://cdn.example/y?sig=1"},
		{"https://a.example/v2/x", "https://10.0.0.1/y", "https://10.0.0.1/y"},
		{"http://localhost:5000/x", "http://127.0.0.1:9000/y", "http://127.0.0.1:9000/y"},
		{"http://localhost:5000/x", "https://cdn.example/y", "https://cdn.example/y"},
		{"https://a.example/x", "http://a.example/y", ""},
		{"https://a.example/x", "https://127.0.0.1/y", ""},
		{"https://a.example/x", "https://localhost:1/y", ""},
		{"https://a.example/x", "https://169.254.169.254/latest", ""},
		{"https://a.example/x", "https://[fe80::1]/y", ""},
		{"https://a.example/x", "https://0.0.0.0/y", ""},
		{"https://a.example/x", "file:///etc/passwd", ""},
		{"https://a.example/x", "https://", ""},
		{"https://a.example/x", ":", ""},
		{"https://a.example/x", "", ""},
	}
	for _, test := range tests {
		from, err := url.Parse(test.from)
		if err != nil {
			t.Fatal(err)
		}
		got, err := redirect(from, test.location)
		switch {
		case test.want == "" && dossier.KindOf(err) != dossier.KindDenied:
			t.Errorf("%s -> %q: got %v, %v, want it refused", test.from, test.location, got, err)
		case test.want != "" && (err != nil || got.String() != test.want):
			t.Errorf("%s -> %q: got %v, %v, want %s", test.from, test.location, got, err, test.want)
		}
	}
}
