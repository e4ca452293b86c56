// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"net/http"

	"dossier.dev/dossier"
)

// errNoRegistry is the answer to questions about a registry that is not there.
var errNoRegistry = &dossier.Error{Kind: dossier.KindNotFound, Op: "finding the resource", Err: errors.New("this server is no registry"),
	Hint: "ask a server that is one"}

// why says why a digest is kept.
func (h *Handler) why(w http.ResponseWriter, r *http.Request, q query) error {
	if h.config.Care == nil {
		return errNoRegistry
	}
	d, err := dossier.ParseDigest(q.text("digest"))
	if err != nil {
		return err
	}
	k, err := h.config.Care.Why(r.Context(), q.text("repository"), d)
	if err != nil {
		return err
	}
	return h.respond(w, r, k)
}

// garbage says what a collection would take away now.
func (h *Handler) garbage(w http.ResponseWriter, r *http.Request, _ query) error {
	if h.config.Care == nil {
		return errNoRegistry
	}
	c, err := h.config.Care.Plan(r.Context())
	if err != nil {
		return err
	}
	return h.respond(w, r, c)
}

// damage says which blobs are damaged.
func (h *Handler) damage(w http.ResponseWriter, r *http.Request, q query) error {
	if h.config.Care == nil {
		return errNoRegistry
	}
	var after dossier.Digest
	if text := q.text("after"); text != "" {
		var err error
		if after, err = dossier.ParseDigest(text); err != nil {
			return err
		}
	}
	list, err := h.config.Care.Damage(r.Context(), after)
	if err != nil {
		return err
	}
	return h.respond(w, r, list)
}

// quotas says how much of each quota is used.
func (h *Handler) quotas(w http.ResponseWriter, r *http.Request, _ query) error {
	if h.config.Care == nil {
		return errNoRegistry
	}
	list, err := h.config.Care.Quotas(r.Context())
	if err != nil {
		return err
	}
	return h.respond(w, r, list)
}
