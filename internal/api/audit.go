// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"net/http"

	"dossier.dev/dossier"
)

// auditParams are the names in the query of the audit.
func auditParams() []string {
	return []string{"repository", "tag", "digest", "who", "pod", "address", "action", "denied", "since", "until", "before", "limit"}
}

// audit lists what was done in the registry.
func (h *Handler) audit(w http.ResponseWriter, r *http.Request, q query) error {
	selection := dossier.AuditQuery{
		Repository: q.text("repository"), Tag: q.text("tag"), Digest: dossier.Digest(q.text("digest")), Who: q.text("who"),
		Pod: q.text("pod"), Address: q.text("address"), Action: dossier.AuditAction(q.text("action")), Before: q.text("before"),
	}
	var err error
	if selection.Denied, err = q.flag("denied"); err != nil {
		return err
	}
	if selection.Since, err = q.moment("since"); err != nil {
		return err
	}
	if selection.Until, err = q.moment("until"); err != nil {
		return err
	}
	limit, err := q.integer("limit", dossier.DefaultAuditPage)
	switch {
	case err != nil:
		return err
	case limit < 1:
		return q.invalid("limit", "want 1 or more")
	case limit > dossier.MaxAuditPage:
		return dossier.Errorf(dossier.KindLimit, "searching the audit", "", fmt.Sprintf("the limit is %d, MaxAuditPage is %d", limit, dossier.MaxAuditPage))
	}
	selection.Limit = int(limit)
	list, err := h.config.Answers.Audit(r.Context(), selection)
	if err != nil {
		return err
	}
	return h.respond(w, r, list)
}
