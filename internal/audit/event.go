// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"encoding/json"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// MaxEventTags is how many tags one event names. That each was pointed elsewhere
// is a fact of its own as well.
const MaxEventTags = 1000

// Event is something that changes the registry.
type Event struct {
	Kind   dossier.FactKind
	Digest dossier.Digest
	At     time.Time
	Body   dossier.EventBody
}

// Record records an event as a fact and makes it findable, in the transaction that
// makes it so. Each call records one, also of two events that are the same but for
// their number: the later gets a time a microsecond later.
func Record(ctx context.Context, tx store.Tx, e Event) error {
	e.Body.Address, e.Body.Client = hostOf(e.Body.Address), clean(e.Body.Client)
	e.Body.Caller = cleanCaller(e.Body.Caller)
	e.Body.Tags = e.Body.Tags[:min(len(e.Body.Tags), MaxEventTags)]
	body, err := json.Marshal(e.Body)
	if err != nil {
		return &dossier.Error{Kind: dossier.KindInternal, Op: "recording event", Subject: string(e.Digest), Err: err}
	}
	s := dossier.Statement{
		Subject: e.Digest, Kind: e.Kind, Source: "registry:" + e.Body.Name, ValidAt: dossier.Instant(e.At), Body: body,
	}
	for {
		fact, isNew, err := tx.Record(ctx, s)
		if err != nil {
			return err
		}
		if isNew {
			return index(ctx, tx, fact)
		}
		s.ValidAt = s.ValidAt.Add(time.Microsecond)
	}
}

// index makes a fact findable by the words of its entries.
func index(ctx context.Context, tx store.Tx, fact dossier.Fact) error {
	entries, err := entriesOf(fact)
	if err != nil {
		return err
	}
	set := map[word]struct{}{}
	for i := range entries {
		words(set, &entries[i])
	}
	return tx.IndexEvent(ctx, fact.ID, fact.ValidAt, keys(set))
}

// actions gives each kind of event its action.
var actions = map[dossier.FactKind]dossier.AuditAction{
	dossier.FactPush: dossier.ActionPush, dossier.FactMount: dossier.ActionMount,
	dossier.FactRetag: dossier.ActionTag, dossier.FactDelete: dossier.ActionDelete,
	dossier.FactDamage: dossier.ActionDamage, dossier.FactHeal: dossier.ActionHeal,
}

// entriesOf returns what an event did, in order. One whose body was erased did
// something that is no longer known.
func entriesOf(fact dossier.Fact) ([]dossier.AuditEntry, error) {
	var body dossier.EventBody
	if fact.Body != nil {
		if err := json.Unmarshal(fact.Body, &body); err != nil {
			return nil, &dossier.Error{Kind: dossier.KindCorrupt, Op: "reading event", Subject: string(fact.ID), Err: err}
		}
	}
	e := dossier.AuditEntry{
		At: fact.ValidAt, Action: actions[fact.Kind], Repository: body.Name, Object: body.Object, Digest: fact.Subject,
		Source: body.Source, Caller: body.Caller, Address: body.Address, Client: body.Client, Bytes: body.Size, Damage: body.Damage, Reason: body.Reason, Fact: fact.ID,
	}
	if len(body.Tags) > 0 && body.Object != dossier.ObjectTag {
		e.Tag = body.Tags[0].Tag
	}
	var list []dossier.AuditEntry
	if body.Object != dossier.ObjectTag {
		list = append(list, e)
	}
	for _, t := range body.Tags {
		tag := e
		tag.Object, tag.Tag, tag.Was, tag.Bytes = dossier.ObjectTag, t.Tag, t.Was, 0
		if fact.Kind != dossier.FactDelete {
			if tag.Action = dossier.ActionTag; !t.Moved {
				continue
			}
		}
		list = append(list, tag)
	}
	return list, nil
}
