// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"dossier.dev/dossier"
)

// resumed is a blob that is asked for again, from where it broke off.
type resumed struct {
	ctx    context.Context // of the stream that it is
	source *repository
	digest dossier.Digest
	limits Limits
	size   int64 // -1: unknown

	open  io.ReadCloser // nil: it broke off
	n     int64         // bytes read
	tries int           // since the last byte
	err   error         // why it broke off
}

// resume begins to read a blob.
func (r *repository) resume(ctx context.Context, d dossier.Digest, limits Limits) (*resumed, error) {
	s := &resumed{ctx: ctx, source: r, digest: d, limits: limits, size: -1}
	if err := s.begin(); err != nil {
		return nil, err
	}
	return s, nil
}

// begin asks for the bytes from s.n on.
func (s *resumed) begin() error {
	ctx, cancel := context.WithCancel(s.ctx)
	q := question{
		op: "reading blob", subject: s.source.ref.Name() + "@" + string(s.digest), method: http.MethodGet,
		path: string(blobs) + "/" + string(s.digest), from: s.n,
	}
	resp, err := s.source.ask(ctx, q)
	if q.from > 0 && dossier.KindOf(err) == dossier.KindInvalid { // it minds that a part is asked for
		q.from = 0
		resp, err = s.source.ask(ctx, q)
	}
	if err != nil {
		cancel()
		return err
	}
	stream := watch(resp.Body, cancel, s.limits.Stall)
	switch {
	case s.n == 0:
		s.size = resp.ContentLength
	case resp.StatusCode == http.StatusOK: // it knows no ranges
		_, err = io.CopyN(io.Discard, stream, s.n)
	case rangeStart(resp.Header) != s.n:
		err = dossier.Errorf(dossier.KindCorrupt, q.op, q.subject, fmt.Sprintf("asked for the bytes from %d on, the registry sends others", s.n))
	}
	if err != nil {
		return errors.Join(err, stream.Close())
	}
	s.open = stream
	return nil
}

// rangeStart returns where the bytes of a partial answer begin, or -1 (RFC
// 9110, section 14.4).
func rangeStart(h http.Header) int64 {
	first, _, _ := strings.Cut(strings.TrimPrefix(h.Get("Content-Range"), "bytes "), "-")
	n, err := strconv.ParseInt(first, 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// Read implements io.Reader.
func (s *resumed) Read(p []byte) (int, error) {
	for {
		if s.open == nil {
			if err := s.again(); err != nil {
				return 0, err
			}
		}
		n, err := s.open.Read(p)
		s.n += int64(n)
		if n > 0 {
			s.tries = 0
		}
		if err == nil || err == io.EOF && (s.size < 0 || s.n >= s.size) {
			return n, err
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		s.err = errors.Join(err, s.Close())
		if n > 0 {
			return n, nil
		}
	}
}

// again goes on after a pause, and returns why it cannot.
func (s *resumed) again() error {
	for {
		if s.ctx.Err() != nil || s.tries >= max(0, s.limits.Retries) {
			return s.source.network.failure("reading blob", s.source.ref.Name()+"@"+string(s.digest), s.source.ref.Registry, s.err)
		}
		select {
		case <-time.After(backoff(s.tries)):
		case <-s.ctx.Done():
			continue
		}
		s.tries++
		err := s.begin()
		if err == nil {
			return nil
		}
		if s.err = err; dossier.KindOf(err) != dossier.KindUnavailable {
			return err
		}
	}
}

// Close implements io.Closer.
func (s *resumed) Close() error {
	if s.open == nil {
		return nil
	}
	err := s.open.Close()
	s.open = nil
	return err
}
