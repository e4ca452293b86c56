// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"dossier.dev/dossier"
)

// Limits of a file of tokens.
const (
	MinToken      = 16       // characters
	MaxTokensFile = 64 << 10 // bytes
)

// errToken is the answer to who brings no valid token.
var errToken = &dossier.Error{Kind: dossier.KindDenied, Op: "logging in", Err: errors.New("a valid token is required"),
	Hint: "set DOSSIER_TOKEN to a token that the server knows"}

// errMethod is the answer to any request that is meant to change something.
var errMethod = &dossier.Error{Kind: dossier.KindUnsupported, Op: "reading the request", Err: errors.New("the method must be GET or HEAD")}

// Tokens are the secrets one of which a request must bring. Only their hashes
// are kept.
type Tokens struct {
	sums    [][sha256.Size]byte
	present func() Tokens // nil: they stay as they are
}

// CurrentTokens returns tokens that are at any time those that present returns, of
// which there is always one.
func CurrentTokens(present func() Tokens) Tokens { return Tokens{present: present} }

// hashes returns those of the present tokens.
func (t Tokens) hashes() [][sha256.Size]byte {
	if t.present != nil {
		return t.present().sums
	}
	return t.sums
}

// ReadTokens reads tokens, one a line. Empty lines and those that begin with #
// are left out. KindInvalid: there is none, or one is shorter than MinToken or
// holds anything but letters, digits and "-._~+/=" (RFC 6750, section 2.1).
// KindLimit: the file is longer than 64 KiB.
func ReadTokens(r io.Reader) (Tokens, error) {
	var t Tokens
	fail := func(line int, why string) (Tokens, error) {
		return Tokens{}, dossier.Errorf(dossier.KindInvalid, "reading tokens", fmt.Sprintf("line %d", line), why)
	}
	text, err := io.ReadAll(io.LimitReader(r, MaxTokensFile+1))
	switch {
	case err != nil:
		return Tokens{}, &dossier.Error{Kind: dossier.KindInvalid, Op: "reading tokens", Err: err}
	case len(text) > MaxTokensFile:
		return Tokens{}, dossier.Errorf(dossier.KindLimit, "reading tokens", "", fmt.Sprintf("there are more than %d bytes", MaxTokensFile))
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		token := strings.TrimSpace(line)
		switch {
		case token == "" || strings.HasPrefix(token, "#"):
			continue
		case len(token) < MinToken:
			return fail(n, fmt.Sprintf("a token has at least %d characters", MinToken))
		case strings.ContainsFunc(token, func(c rune) bool { return !isTokenChar(c) }):
			return fail(n, `a token is made of letters, digits and "-._~+/="`)
		}
		t.sums = append(t.sums, sha256.Sum256([]byte(token)))
	}
	if len(t.sums) == 0 {
		return Tokens{}, &dossier.Error{Kind: dossier.KindInvalid, Op: "reading tokens", Err: errors.New("there is no token"),
			Hint: "write one a line; openssl rand -hex 32 makes one"}
	}
	return t, nil
}

func isTokenChar(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-._~+/=", c)
}

// Required reports whether there are tokens at all.
func (t Tokens) Required() bool { return t.present != nil || len(t.sums) > 0 }

// Match reports whether token is one of them, in a time that does not depend on
// which, nor on how much of it is right.
func (t Tokens) Match(token string) bool {
	sum := sha256.Sum256([]byte(token))
	found := 0
	for _, known := range t.hashes() {
		found |= subtle.ConstantTimeCompare(sum[:], known[:])
	}
	return found == 1
}

// Fingerprint returns for one of the tokens what stands for it and tells nothing of it:
// it is equal wherever the token is known. It takes as long as Match.
func (t Tokens) Fingerprint(token string) (string, bool) {
	if !t.Match(token) {
		return "", false
	}
	return fingerprint(sha256.Sum256([]byte(token))), true
}

// Holds reports whether the token of a fingerprint is one of them.
func (t Tokens) Holds(print string) bool {
	found := 0
	for _, sum := range t.hashes() {
		found |= subtle.ConstantTimeCompare([]byte(fingerprint(sum)), []byte(print))
	}
	return found == 1
}

// fingerprint is a hash of the hash of a token: who sees it in a token of the
// registry cannot show it as one of ours.
func fingerprint(sum [sha256.Size]byte) string {
	print := sha256.Sum256(append([]byte("dossier/token/v1\n"), sum[:]...))
	return base64.RawURLEncoding.EncodeToString(print[:16])
}

// LogValue keeps even the hashes out of logs.
func (t Tokens) LogValue() slog.Value { return slog.IntValue(len(t.hashes())) }

// knows reports whether a request may see answers.
func (h *Handler) knows(r *http.Request) bool {
	if !h.config.Tokens.Required() {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "Bearer") && h.config.Tokens.Match(strings.TrimSpace(token))
}

// isLoopback reports whether a Host header names this machine's loopback. A web
// page whose own name was bound to 127.0.0.1 sends that name.
func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
