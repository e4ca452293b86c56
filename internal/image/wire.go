// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"dossier.dev/dossier"
)

// Throttled is the cause of an error when a host asked to be left alone for
// longer than Limits.Wait, or again and again.
type Throttled struct {
	Host  string
	Until time.Time // do not ask before
}

// Error implements error.
func (t *Throttled) Error() string {
	return fmt.Sprintf("%s wants no requests before %s", t.Host, t.Until.UTC().Format(time.RFC3339))
}

// wire is the http.RoundTripper under every request. It keeps requests within
// what a host allows, repeats those that failed in passing, and counts them.
type wire struct {
	*network
	next http.RoundTripper
}

const (
	backoffFirst = 250 * time.Millisecond
	backoffMost  = 10 * time.Second
)

// RoundTrip implements http.RoundTripper.
func (w wire) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, host := req.Context(), req.URL.Host
	if req.URL.Scheme != "https" && !w.mayBePlain(host) {
		return nil, &dossier.Error{
			Kind: dossier.KindDenied, Op: "connecting to", Subject: host,
			Hint: "If it really speaks no TLS, name it with --plain-http.",
			Err:  errors.New("requests without TLS are not allowed"),
		}
	}
	l := w.lane(host)
	for attempt := 0; ; attempt++ {
		if err := w.patience(ctx, l, host); err != nil {
			return nil, err
		}
		resp, err := w.once(l, req)
		pause, again := w.again(req, resp, err, attempt)
		if !again {
			return resp, err
		}
		if resp != nil {
			if err := w.note(l, host, resp, pause, attempt); err != nil {
				return nil, err
			}
			_, _ = io.CopyN(io.Discard, resp.Body, maxSideReply) // to use the connection again
			_ = resp.Body.Close()
		}
		w.log.DebugContext(ctx, "request will be repeated", slog.String("host", host), slog.Duration("pause", pause), slog.Int("attempt", attempt+1))
		if err := sleep(ctx, l, pause); err != nil {
			return nil, err
		}
	}
}

// once sends the request one time, in a slot of the host. The slot is free again
// when the head of the answer is there: a layer that is read slowly must
// not keep others waiting.
func (w wire) once(l *lane, req *http.Request) (*http.Response, error) {
	select {
	case l.slots <- struct{}{}:
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	defer func() { <-l.slots }()
	l.count(req.Context())
	resp, err := w.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	l.heard(resp.Header)
	resp.Body = &counted{ReadCloser: resp.Body, lane: l, tally: tallyOf(req.Context())}
	return resp, nil
}

// again says whether to repeat a request and after which pause.
func (w wire) again(req *http.Request, resp *http.Response, err error, attempt int) (time.Duration, bool) {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		return 0, false
	}
	pause := backoff(attempt)
	if err != nil {
		return pause, attempt < w.limits.Retries && req.Context().Err() == nil && passing(err)
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests:
		return cmp.Or(retryAfter(resp.Header, w.now()), pause), true // note decides whether it was enough
	case http.StatusServiceUnavailable:
		asked := retryAfter(resp.Header, w.now())
		return cmp.Or(asked, pause), asked > 0 || attempt < w.limits.Retries
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
		return pause, attempt < w.limits.Retries
	}
	return 0, false
}

// note remembers for all requests to the host how long it asked to be left
// alone. It returns an error when that is too long or too often.
func (w wire) note(l *lane, host string, resp *http.Response, pause time.Duration, attempt int) error {
	asked := retryAfter(resp.Header, w.now()) > 0
	if resp.StatusCode != http.StatusTooManyRequests && !asked {
		return nil
	}
	until := w.now().Add(pause)
	l.hold(until, resp.StatusCode == http.StatusTooManyRequests)
	if pause <= w.limits.Wait && attempt < w.limits.Retries {
		return nil
	}
	_ = resp.Body.Close()
	return throttledError(host, until)
}

func throttledError(host string, until time.Time) error {
	return &dossier.Error{
		Kind: dossier.KindUnavailable, Op: "asking", Subject: host,
		Hint: "Try again later, or log in with `docker login " + host + "` if it allows more to those it knows.",
		Err:  &Throttled{Host: host, Until: until},
	}
}

// patience waits until the host may be asked again.
func (w wire) patience(ctx context.Context, l *lane, host string) error {
	for {
		until := l.heldUntil()
		pause := until.Sub(w.now())
		if pause <= 0 {
			return nil
		}
		if pause > w.limits.Wait {
			return throttledError(host, until)
		}
		if err := sleep(ctx, l, pause); err != nil {
			return err
		}
	}
}

// sleep waits, and gives up at once when the context would end before.
func sleep(ctx context.Context, l *lane, d time.Duration) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < d {
		return context.DeadlineExceeded
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		l.waited(d)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// backoff is the pause after a number of failures: exponential, with jitter so
// that those who failed together do not come back together.
func backoff(attempt int) time.Duration {
	d := min(backoffFirst<<min(attempt, 10), backoffMost)
	return d/2 + rand.N(d/2)
}

// retryAfter reads the Retry-After header, seconds or a date; 0 without one
// (RFC 9110, section 10.2.3).
func retryAfter(h http.Header, now time.Time) time.Duration {
	s := h.Get("Retry-After")
	if n, err := strconv.ParseInt(s, 10, 32); err == nil {
		return max(0, time.Duration(n)*time.Second)
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}

// passing reports whether a network error may be gone the next time.
func passing(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return false
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return false
	}
	_, ok := errors.AsType[tls.RecordHeaderError](err)
	return !ok
}
