// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"dossier.dev/dossier"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// statusError says what an answer other than 200 means. It reads a part of the
// body. known says that a credential was sent.
func statusError(op, subject, login string, known bool, resp *http.Response) error {
	kind, hint := kindOf(resp.StatusCode, login, known)
	cause := fmt.Errorf("%s answers %d %s", login, resp.StatusCode, http.StatusText(resp.StatusCode))
	if said := complaint(resp.Body); said != "" {
		cause = fmt.Errorf("%w: %s", cause, said)
	}
	return &dossier.Error{Kind: kind, Op: op, Subject: subject, Hint: hint, Err: cause}
}

// kindOf translates an HTTP status.
func kindOf(status int, login string, known bool) (kind dossier.Kind, hint string) {
	switch {
	case status == http.StatusUnauthorized && !known, status == http.StatusForbidden && !known:
		return dossier.KindDenied, "Check the name; if the image is private, log in with `docker login " + login + "`."
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return dossier.KindDenied, "Check the name, and that the account may pull it; `docker login " + login + "` changes the account."
	case status == http.StatusNotFound, status == http.StatusGone:
		return dossier.KindNotFound, "Check the name and the tag."
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status >= 500:
		return dossier.KindUnavailable, "Try again later."
	case status == http.StatusNotAcceptable:
		return dossier.KindUnsupported, ""
	}
	return dossier.KindInvalid, ""
}

const maxComplaint = 200 // characters of a registry's own words in an error

// complaint returns what a registry says went wrong, as one short line
// (distribution spec, "Error Codes").
func complaint(body io.Reader) string {
	b, err := io.ReadAll(io.LimitReader(body, maxSideReply))
	if err != nil {
		return ""
	}
	var said struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if json.Unmarshal(b, &said) != nil || len(said.Errors) == 0 {
		return ""
	}
	return printable(strings.TrimSpace(said.Errors[0].Code + " " + said.Errors[0].Message))
}

// printable makes foreign text fit for a terminal: one line, no control
// characters, not too long.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
	if r := []rune(s); len(r) > maxComplaint {
		s = string(r[:maxComplaint]) + "..."
	}
	return s
}

// failure gives an error of the network a kind and a hint. login is the
// registry as a person names it.
func (n *network) failure(op, subject, login string, err error) error {
	fail := func(kind dossier.Kind, hint string, cause error) error {
		return &dossier.Error{Kind: kind, Op: op, Subject: subject, Hint: hint, Err: cause}
	}
	// A ping with and without TLS fails with two errors; this one comes first.
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fail(dossier.KindUnavailable, "Give the certificate of its CA with --registry-ca.", e)
	}
	if e, ok := errors.AsType[*dossier.Error](err); ok {
		return fmt.Errorf("%s %s: %w", op, subject, e)
	}
	if e, ok := errors.AsType[*transport.Error](err); ok {
		kind, hint := kindOf(e.StatusCode, login, false)
		if kind == dossier.KindNotFound { // the registry is not there, which says nothing of the image
			kind, hint = dossier.KindUnavailable, "Check the name of the registry."
		}
		cause := fmt.Errorf("%s answers %d %s", login, e.StatusCode, http.StatusText(e.StatusCode))
		if len(e.Errors) > 0 {
			cause = fmt.Errorf("%w: %s", cause, printable(string(e.Errors[0].Code)+" "+e.Errors[0].Message))
		}
		return fail(kind, hint, cause)
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // the rest of it is the address, which may hold a signature
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fail(dossier.KindUnavailable, "", err)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return fail(dossier.KindUnavailable, "If it really speaks no TLS, name it with --plain-http "+login+".", err)
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound {
		return fail(dossier.KindUnavailable, "Check the name of the registry.", err)
	}
	// Some errors of token services go on with the answer itself, which may hold a
	// secret, on a second line.
	line, _, _ := strings.Cut(err.Error(), "\n")
	return fail(dossier.KindUnavailable, "Check that it is reachable, and try again.", errors.New(strings.TrimSuffix(printable(line), ":")))
}
