// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"net/http"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// defaultFound is how many images a search returns unless told otherwise.
const defaultFound = 100

// images lists images, or follows them.
func (h *Handler) images(w http.ResponseWriter, r *http.Request, q query) error {
	selection, err := q.images()
	if err != nil {
		return err
	}
	watch, err := q.flag("watch")
	if err != nil {
		return err
	}
	if watch {
		if selection.At != (dossier.Times{}) {
			return q.invalid("watch", "it follows what is so now: it does not go with at and knownAt")
		}
		return h.watch(w, r, selection)
	}
	list, err := h.config.Answers.Images(r.Context(), selection)
	if err != nil {
		return err
	}
	return h.respondList(w, r, list)
}

// dossier answers about what a reference means.
func (h *Handler) dossier(w http.ResponseWriter, r *http.Request, q query) error {
	return h.dossierOf(w, r, q, q.text("ref"))
}

// digest answers about a digest.
func (h *Handler) digest(w http.ResponseWriter, r *http.Request, q query) error {
	d, err := dossier.ParseDigest(r.PathValue("digest"))
	if err != nil {
		return err
	}
	return h.dossierOf(w, r, q, string(d))
}

func (h *Handler) dossierOf(w http.ResponseWriter, r *http.Request, q query, ref string) error {
	at, err := q.times()
	if err != nil {
		return err
	}
	d, err := h.config.Answers.Dossier(r.Context(), ref, at)
	if err != nil {
		return err
	}
	return h.respond(w, r, d)
}

// tags lists the tags that point at a digest.
func (h *Handler) tags(w http.ResponseWriter, r *http.Request, q query) error {
	d, err := dossier.ParseDigest(r.PathValue("digest"))
	if err != nil {
		return err
	}
	at, err := q.moment("at")
	if err != nil {
		return err
	}
	list := dossier.TagList{Digest: d, AsOf: at}
	if at.IsZero() {
		list.AsOf = dossier.Instant(h.config.Now())
	}
	err = h.config.Store.View(r.Context(), func(reader store.Reader) (err error) {
		list.Tags, err = reader.TagsOf(r.Context(), []dossier.Digest{d}, at)
		return err
	})
	if err != nil {
		return err
	}
	list.Tags = append([]dossier.TagInterval{}, list.Tags...)
	return h.respond(w, r, list)
}

// where finds images by a term.
func (h *Handler) where(w http.ResponseWriter, r *http.Request, q query) error {
	limit, err := q.integer("limit", defaultFound)
	if err != nil {
		return err
	}
	if limit > MaxFound {
		return dossier.Errorf(dossier.KindLimit, "searching", short(q.text("term")), fmt.Sprintf("the limit is %d, MaxFound is %d", limit, MaxFound))
	}
	found, err := h.config.Answers.Where(r.Context(), q.text("term"), int(max(limit, 0)))
	if err != nil {
		return err
	}
	return h.respond(w, r, found)
}

// history tells of tags over time and of layers.
func (h *Handler) history(w http.ResponseWriter, r *http.Request, q query) error {
	history, err := h.config.Answers.History(r.Context(), q.text("ref"))
	if err != nil {
		return err
	}
	return h.respond(w, r, history)
}

// clusters lists the clusters that are known.
func (h *Handler) clusters(w http.ResponseWriter, r *http.Request, _ query) error {
	list := dossier.ClusterList{}
	err := h.config.Store.View(r.Context(), func(reader store.Reader) (err error) {
		list.Clusters, err = reader.Clusters(r.Context())
		return err
	})
	if err != nil {
		return err
	}
	list.Clusters = append([]dossier.Cluster{}, list.Clusters...)
	return h.respond(w, r, list)
}
