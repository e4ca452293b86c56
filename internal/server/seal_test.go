// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"encoding/base64"
	"net"
	"net/http"
	"strings"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/store"
)

// TestSealedKeys: the private keys in the database are encrypted by a file of keys, also those that were there before; they stay
// the same keys, over a change of that file too; and without it a server says so instead of starting.
func TestSealedKeys(t *testing.T) {
	line := func(b byte) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32)) + "\n" }
	c := closedRegistry(t)
	c.Registry.TUF = config.TUF{Prefixes: []string{"team/web"}}
	// once runs a server with a file of keys, and returns the public online key and all secrets in the database.
	once := func(file string) (public string, secrets [][]byte) {
		t.Helper()
		c.SealKey = file
		s := serve(t, c)
		resp, body := ask(t, http.MethodGet, s.url+"/tuf/team/web/online.pub", "Bearer "+apiToken, "")
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", resp.Status, body)
		}
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		e, err := Open(t.Context(), c.Config)
		if err != nil {
			t.Fatal(err)
		}
		err = e.store.View(t.Context(), func(r store.Reader) error {
			online, err := r.TUFKeys(t.Context(), "team/web")
			if err != nil {
				return err
			}
			tokens, err := r.SigningKeys(t.Context(), 10)
			for _, k := range append(online, tokens...) {
				secrets = append(secrets, k.Secret)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if len(secrets) != 2 {
			t.Fatalf("there are %d secrets, want an online key and one of tokens", len(secrets))
		}
		return body, secrets
	}
	sealed := func(secrets [][]byte) int {
		n := 0
		for _, s := range secrets {
			if bytes.HasPrefix(s, []byte("dossier-sealed-1\n")) {
				n++
			}
		}
		return n
	}
	public, plain := once("")
	if sealed(plain) != 0 {
		t.Error("without a file secrets are sealed")
	}
	old := writeFile(t, "old", line(1))
	again, first := once(old)
	if again != public || sealed(first) != 2 || bytes.Contains(first[0], plain[0][20:]) || bytes.Contains(first[1], plain[1][40:]) {
		t.Errorf("%d secrets are sealed, and the online key is the same: %t", sealed(first), again == public)
	}
	again, second := once(writeFile(t, "both", line(2)+line(1)))
	if again != public || sealed(second) != 2 || bytes.Equal(first[0], second[0]) || bytes.Equal(first[1], second[1]) {
		t.Error("secrets are not sealed anew by the first key of the file")
	}
	latest := writeFile(t, "latest", line(2))
	if again, third := once(latest); again != public || !bytes.Equal(third[0], second[0]) {
		t.Error("the second key is still needed")
	}
	for _, tt := range []struct {
		name, file, want string
		kind             dossier.Kind
	}{
		{"no file is named", "", "the configuration names no key file", dossier.KindDenied},
		{"another key", old, "which is not in the key file", dossier.KindDenied},
		{"no such file", latest + "x", "latestx", dossier.KindNotFound},
		{"no key in it", writeFile(t, "none", "# none\n"), "there is no key", dossier.KindInvalid},
		{"no key", writeFile(t, "word", "password\n"), "line 1: it is not 32 bytes", dossier.KindInvalid},
	} {
		for _, login := range []bool{true, false} { // the one or the other key is opened first
			c := c
			c.SealKey = tt.file
			if !login {
				c.Registry.Tokens = config.Tokens{Off: true}
				c.Registry.AnonymousPull = false
			}
			err := Serve(t.Context(), c, func(net.Addr) {})
			if dossier.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.want) || dossier.HintOf(err) == "" || strings.Contains(err.Error(), "password") {
				t.Errorf("%s: %v, hint %q", tt.name, err, dossier.HintOf(err))
			}
		}
	}
}
