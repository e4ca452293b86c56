// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/http"
	"slices"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// upstreams says how it stands with the registries that are pulled through, and
// what is kept of each.
func (h *Handler) upstreams(w http.ResponseWriter, r *http.Request, _ query) error {
	list := dossier.UpstreamList{AsOf: dossier.Instant(h.config.Now()), Upstreams: []dossier.Upstream{}}
	if h.config.Upstreams != nil {
		list.Upstreams = h.config.Upstreams()
	}
	var use []store.UpstreamUse
	err := h.config.Store.View(r.Context(), func(reader store.Reader) (err error) {
		use, err = reader.UpstreamUse(r.Context())
		return err
	})
	if err != nil {
		return err
	}
	for _, u := range use {
		at, ok := slices.BinarySearchFunc(list.Upstreams, u.Upstream, func(o dossier.Upstream, name string) int { return strings.Compare(o.Name, name) })
		if !ok {
			gone := dossier.Upstream{Name: u.Upstream, Prefix: strings.Replace(u.Upstream, ":", "_", 1), State: dossier.UpstreamRemoved}
			list.Upstreams = slices.Insert(list.Upstreams, at, gone)
		}
		o := &list.Upstreams[at]
		o.Repositories, o.Manifests, o.Blobs, o.Bytes = u.Repositories, u.Manifests, u.Blobs, u.Bytes
	}
	return h.respond(w, r, list)
}
