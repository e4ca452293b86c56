// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/render"
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

// proof answers about what a reference means, and proves it.
func (h *Handler) proof(w http.ResponseWriter, r *http.Request, q query) error {
	at, err := q.times()
	if err != nil {
		return err
	}
	b, err := h.config.Answers.Proof(r.Context(), q.text("ref"), at)
	if err != nil {
		return err
	}
	return h.respondAs(w, r, proofType, func(to io.Writer) error {
		_, err := to.Write(b)
		return err
	})
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

// tags lists the tags that point at a digest, page by page.
func (h *Handler) tags(w http.ResponseWriter, r *http.Request, q query) error {
	d, err := dossier.ParseDigest(r.PathValue("digest"))
	if err != nil {
		return err
	}
	page := store.TagQuery{Digest: d}
	if page.At, err = q.moment("at"); err != nil {
		return err
	}
	if page.Limit, err = q.pageOfTags(); err != nil {
		return err
	}
	if after := q.text("after"); after != "" {
		at := strings.LastIndexByte(after, ':')
		if at < 0 {
			return q.invalid("after", "want the NAME:TAG that next said")
		}
		page.After = store.NameTag{Name: after[:at], Tag: after[at+1:]}
	}
	list := dossier.TagList{Digest: d, AsOf: page.At}
	if page.At.IsZero() {
		list.AsOf = dossier.Instant(h.config.Now())
	}
	limit := page.Limit
	page.Limit++
	err = h.config.Store.View(r.Context(), func(reader store.Reader) (err error) {
		list.Tags, err = reader.TagPage(r.Context(), page)
		return err
	})
	if err != nil {
		return err
	}
	if len(list.Tags) > limit {
		list.Tags = list.Tags[:limit]
		list.Next = list.Tags[limit-1].Name + ":" + list.Tags[limit-1].Tag
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
	at, err := q.moment("at")
	if err != nil {
		return err
	}
	history, err := h.config.Answers.History(r.Context(), q.text("ref"), at)
	if err != nil {
		return err
	}
	return h.respond(w, r, history)
}

// changes compares the tags of a repository at two times.
func (h *Handler) changes(w http.ResponseWriter, r *http.Request, q query) error {
	ask := dossier.TagDiffQuery{Repository: q.text("repository"), After: q.text("after")}
	var err error
	if ask.From, err = q.moment("from"); err != nil {
		return err
	}
	if ask.To, err = q.moment("to"); err != nil {
		return err
	}
	if ask.Limit, err = q.pageOfTags(); err != nil {
		return err
	}
	diff, err := h.config.Answers.Changes(r.Context(), ask)
	if err != nil {
		return err
	}
	return h.respond(w, r, diff)
}

// sbom lists what an image holds, also in the formats of others.
func (h *Handler) sbom(w http.ResponseWriter, r *http.Request, q query) error {
	at, err := q.times()
	if err != nil {
		return err
	}
	var write func(io.Writer, dossier.SBOM) error
	mediaType := jsonType
	switch q.text("format") {
	case "", "json":
	case "cyclonedx":
		write, mediaType = render.CycloneDX, cycloneType
	case "spdx":
		write, mediaType = render.SPDX, spdxType
	default:
		return q.invalid("format", "want json, cyclonedx or spdx")
	}
	s, err := h.config.Answers.SBOM(r.Context(), dossier.SBOMQuery{Ref: q.text("ref"), Platform: q.text("platform"), At: at})
	if err != nil {
		return err
	}
	if write == nil {
		return h.respond(w, r, s)
	}
	return h.respondAs(w, r, mediaType, func(to io.Writer) error { return write(to, s) })
}

// vulnerabilities lists what advisories say of what an image holds.
func (h *Handler) vulnerabilities(w http.ResponseWriter, r *http.Request, q query) error {
	ask, err := q.findings()
	if err != nil {
		return err
	}
	list, err := h.config.Answers.Findings(r.Context(), ask)
	if err != nil {
		return err
	}
	return h.respond(w, r, list)
}

// explanation says why packages of an image have a vulnerability, or do not.
func (h *Handler) explanation(w http.ResponseWriter, r *http.Request, q query) error {
	ask, err := q.findings()
	if err != nil {
		return err
	}
	if q.text("id") == "" {
		return q.invalid("id", "want the ID of a vulnerability")
	}
	e, err := h.config.Answers.Explain(r.Context(), ask, q.text("id"))
	if err != nil {
		return err
	}
	return h.respond(w, r, e)
}

// findings reads of which image findings are asked for.
func (q query) findings() (dossier.FindingQuery, error) {
	at, err := q.times()
	if v := q.text("vex"); err == nil && v != "" && v != "attached" {
		err = q.invalid("vex", "want attached")
	}
	return dossier.FindingQuery{Ref: q.text("ref"), Platform: q.text("platform"), At: at, Attached: q.text("vex") != ""}, err
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
