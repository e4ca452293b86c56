// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import "time"

// AuditAction says what was done in the registry, or tried.
type AuditAction string

// The actions.
const (
	ActionPush   AuditAction = "push"   // a manifest or a blob came in
	ActionPull   AuditAction = "pull"   // a manifest or a blob, or part of it, went out
	ActionHead   AuditAction = "head"   // somebody asked whether a manifest or a blob is there, and it is
	ActionMount  AuditAction = "mount"  // a blob was taken from another repository
	ActionTag    AuditAction = "tag"    // a tag was pointed at a manifest
	ActionDelete AuditAction = "delete" // a manifest, a blob or a tag was removed
	ActionDamage AuditAction = "damage" // the bytes of a blob were found not to be those of its digest
	ActionHeal   AuditAction = "heal"   // they are again
	ActionList   AuditAction = "list"   // tags, repositories or referrers; recorded when it was refused
	ActionLogin  AuditAction = "login"  // credentials were shown; recorded when they were refused
	ActionOther  AuditAction = "other"  // no request of a registry; recorded when it was refused
	ActionLost   AuditAction = "lost"   // Count entries could not be kept
)

// AuditActions returns all actions.
func AuditActions() []AuditAction {
	return []AuditAction{
		ActionPush, ActionPull, ActionHead, ActionMount, ActionTag, ActionDelete, ActionDamage, ActionHeal, ActionList, ActionLogin, ActionOther,
		ActionLost,
	}
}

// AuditObject says what something was done to.
type AuditObject string

// The objects.
const (
	ObjectManifest AuditObject = "manifest" // or an index
	ObjectBlob     AuditObject = "blob"
	ObjectTag      AuditObject = "tag"
)

// AuditEntry is one thing that was done in the registry, or refused
// (docs/spec/registry.md, "Audit").
type AuditEntry struct {
	At         time.Time   `json:"at"`
	Action     AuditAction `json:"action"`
	Denied     bool        `json:"denied,omitempty"`     // it was refused
	Repository string      `json:"repository,omitempty"` // registry and repository
	Object     AuditObject `json:"object,omitempty"`
	Digest     Digest      `json:"digest,omitempty"`
	Tag        string      `json:"tag,omitempty"`
	Was        Digest      `json:"was,omitempty"`    // where the tag pointed before
	Source     string      `json:"source,omitempty"` // the repository that a blob was mounted from, or healed from
	Damage     string      `json:"damage,omitempty"` // what is wrong with a blob, or was
	Caller     AuditCaller `json:"caller"`
	Address    string      `json:"address,omitempty"` // where it came from, as the server saw it
	Client     string      `json:"client,omitempty"`  // what the program calls itself
	Status     int         `json:"status,omitempty"`  // of the answer, as in HTTP
	Code       string      `json:"code,omitempty"`    // of the error, as in the distribution specification
	Bytes      int64       `json:"bytes,omitempty"`   // that went out, or the size of what came in
	Count      int64       `json:"count,omitempty"`   // of ActionLost
	Reason     string      `json:"reason,omitempty"`  // why the registry itself did it
	Fact       Digest      `json:"fact,omitempty"`    // that says so; of what changed something
}

// AuditCaller is who did something, as far as is known.
type AuditCaller struct {
	Kind   string `json:"kind"`             // anonymous, user, serviceaccount, token, dossier: the registry itself
	Name   string `json:"name,omitempty"`   // of a user, or NAMESPACE/NAME of a service account
	Pod    string `json:"pod,omitempty"`    // that the service account's token is bound to, in its namespace
	PodUID string `json:"podUID,omitempty"` // as Kubernetes gave it
	Login  string `json:"login,omitempty"`  // how the caller showed who it is
}

// String names a caller among all: "user:alice", "serviceaccount:ci/builder",
// "token", "anonymous".
func (c AuditCaller) String() string {
	if c.Name == "" {
		return c.Kind
	}
	return c.Kind + ":" + c.Name
}

// AuditQuery selects entries of the audit. Empty fields select everything.
type AuditQuery struct {
	Repository string // with or without the name of the registry
	Tag        string
	Digest     Digest
	Who        string // a user, NAMESPACE/NAME of a service account, KIND:NAME or KIND
	Pod        string // NAMESPACE/NAME
	Address    string // IP
	Action     AuditAction
	Denied     bool // only what was refused
	Since      time.Time
	Until      time.Time // before this
	Before     string    // AuditList.Next of the page before
	Limit      int       // 0: DefaultAuditPage
}

// Lengths of a page of the audit.
const (
	DefaultAuditPage = 100
	MaxAuditPage     = 10_000
)

// AuditList is a page of the audit, newest first. It may be shorter than asked
// for although there are more.
type AuditList struct {
	Entries []AuditEntry `json:"entries"`
	Next    string       `json:"next,omitempty"` // ask for those before this to go on; empty: there are no more
}
