// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/minio/minio-go/v7"

	"dossier.dev/dossier"
)

// Hints that several faults share.
const (
	hintLater    = "Try again later; look at the object store when it lasts."
	hintBucket   = "Make the bucket, or name another."
	hintRights   = "Check the endpoint, and that the credentials may list, read, write and delete in the bucket."
	hintSpace    = "Free space in the object store, or raise its quota."
	hintRegion   = "Give the region of the bucket: ?region=REGION."
	hintClock    = "Set the clock of this machine."
	hintAgain    = "Upload it again."
	hintOther    = "Use an object store that has multipart uploads and If-None-Match."
	hintTrust    = "Name a file with the authority of the object store in SSL_CERT_FILE."
	hintEndpoint = "Check the endpoint and the network between."
)

// How long to wait between two tries.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 3 * time.Second
)

// meaning is what a code of S3 stands for here.
type meaning struct {
	kind dossier.Kind
	hint string
}

// meanings of the codes of S3. What is not there goes by its HTTP
// status; an error may come with the status of success.
func meanings() map[string]meaning {
	return map[string]meaning{
		minio.NoSuchKey:                    {dossier.KindNotFound, ""},
		minio.NoSuchUpload:                 {dossier.KindNotFound, ""},
		minio.NoSuchBucket:                 {dossier.KindStorage, hintBucket},
		minio.PreconditionFailed:           {dossier.KindConflict, ""},
		"ConditionalRequestConflict":       {dossier.KindConflict, ""},
		minio.InvalidPart:                  {dossier.KindCorrupt, hintAgain},
		minio.InvalidPartOrder:             {dossier.KindCorrupt, hintAgain},
		minio.EntityTooSmall:               {dossier.KindCorrupt, hintAgain},
		minio.BadDigest:                    {dossier.KindCorrupt, hintAgain},
		minio.IncompleteBody:               {dossier.KindCorrupt, hintAgain},
		minio.XAmzContentSHA256Mismatch:    {dossier.KindCorrupt, hintAgain},
		minio.EntityTooLarge:               {dossier.KindStorage, hintSpace},
		"QuotaExceeded":                    {dossier.KindStorage, hintSpace},
		"XMinioStorageFull":                {dossier.KindStorage, hintSpace},
		minio.AuthorizationHeaderMalformed: {dossier.KindStorage, hintRegion},
		minio.InvalidRegion:                {dossier.KindStorage, hintRegion},
		minio.RequestTimeTooSkewed:         {dossier.KindUnavailable, hintClock},
		"RequestTimeout":                   {dossier.KindUnavailable, hintLater},
		"SlowDown":                         {dossier.KindUnavailable, hintLater},
		"ServiceUnavailable":               {dossier.KindUnavailable, hintLater},
		minio.InternalError:                {dossier.KindUnavailable, hintLater},
	}
}

// explain returns what an answer with a code and an HTTP status stands for.
func explain(code string, status int) meaning {
	if m, ok := meanings()[code]; ok {
		return m
	}
	switch {
	case status == http.StatusPreconditionFailed:
		return meaning{dossier.KindConflict, ""}
	// An unknown 404 is about an account or a path, not about one of our objects.
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound:
		return meaning{dossier.KindStorage, hintRights}
	case status >= 300 && status < 400:
		return meaning{dossier.KindStorage, hintRegion}
	case status == http.StatusInsufficientStorage:
		return meaning{dossier.KindStorage, hintSpace}
	case status == http.StatusNotImplemented, status == http.StatusMethodNotAllowed:
		return meaning{dossier.KindUnsupported, hintOther}
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status >= 500:
		return meaning{dossier.KindUnavailable, hintLater}
	}
	return meaning{dossier.KindInternal, ""}
}

// fault makes a dossier.Error of what a request returned. It leaves alone what
// is one already.
func fault(op, key string, err error) error {
	if _, ok := errors.AsType[*dossier.Error](err); ok {
		return err
	}
	e := &dossier.Error{Kind: dossier.KindInternal, Op: op, Subject: key, Err: err}
	if answer, ok := errors.AsType[minio.ErrorResponse](err); ok {
		m := explain(answer.Code, answer.StatusCode)
		e.Kind, e.Hint = m.kind, m.hint
		return e
	}
	_, isURL := errors.AsType[*url.Error](err)
	_, isNet := errors.AsType[net.Error](err)
	_, untrusted := errors.AsType[x509.UnknownAuthorityError](err)
	switch {
	case errors.Is(err, context.Canceled):
		e.Kind = dossier.KindUnavailable
	case errors.Is(err, context.DeadlineExceeded):
		e.Kind, e.Hint = dossier.KindUnavailable, hintLater
	case untrusted:
		e.Kind, e.Hint = dossier.KindUnavailable, hintTrust
	case isURL, isNet, errors.Is(err, io.ErrUnexpectedEOF):
		e.Kind, e.Hint = dossier.KindUnavailable, hintEndpoint
	}
	return e
}

// is reports whether the object store answered with one of the codes.
func is(err error, codes ...string) bool {
	answer, ok := errors.AsType[minio.ErrorResponse](err)
	for _, code := range codes {
		if ok && answer.Code == code {
			return true
		}
	}
	return false
}

// call sends a request, with its tries, for as long as ctx lasts and at most for
// limit.
func (s *Store) call(ctx context.Context, what string, limit time.Duration, send func(context.Context) error) error {
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := s.retry(timed, what, send)
	if err != nil && timed.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("no good answer within %v: %w", limit, err)
	}
	return err
}

// retry sends a request up to Config.Tries times, with pauses. An error says what
// was asked, where, how often, and what the place said.
func (s *Store) retry(ctx context.Context, what string, send func(context.Context) error) error {
	for try := 1; ; try++ {
		err := send(ctx)
		if err == nil {
			return nil
		}
		if try < s.tries && transient(err) && s.pause(ctx, try) {
			continue
		}
		what = fmt.Sprintf("%s in %s", what, s.where)
		if try > 1 {
			what = fmt.Sprintf("%s, tried %d times", what, try)
		}
		if answer, ok := errors.AsType[minio.ErrorResponse](err); ok {
			return fmt.Errorf("%s: %s (%d): %w", what, answer.Code, answer.StatusCode, err)
		}
		if ctxErr := ctx.Err(); ctxErr != nil && !errors.Is(err, ctxErr) {
			return fmt.Errorf("%s: %w: %w", what, ctxErr, err)
		}
		return fmt.Errorf("%s: %w", what, err)
	}
}

// transient reports whether the same request may do better a moment later.
func transient(err error) bool {
	_, untrusted := errors.AsType[x509.UnknownAuthorityError](err)
	return !untrusted && dossier.KindOf(fault("", "", err)) == dossier.KindUnavailable
}

// pause waits before the next try, longer each time, and seldom as long as other
// clients do. It reports whether ctx lasts.
func (s *Store) pause(ctx context.Context, try int) bool {
	longest := min(s.rest<<min(try-1, 10), lastPause)
	timer := time.NewTimer(longest/2 + rand.N(longest/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
