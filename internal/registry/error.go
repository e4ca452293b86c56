// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// Code is an error code of the distribution specification ("Error Codes"), or
// one that registries use beside them.
type Code string

// The codes.
const (
	CodeBlobUnknown         Code = "BLOB_UNKNOWN"
	CodeUploadInvalid       Code = "BLOB_UPLOAD_INVALID"
	CodeUploadUnknown       Code = "BLOB_UPLOAD_UNKNOWN"
	CodeDigestInvalid       Code = "DIGEST_INVALID"
	CodeManifestBlobUnknown Code = "MANIFEST_BLOB_UNKNOWN"
	CodeManifestInvalid     Code = "MANIFEST_INVALID"
	CodeManifestUnknown     Code = "MANIFEST_UNKNOWN"
	CodeNameInvalid         Code = "NAME_INVALID"
	CodeNameUnknown         Code = "NAME_UNKNOWN"
	CodeSizeInvalid         Code = "SIZE_INVALID"
	CodeUnauthorized        Code = "UNAUTHORIZED"
	CodeDenied              Code = "DENIED"
	CodeUnsupported         Code = "UNSUPPORTED"
	CodeTooManyRequests     Code = "TOOMANYREQUESTS"

	CodePaginationInvalid Code = "PAGINATION_NUMBER_INVALID"
	CodeRangeInvalid      Code = "RANGE_INVALID"
	CodeTagInvalid        Code = "TAG_INVALID"
	CodeTooManyTags       Code = "TAGS_TOO_MANY"
	CodeTooLarge          Code = "MANIFEST_TOO_LARGE"
	CodeInUse             Code = "IN_USE"
	CodeTagFixed          Code = "TAG_IMMUTABLE"
	CodeUnavailable       Code = "UNAVAILABLE"
	CodeNoSpace           Code = "INSUFFICIENT_STORAGE"
	CodeUpstream          Code = "UPSTREAM_INVALID"
	CodeNotFound          Code = "NOT_FOUND"
	CodeInternal          Code = "UNKNOWN"
)

// statuses gives each code its HTTP status.
var statuses = map[Code]int{
	CodeBlobUnknown:         http.StatusNotFound,
	CodeUploadInvalid:       http.StatusConflict,
	CodeUploadUnknown:       http.StatusNotFound,
	CodeDigestInvalid:       http.StatusBadRequest,
	CodeManifestBlobUnknown: http.StatusNotFound,
	CodeManifestInvalid:     http.StatusBadRequest,
	CodeManifestUnknown:     http.StatusNotFound,
	CodeNameInvalid:         http.StatusBadRequest,
	CodeNameUnknown:         http.StatusNotFound,
	CodeSizeInvalid:         http.StatusBadRequest,
	CodeUnauthorized:        http.StatusUnauthorized,
	CodeDenied:              http.StatusForbidden,
	CodeUnsupported:         http.StatusMethodNotAllowed,
	CodeTooManyRequests:     http.StatusTooManyRequests,
	CodePaginationInvalid:   http.StatusBadRequest,
	CodeRangeInvalid:        http.StatusRequestedRangeNotSatisfiable,
	CodeTagInvalid:          http.StatusBadRequest,
	CodeTooManyTags:         http.StatusRequestURITooLong,
	CodeTooLarge:            http.StatusRequestEntityTooLarge,
	CodeInUse:               http.StatusConflict,
	CodeTagFixed:            http.StatusConflict,
	CodeUnavailable:         http.StatusServiceUnavailable,
	CodeNoSpace:             http.StatusInsufficientStorage,
	CodeUpstream:            http.StatusBadGateway,
	CodeNotFound:            http.StatusNotFound,
	CodeInternal:            http.StatusInternalServerError,
}

// kinds gives each kind of error its code, where a method names none. Those that
// are not here are our own faults.
var kinds = map[dossier.Kind]Code{
	dossier.KindInvalid:     CodeUploadInvalid,
	dossier.KindNotFound:    CodeNotFound,
	dossier.KindConflict:    CodeInUse,
	dossier.KindDenied:      CodeDenied,
	dossier.KindLimit:       CodeSizeInvalid,
	dossier.KindUnavailable: CodeUnavailable,
	dossier.KindUnsupported: CodeUnsupported,
	dossier.KindStorage:     CodeNoSpace,
}

// Error is an error that a client is told by its code.
type Error struct {
	Code   Code
	Detail any // as JSON; may be nil
	// Challenge says how to log in (WWW-Authenticate); empty: not at all.
	Challenge string
	Err       error
	// RetryAfter is when to ask again; 0: as its status says.
	RetryAfter time.Duration
}

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// fault makes an error of a plain message.
func fault(code Code, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// when gives errors of a kind a code, and leaves others alone.
func when(err error, kind dossier.Kind, code Code) error {
	if err == nil || dossier.KindOf(err) != kind {
		return err
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	return &Error{Code: code, Err: err}
}

// codeOf returns the code of an error.
func codeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	if code, ok := kinds[dossier.KindOf(err)]; ok {
		return code
	}
	return CodeInternal
}

// problem is one error as the specification writes it.
type problem struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Detail  any    `json:"detail,omitempty"`
}

// retryAfter is in how many seconds to ask again when something is not
// available at the moment.
const retryAfter = 5

// refuse answers with an error. Our own faults are for the log only.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		h.config.Logger.DebugContext(r.Context(), "client left", "path", r.URL.Path)
		w.WriteHeader(statusClientLeft)
		return
	}
	if b, ok := r.Body.(*body); ok {
		b.leave(w, r)
	}
	code := codeOf(err)
	status := statuses[code]
	p := problem{Code: code, Message: err.Error()}
	header := w.Header()
	if e, ok := errors.AsType[*Error](err); ok {
		p.Detail = e.Detail
		if e.Challenge != "" {
			header.Set("WWW-Authenticate", e.Challenge)
		}
	}
	if over, ok := errors.AsType[*store.OverQuota](err); ok {
		p.Detail = map[string]any{"prefix": over.Prefix, "limit": over.Limit, "used": over.Used, "digest": over.Digest, "size": over.Size, "hint": dossier.HintOf(err)}
	}
	if hint := dossier.HintOf(err); hint != "" && p.Detail == nil {
		p.Detail = map[string]string{"hint": hint}
	}
	if status >= http.StatusInternalServerError {
		h.config.Logger.ErrorContext(r.Context(), "request failed", "path", r.URL.Path, "error", err)
	}
	if code == CodeInternal {
		p.Message = "internal error; the log of the server says more"
	}
	switch status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		pause := retryAfter * time.Second
		if e, ok := errors.AsType[*Error](err); ok && e.RetryAfter > 0 {
			pause = e.RetryAfter
		}
		header.Set("Retry-After", strconv.FormatInt(int64((pause+time.Second-1)/time.Second), 10))
	}
	respond(w, r, status, map[string][]problem{"errors": {p}})
}

// statusClientLeft is for the log; nobody reads it.
const statusClientLeft = 499

// respond answers with a value as JSON, which it must be possible to write.
func respond(w http.ResponseWriter, r *http.Request, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // a detail that is no JSON
		status, b = http.StatusInternalServerError, []byte(`{"errors":[{"code":"UNKNOWN","message":"internal error"}]}`)
	}
	header := w.Header()
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", "application/json")
	}
	header.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(b) // a client that has left is no news
	}
}
