// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dossier.dev/dossier"
)

// TestLookaside reads signatures that lie beside a registry, in files and over HTTP:
// from the first to the first that is missing.
func TestLookaside(t *testing.T) {
	d := dossier.FromBytes([]byte("a manifest"))
	root := t.TempDir()
	dir := filepath.Join(root, "sigs", "team", "app@sha256="+d.Hex())
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for n, text := range map[int]string{1: "one", 2: "two", 4: "nobody looks here"} {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("signature-", n)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(http.FileServer(http.Dir(root)))
	t.Cleanup(server.Close)
	for _, place := range []string{"file://" + root + "/sigs", server.URL + "/sigs", server.URL + "/sigs/"} {
		got, err := newClient(t).Lookaside(t.Context(), place, "team/app", d)
		if err != nil || len(got) != 2 || string(got[0]) != "one" || string(got[1]) != "two" {
			t.Errorf("%s: %q, %v", place, got, err)
		}
		if got, err := newClient(t).Lookaside(t.Context(), place, "team/other", d); err != nil || len(got) != 0 {
			t.Errorf("%s: of another repository: %q, %v", place, got, err)
		}
	}
	offline := newClient(t)
	offline.Offline = true
	if got, err := offline.Lookaside(t.Context(), server.URL+"/sigs", "team/app", d); err != nil || len(got) != 0 {
		t.Errorf("offline over HTTP: %q, %v", got, err)
	}
	if got, err := offline.Lookaside(t.Context(), "file://"+root+"/sigs", "team/app", d); err != nil || len(got) != 2 {
		t.Errorf("offline from files: %q, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "signature-3"), bytes.Repeat([]byte("x"), 1<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{"file://" + root + "/sigs", server.URL + "/sigs"} {
		if _, err := newClient(t).Lookaside(t.Context(), place, "team/app", d); dossier.KindOf(err) != dossier.KindLimit {
			t.Errorf("%s: one that is too large: %v", place, err)
		}
	}
	denied := httptest.NewServer(http.NotFoundHandler())
	denied.Close()
	if _, err := newClient(t).Lookaside(t.Context(), denied.URL, "team/app", d); dossier.KindOf(err) != dossier.KindUnavailable {
		t.Errorf("a server that is gone: %v", err)
	}
}

// TestSignatures reads signatures that a registry keeps, from one that says that it does.
func TestSignatures(t *testing.T) {
	d := dossier.FromBytes([]byte("a manifest"))
	says, body, status, asked := true, "", http.StatusOK, 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if says {
			w.Header().Set("X-Registry-Supports-Signatures", "1")
		}
		switch r.URL.Path {
		case "/v2/":
		case "/extensions/v2/team/app/signatures/" + string(d):
			asked++
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	one := base64.StdEncoding.EncodeToString([]byte("one"))
	for _, tt := range []struct {
		name   string
		says   bool
		status int
		body   string
		want   string
		kind   dossier.Kind
	}{
		{"one", true, 200, `{"signatures":[{"schemaVersion":2,"name":"x","type":"atomic","content":"` + one + `"}]}`, "one", ""},
		{"of another kind", true, 200, `{"signatures":[{"schemaVersion":2,"type":"other","content":"` + one + `"},{"schemaVersion":3,"type":"atomic","content":"` + one + `"}]}`, "", ""},
		{"none", true, 200, `{"signatures":null}`, "", ""},
		{"no such image", true, 404, ``, "", ""},
		{"no list", true, 200, `[`, "", dossier.KindCorrupt},
		{"many", true, 200, `{"signatures":[` + strings.Repeat(`{"schemaVersion":2,"type":"atomic","content":""},`, 60) + `{}]}`, strings.Repeat("|", 49), ""},
		{"a registry that does not keep them", false, 200, `{"signatures":[{"schemaVersion":2,"type":"atomic","content":"` + one + `"}]}`, "", ""},
	} {
		says, body, status, asked = tt.says, tt.body, tt.status, 0
		got, err := repositoryOf(t, newClient(t), u.Host, "team/app").Signatures(t.Context(), d)
		if text := string(bytes.Join(got, []byte("|"))); dossier.KindOf(err) != tt.kind || text != tt.want {
			t.Errorf("%s: %q, %v", tt.name, text, err)
		}
		if !tt.says && asked > 0 {
			t.Errorf("%s: it was asked", tt.name)
		}
	}
}
