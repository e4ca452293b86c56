// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/client"
)

// TestClockGoesBackwards sets the clock of a server back by an hour: pushes, moves
// and uploads go on, nothing that was acknowledged is undone, and who holds a
// token of later is asked to fetch another.
func TestClockGoesBackwards(t *testing.T) {
	var back atomic.Int64
	c := closedRegistry(t)
	c.Now = func() time.Time { return time.Now().Add(-time.Duration(back.Load())) }
	s := serve(t, c)
	scope := "repository:team/app:pull,push"
	login := basic("any", apiToken)
	put := func(text, authorization string) (status int, digest dossier.Digest) {
		t.Helper()
		config := dossier.FromBytes([]byte(text))
		if resp, body := ask(t, http.MethodPost, s.url+"/v2/team/app/blobs/uploads/?digest="+string(config), authorization, text); resp.StatusCode != http.StatusCreated {
			return resp.StatusCode, dossier.Digest(body)
		}
		manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"text/plain","digest":%q,"size":%d},"layers":[]}`, config, len(text))
		resp, _ := ask(t, http.MethodPut, s.url+"/v2/team/app/manifests/latest", authorization, manifest)
		return resp.StatusCode, dossier.FromBytes([]byte(manifest))
	}
	token := fetchToken(t, s.url, login, scope)
	_, first := put("one", token)
	resp, _ := ask(t, http.MethodPost, s.url+"/v2/team/app/blobs/uploads/", token, "")
	location := s.url + resp.Header.Get("Location")

	back.Store(int64(time.Hour))
	if status, _ := put("two", token); status != http.StatusUnauthorized {
		t.Errorf("a token of later: %d, want 401", status)
	}
	token = fetchToken(t, s.url, login, scope)
	status, second := put("two", token)
	if status != http.StatusCreated {
		t.Errorf("a push: %d", status)
	}
	if resp, body := ask(t, http.MethodPut, location+"?digest="+string(dossier.FromBytes([]byte("three"))), token, "three"); resp.StatusCode != http.StatusCreated {
		t.Errorf("an upload of later: %d %s", resp.StatusCode, body)
	}
	back.Store(0)
	token = fetchToken(t, s.url, login, scope)
	if resp, _ := ask(t, http.MethodHead, s.url+"/v2/team/app/manifests/latest", token, ""); resp.Header.Get("Docker-Content-Digest") != string(second) {
		t.Errorf("latest is %s, want %s", resp.Header.Get("Docker-Content-Digest"), second)
	}
	history, err := newClient(t, s.url, client.Options{Token: apiToken}).History(t.Context(), "registry.example/team/app:latest", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, tag := range history.Tags {
		got = append(got, string(tag.Digest))
		if !tag.To.IsZero() && tag.To.Before(tag.From) || i > 0 && tag.To.After(history.Tags[i-1].From) {
			t.Errorf("intervals overlap: %+v", history.Tags)
		}
	}
	if want := string(second) + " " + string(first); strings.Join(got, " ") != want {
		t.Errorf("history %v, want %s", got, want)
	}
}
