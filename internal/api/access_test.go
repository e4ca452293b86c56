// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"dossier.dev/dossier"
)

const goodToken = "0123456789abcdef-other"

func readTokens(t *testing.T, s string) Tokens {
	t.Helper()
	tokens, err := ReadTokens(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func TestTokenIsRequired(t *testing.T) {
	secret := Check{Name: "store", Ready: func(context.Context) error { return errors.New("the disk of alice is full") }}
	_, url := start(t, Config{Tokens: readTokens(t, "# people\nanother-token-of-some-length\n"+goodToken+"\n"), Checks: []Check{secret}})
	tests := []struct {
		path, authorization string
		want                int
	}{
		{"/api/v1/images", "", 401},
		{"/api/v1/images", "Bearer", 401},
		{"/api/v1/images", "Bearer ", 401},
		{"/api/v1/images", "Bearer " + goodToken + "x", 401},
		{"/api/v1/images", "Bearer " + goodToken[:20], 401},
		{"/api/v1/images", "Basic " + goodToken, 401},
		{"/api/v1/images", "Bearer # people", 401},
		{"/api/v1/images", "Bearer " + goodToken, 200},
		{"/api/v1/images", "bearer another-token-of-some-length", 200},
		{"/api/v1/openapi.json", "", 401},
		{"/metrics", "", 401},
		{"/metrics", "Bearer " + goodToken, 200},
		{"/nothing", "", 401},
		{"/nothing", "Bearer " + goodToken, 404},
		{"/healthz", "", 200},
	}
	for _, tt := range tests {
		resp, body := get(t, url+tt.path, "Authorization: "+tt.authorization)
		if resp.StatusCode != tt.want {
			t.Errorf("%s with %q: %s, want %d", tt.path, tt.authorization, resp.Status, tt.want)
		}
		if tt.want == 401 && (resp.Header.Get("WWW-Authenticate") == "" || !strings.Contains(body, string(dossier.KindDenied))) {
			t.Errorf("%s: %v %s", tt.path, resp.Header, body)
		}
	}
	for authorization, want := range map[string]bool{"": false, "Bearer " + goodToken: true} {
		resp, body := get(t, url+"/readyz", "Authorization: "+authorization)
		if resp.StatusCode != http.StatusServiceUnavailable || strings.Contains(body, "alice") != want {
			t.Errorf("readyz with %q: %s %s", authorization, resp.Status, body)
		}
	}
}

func TestReadTokensRefuses(t *testing.T) {
	tests := map[string]dossier.Kind{
		"":                                       dossier.KindInvalid,
		"# nothing\n\n":                          dossier.KindInvalid,
		"short":                                  dossier.KindInvalid,
		"with a space in it, and long":           dossier.KindInvalid,
		strings.Repeat("a", 20) + "\x00":         dossier.KindInvalid,
		strings.Repeat("a", MaxTokensFile) + "b": dossier.KindLimit,
		strings.Repeat(goodToken+"\n", 1e4):      dossier.KindLimit,
	}
	for text, want := range tests {
		if _, err := ReadTokens(strings.NewReader(text)); dossier.KindOf(err) != want {
			t.Errorf("ReadTokens(%.30q) = %v, want kind %q", text, err, want)
		}
	}
}

func TestTokensStaySecret(t *testing.T) {
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("starting", "tokens", readTokens(t, goodToken))
	if !strings.Contains(log.String(), "tokens=1") {
		t.Errorf("log: %s", log.String())
	}
}

func FuzzReadTokens(f *testing.F) {
	for _, s := range []string{"", goodToken, "# c\n" + goodToken + "\r\n", "short", "\x00", strings.Repeat("x", 100)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tokens, err := ReadTokens(strings.NewReader(s))
		if (err == nil) != tokens.Required() {
			t.Fatalf("%d tokens, error %v", len(tokens.sums), err)
		}
		if tokens.Match("") {
			t.Fatal("an empty token matches")
		}
		if line := strings.TrimSpace(s); err == nil && !strings.Contains(line, "\n") && !tokens.Match(line) {
			t.Fatal("the only token does not match")
		}
	})
}

func FuzzQuery(f *testing.F) {
	for _, s := range []string{
		"", "namespace=a&namespace=b&selector=x%3Dy&watch=true", "at=2026-01-31T12:00:00Z&knownAt=2026-01-31", "limit=10&term=a+b",
		"ref=nginx%3A1", "limit=-1&after=9223372036854775808", "a=%zz", "at=%00", "cluster=;", "namespace&cluster", "at=2026-01-31T12:00:00.123456789%2B14:00",
	} {
		f.Add(s)
	}
	allowed := []string{"namespace", "selector", "cluster", "at", "knownAt", "watch", "limit", "after", "term", "ref"}
	f.Fuzz(func(t *testing.T, raw string) {
		known := func(err error) bool {
			kind := dossier.KindOf(err)
			return kind == "" || kind == dossier.KindInvalid || kind == dossier.KindLimit
		}
		q, err := parseQuery(raw, allowed)
		if !known(err) {
			t.Fatalf("error %v", err)
		}
		if err != nil {
			return
		}
		images, err := q.images()
		if !known(err) {
			t.Fatalf("error %v", err)
		}
		if at := images.At.Valid; !at.Equal(dossier.Instant(at)) {
			t.Fatalf("%v is finer than a store keeps", at)
		}
		_, flagErr := q.flag("watch")
		_, limitErr := q.integer("limit", 1)
		if !known(flagErr) || !known(limitErr) {
			t.Fatalf("errors %v, %v", flagErr, limitErr)
		}
		// What was read says the same when it is written again.
		again, err := parseQuery(q.values.Encode(), allowed)
		if err == nil && fmt.Sprint(again) != fmt.Sprint(q) {
			t.Fatalf("%v became %v", q, again)
		}
	})
}

// TestFingerprint: what stands for a token is neither the token nor its hash, and
// is good as long as the token is.
func TestFingerprint(t *testing.T) {
	const one, two = "0123456789abcdef", "fedcba9876543210"
	read := func(text string) Tokens {
		t.Helper()
		tokens, err := ReadTokens(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return tokens
	}
	both, other := read(one+"\n"+two), read(two)
	print, ok := both.Fingerprint(one)
	again, _ := read(one).Fingerprint(one)
	if !ok || print != again || !both.Holds(print) || other.Holds(print) {
		t.Errorf("fingerprint %q, elsewhere %q; held: %v, %v", print, again, both.Holds(print), other.Holds(print))
	}
	if both.Match(print) || strings.Contains(print, one) {
		t.Error("the fingerprint is as good as the token")
	}
	for _, wrong := range []string{"", one[1:], one + "0"} {
		if print, ok := both.Fingerprint(wrong); ok || print != "" || both.Holds(wrong) {
			t.Errorf("%q has the fingerprint %q", wrong, print)
		}
	}
}
