// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"dossier.dev/dossier"
)

const (
	jsonType    = "application/json"
	problemType = "application/problem+json"
	linesType   = "application/x-ndjson"
	cycloneType = "application/vnd.cyclonedx+json; version=1.6"
	spdxType    = "application/spdx+json"
	proofType   = "application/vnd.dossier.proof+json"

	// minGzip is from how many bytes on a response is compressed: below, it
	// costs more time than it saves.
	minGzip = 32 << 10
	// retryAfter is in how many seconds to ask again after KindUnavailable.
	retryAfter = 5
)

// statuses gives each kind of error its status.
var statuses = map[dossier.Kind]int{
	dossier.KindInternal:    http.StatusInternalServerError,
	dossier.KindInvalid:     http.StatusBadRequest,
	dossier.KindNotFound:    http.StatusNotFound,
	dossier.KindConflict:    http.StatusConflict,
	dossier.KindDenied:      http.StatusForbidden,
	dossier.KindLimit:       http.StatusRequestEntityTooLarge,
	dossier.KindUnavailable: http.StatusServiceUnavailable,
	dossier.KindCorrupt:     http.StatusBadGateway,
	dossier.KindUnsupported: http.StatusUnprocessableEntity,
	dossier.KindStorage:     http.StatusInsufficientStorage,
}

// statusOf returns the status of an error.
func statusOf(err error) int {
	switch {
	case errors.Is(err, errToken):
		return http.StatusUnauthorized
	case errors.Is(err, errMethod):
		return http.StatusMethodNotAllowed
	}
	if status, ok := statuses[dossier.KindOf(err)]; ok {
		return status
	}
	return http.StatusInternalServerError
}

// refuse answers with an error. One that nobody gave a kind is for the log only.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		h.config.Logger.DebugContext(r.Context(), "client left", "path", r.URL.Path)
		return
	}
	problem, status := problemOf(err), statusOf(err)
	if status >= http.StatusInternalServerError {
		h.config.Logger.ErrorContext(r.Context(), "request failed", "path", r.URL.Path, "error", err)
	}
	header := w.Header()
	if problem.Kind == dossier.KindUnavailable {
		header.Set("Retry-After", strconv.Itoa(retryAfter))
	}
	b, _ := json.Marshal(problem) // strings only
	header.Set("Content-Type", problemType)
	header.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // a client that has left is no news
}

// problemOf returns what of an error may be told.
func problemOf(err error) dossier.Problem {
	if _, ok := errors.AsType[*dossier.Error](err); !ok {
		return dossier.Problem{Kind: dossier.KindInternal, Message: "internal error", Hint: "the log of the server says more"}
	}
	return dossier.ProblemOf(err)
}

// respond answers with a value as JSON.
func (h *Handler) respond(w http.ResponseWriter, r *http.Request, v any) error {
	b := h.body(w, r)
	defer b.free()
	if err := encode(b, v); err != nil {
		return b.broken(err)
	}
	return b.broken(b.Close())
}

// respondAs answers with what write writes, of a media type.
func (h *Handler) respondAs(w http.ResponseWriter, r *http.Request, mediaType string, write func(io.Writer) error) error {
	b := h.body(w, r)
	defer b.free()
	w.Header().Set("Content-Type", mediaType)
	if err := write(b); err != nil {
		return b.broken(err)
	}
	return b.broken(b.Close())
}

// respondList answers with a list of images, encoded one by one: all of them at
// once can be some tens of megabytes.
func (h *Handler) respondList(w http.ResponseWriter, r *http.Request, list dossier.ImageList) error {
	images := list.Images
	list.Images = []dossier.Dossier{}
	frame, err := json.Marshal(list)
	if err != nil {
		return err
	}
	// A quotation mark within a string is escaped, so this is the field.
	head, tail, _ := bytes.Cut(frame, []byte(`"images":[`))
	b := h.body(w, r)
	defer b.free()
	write := func(p []byte) {
		if err == nil {
			_, err = b.Write(p)
		}
	}
	write(head)
	write([]byte(`"images":[`))
	for i := range images {
		if i > 0 {
			write([]byte(","))
		}
		if err == nil {
			err = images[i].WriteJSON(b)
		}
	}
	write(tail)
	if err != nil {
		return b.broken(err)
	}
	return b.broken(b.Close())
}

// encode writes v as JSON, and a line break.
func encode(w io.Writer, v any) error {
	if d, ok := v.(dossier.Dossier); ok {
		return d.WriteJSON(w)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// body is the body of a response. It holds back what fits in minGzip, so that
// a small one has a length and an early failure can still be told.
type body struct {
	h       *Handler
	w       http.ResponseWriter
	gzip    bool // the client takes it
	held    *bytes.Buffer
	to      io.Writer // nil: nothing was sent yet
	packing *gzip.Writer
}

func (h *Handler) body(w http.ResponseWriter, r *http.Request) *body {
	w.Header().Set("Content-Type", jsonType)
	w.Header().Add("Vary", "Accept-Encoding")
	held, _ := h.buffers.Get().(*bytes.Buffer)
	if held == nil {
		held = &bytes.Buffer{}
	}
	return &body{h: h, w: w, gzip: acceptsGzip(r.Header.Get("Accept-Encoding")), held: held}
}

// acceptsGzip reads an Accept-Encoding header (RFC 9110, section 12.5.3).
func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		if name = strings.TrimSpace(name); name != "gzip" && name != "*" {
			continue
		}
		q, ok := strings.CutPrefix(strings.TrimSpace(weight), "q=")
		return !ok || strings.Trim(q, "0.") != ""
	}
	return false
}

// Write implements io.Writer.
func (b *body) Write(p []byte) (int, error) {
	if b.to == nil {
		if b.held.Write(p); b.held.Len() < minGzip {
			return len(p), nil
		}
		return len(p), b.begin()
	}
	return b.to.Write(p)
}

// begin sends what was held back, and what follows as it comes.
func (b *body) begin() error {
	b.to = b.w
	if b.gzip {
		b.w.Header().Set("Content-Encoding", "gzip")
		b.packing, _ = b.h.writers.Get().(*gzip.Writer)
		if b.packing == nil {
			b.packing, _ = gzip.NewWriterLevel(b.w, gzip.BestSpeed) // a valid level
		} else {
			b.packing.Reset(b.w)
		}
		b.to = b.packing
	}
	_, err := b.to.Write(b.held.Bytes())
	return err
}

// Close sends the rest.
func (b *body) Close() error {
	if b.to == nil {
		b.w.Header().Set("Content-Length", strconv.Itoa(b.held.Len()))
		b.to = b.w
		_, err := b.w.Write(b.held.Bytes())
		return err
	}
	if b.packing != nil {
		return b.packing.Close()
	}
	return nil
}

// free gives back what was borrowed.
func (b *body) free() {
	if b.held.Cap() <= 2*minGzip {
		b.held.Reset()
		b.h.buffers.Put(b.held)
	}
	b.held = nil
	if b.packing != nil {
		b.packing.Reset(io.Discard)
		b.h.writers.Put(b.packing)
		b.packing = nil
	}
}

// broken passes on an error if it can still be told. After the first byte all
// that can be done is to break off, so that nobody takes a part for the whole.
func (b *body) broken(err error) error {
	if err != nil && b.to != nil {
		panic(http.ErrAbortHandler)
	}
	return err
}
