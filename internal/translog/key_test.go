// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package translog

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"dossier.dev/dossier"
)

// TestOpenKey makes a key by several at a time: they have the same, now and later.
func TestOpenKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "log.key")
	keys := make([]string, 4)
	var group sync.WaitGroup
	for i := range keys {
		group.Go(func() {
			signer, key, err := OpenKey(path)
			if err != nil {
				t.Error(err)
				return
			}
			keys[i] = key
			signed, err := note.Sign(&note.Note{Text: "text\n"}, signer)
			if err != nil {
				t.Error(err)
			}
			verifier, err := note.NewVerifier(key)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := note.Open(signed, note.VerifierList(verifier)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, key := range keys {
		if key != keys[0] || key == "" {
			t.Errorf("keys: %q", keys)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("files: %v, %v", files, err)
	}
}

func TestOpenKeyRefuses(t *testing.T) {
	secret, _, err := note.GenerateKey(strings.NewReader(strings.Repeat("seed", 100)), "log.example")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"empty": "", "no key": "hello\n", "cut": secret[:len(secret)-4], "a verifier key": strings.TrimPrefix(secret, "PRIVATE+KEY+"),
		"large": secret + strings.Repeat("\n", maxKeyFile),
	} {
		path := filepath.Join(t.TempDir(), "log.key")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := OpenKey(path)
		if dossier.KindOf(err) != dossier.KindInvalid || strings.Contains(err.Error(), secret[20:]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := OpenKey(filepath.Join("/dev/null", "log.key")); dossier.KindOf(err) != dossier.KindStorage {
		t.Errorf("no directory: %v", err)
	}
}
