// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
)

func TestWords(t *testing.T) {
	var b strings.Builder
	log := slog.New(newWords(&b)).With("host", "here")
	log.Info("not for people")
	log.Warn("it could not be read", "error", errors.New("evil\x1b[2J\nline"))
	if got, want := b.String(), "note: it could not be read: host here, error evil\\x1b[2J line\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAsHint(t *testing.T) {
	for in, want := range map[string]string{
		"Check the path; use - for standard input.": "check the path; use - for standard input",
		"KUBECONFIG names none.":                    "KUBECONFIG names none",
		"/api/v1/openapi.json lists the paths":      "/api/v1/openapi.json lists the paths",
		"Öffne es.":                                 "öffne es",
		"A":                                         "A",
		"":                                          "",
	} {
		if got := asHint(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// TestAdvice: no error is without a hint.
func TestAdvice(t *testing.T) {
	for _, kind := range []dossier.Kind{
		dossier.KindInternal, dossier.KindInvalid, dossier.KindNotFound, dossier.KindConflict, dossier.KindDenied,
		dossier.KindLimit, dossier.KindUnavailable, dossier.KindCorrupt, dossier.KindUnsupported, dossier.KindStorage,
	} {
		var b strings.Builder
		p := &program{stderr: &b}
		if code := p.exitCode(nil, dossier.Errorf(kind, "doing", "it", "why")); code != exitFailed {
			t.Errorf("%s: exit code %d", kind, code)
		}
		if !strings.HasPrefix(b.String(), "error: doing it: why\nhint: ") {
			t.Errorf("%s: %q", kind, b.String())
		}
	}
}

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{
		"/home/me/.local/share/dossier": "/home/me/.local/share/dossier",
		"my data":                       "'my data'",
		"it's $HOME":                    `'it'\''s $HOME'`,
		"":                              "''",
	} {
		if got := shellWord(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

// TestInterruptedInput: a read that nobody answers ends with the context, and
// nothing is taken of input that nobody asks for.
func TestInterruptedInput(t *testing.T) {
	input, other := io.Pipe()
	defer other.Close()
	ctx, cancel := context.WithCancel(t.Context())
	r := interruptible(ctx, input)
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	text := strings.NewReader("abc")
	interruptible(t.Context(), text)
	if text.Len() != 3 {
		t.Errorf("%d bytes are left, want all", text.Len())
	}
	if b, err := io.ReadAll(interruptible(t.Context(), text)); string(b) != "abc" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
}
