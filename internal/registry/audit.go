// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"net/http"
	"slices"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/audit"
	"dossier.dev/dossier/internal/store"
)

// tried gives each kind of request what it tries to do.
var tried = [...]dossier.AuditAction{
	KindPing:           dossier.ActionLogin,
	KindBlobGet:        dossier.ActionPull,
	KindManifestGet:    dossier.ActionPull,
	KindUploadBegin:    dossier.ActionPush,
	KindUploadChunk:    dossier.ActionPush,
	KindUploadEnd:      dossier.ActionPush,
	KindManifestPut:    dossier.ActionPush,
	KindTagList:        dossier.ActionList,
	KindManifestDelete: dossier.ActionDelete,
	KindBlobDelete:     dossier.ActionDelete,
	KindReferrers:      dossier.ActionList,
	KindUploadStatus:   dossier.ActionPush,
	KindUploadCancel:   dossier.ActionPush,
	KindCatalog:        dossier.ActionList,
}

// refusals are the codes of what somebody was not allowed to do. Other errors
// come of a request that could not be done whoever sends it.
var refusals = []Code{CodeUnauthorized, CodeDenied, CodeTagFixed}

// caller writes who asks as the audit does.
func (c Caller) caller() dossier.AuditCaller {
	kind := c.Kind
	if kind == "" {
		kind = CallerAnonymous
	}
	return dossier.AuditCaller{Kind: string(kind), Name: c.Name, Pod: c.Pod, PodUID: c.PodUID, Login: c.Login}
}

// callerClaimed is the kind of a caller who said a name and did not show it.
const callerClaimed = "claimed"

// audit hands on what was pulled or refused. What changes something is recorded
// by who changes it. q is nil for a request that could not be parsed.
func (h *Handler) audit(w *recorder, r *http.Request, q *Request, who Caller, err error) {
	if h.config.Audit == nil {
		return
	}
	e := dossier.AuditEntry{Action: dossier.ActionOther, Caller: who.caller(), Status: w.status}
	if q != nil {
		e.Action, e.Repository, e.Digest, e.Tag, e.Source = tried[q.Kind], q.Repository, q.Digest, q.Tag, q.From
		switch q.Kind {
		case KindManifestGet, KindManifestPut, KindManifestDelete:
			e.Object = dossier.ObjectManifest
		case KindBlobGet, KindBlobDelete, KindUploadBegin, KindUploadChunk, KindUploadEnd:
			e.Object = dossier.ObjectBlob
		}
		if q.Mount != "" {
			e.Action, e.Digest = dossier.ActionMount, q.Mount
		}
	}
	if e.Digest == "" {
		e.Digest = w.digest
	}
	switch code := codeOf(err); {
	case err == nil && e.Action == dossier.ActionPull:
		if e.Bytes = w.bytes; r.Method == http.MethodHead {
			e.Action, e.Bytes = dossier.ActionHead, 0
		}
	case err != nil && slices.Contains(refusals, code):
		if q != nil && q.Kind == KindPing && code == CodeUnauthorized && r.Header.Get("Authorization") == "" {
			return // asks how to log in
		}
		e.Denied, e.Code = true, string(code)
		if user, _, ok := r.BasicAuth(); ok && code == CodeUnauthorized && who == (Caller{}) {
			e.Caller = dossier.AuditCaller{Kind: callerClaimed, Name: user}
		}
	default:
		return
	}
	e.At, e.Address, e.Client = h.config.Now(), r.RemoteAddr, r.UserAgent()
	h.config.Audit(e)
}

// RefusedLogin is what the audit is given of a request for a token that was refused
// for its credentials, elsewhere than in a Handler.
func RefusedLogin(r *http.Request, at time.Time) dossier.AuditEntry {
	user, _, ok := r.BasicAuth()
	if !ok {
		user = r.PostForm.Get("username") // of a form that was read
	}
	e := dossier.AuditEntry{
		At: at, Action: dossier.ActionLogin, Denied: true, Status: http.StatusUnauthorized, Code: string(CodeUnauthorized),
		Caller: Caller{}.caller(), Address: r.RemoteAddr, Client: r.UserAgent(),
	}
	if user != "" {
		e.Caller = dossier.AuditCaller{Kind: callerClaimed, Name: user}
	}
	return e
}

// event records something that the request changes, in the transaction that
// changes it.
func (c *call) event(ctx context.Context, tx store.Tx, kind dossier.FactKind, d dossier.Digest, at time.Time, body dossier.EventBody) error {
	body.Name = c.config.Name + "/" + c.Repository
	body.Caller, body.Address, body.Client = c.who.caller(), c.r.RemoteAddr, c.r.UserAgent()
	return audit.Record(ctx, tx, audit.Event{Kind: kind, Digest: d, At: at, Body: body})
}
