// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	_ "embed"
	"net/http"
	"strconv"
	"strings"

	"dossier.dev/dossier"
)

// openapiJSON describes the API (OpenAPI 3.1). Tests hold it and the Go types
// to each other.
//
//go:embed openapi.json
var openapiJSON []byte

// documentTag is the ETag of the document.
func documentTag() string { return `"` + dossier.FromBytes(openapiJSON).Short() + `"` }

// openapi gives the document. It is the one resource that may be kept.
func (h *Handler) openapi(w http.ResponseWriter, r *http.Request, _ query) error {
	header := w.Header()
	header.Set("Cache-Control", "no-cache") // ask each time whether it is the same
	header.Set("ETag", h.etag)
	for tag := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/"); tag == h.etag || tag == "*" {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	header.Set("Content-Type", jsonType)
	header.Set("Content-Length", strconv.Itoa(len(openapiJSON)))
	_, _ = w.Write(openapiJSON) // a client that has left is no news
	return nil
}
