// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import (
	"errors"
	"strings"
)

// Kind says what sort of failure an Error is. Edges (HTTP, CLI, registry,
// admission) translate it in one table each.
type Kind string

// The kinds of error. An error without one is [KindInternal].
const (
	KindInternal    Kind = "internal"    // a fault of ours or of the machine
	KindInvalid     Kind = "invalid"     // the input is malformed
	KindNotFound    Kind = "not found"   // the thing asked for is not there
	KindConflict    Kind = "conflict"    // it exists, differently
	KindDenied      Kind = "denied"      // not authenticated, or not allowed
	KindLimit       Kind = "limit"       // a named limit was exceeded
	KindUnavailable Kind = "unavailable" // try again later: network, rate limit, lock
	KindCorrupt     Kind = "corrupt"     // bytes do not match their digest or promise
	KindUnsupported Kind = "unsupported" // well-formed, but not something we handle
	KindStorage     Kind = "storage"     // the storage refuses writes: full, read-only, newer schema
)

// Error is what went wrong: while doing what (Op), to what (Subject), and why.
// Hint, when there is one, tells a person what to do next.
type Error struct {
	Kind    Kind
	Op      string // what was tried, "reading manifest"
	Subject string // a reference, digest, path or name; never a secret
	Hint    string // one sentence, imperative; may be empty
	Err     error  // the cause; may be nil
}

// Error gives "op subject: cause".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Subject != "" {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(e.Subject)
	}
	if e.Err != nil {
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(e.Err.Error())
	}
	if b.Len() == 0 {
		return string(e.Kind)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the outermost Error in err's chain, or
// KindInternal when there is none. It returns "" for a nil error.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Kind != "" {
		return e.Kind
	}
	return KindInternal
}

// HintOf returns the first hint in err's chain, or "".
func HintOf(err error) string {
	for err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}

// Errorf is a short form for an Error whose cause is a plain message.
func Errorf(kind Kind, op, subject, message string) *Error {
	return &Error{Kind: kind, Op: op, Subject: subject, Err: errors.New(message)}
}
