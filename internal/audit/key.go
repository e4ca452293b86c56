// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"

	"dossier.dev/dossier"
)

// field is what an entry can be found by.
type field string

// The fields, those first that single out most.
const (
	byDigest     field = "digest"
	byTag        field = "tag" // PATH:TAG
	byPod        field = "pod" // NAMESPACE/NAME
	byCaller     field = "caller"
	byAddress    field = "address"
	byRepository field = "repository" // path
	byDenied     field = "denied"
	byAction     field = "action"
	byAll        field = "all"
)

// word is a field with a value.
type word struct {
	field field
	value string
}

// key is the number under which a store finds a word: the first eight bytes of the
// SHA-256 digest of the field, a NUL and the value.
func (w word) key() int64 {
	sum := sha256.Sum256([]byte(string(w.field) + "\x00" + w.value))
	return int64(binary.BigEndian.Uint64(sum[:]))
}

// findable is all of an entry that its words are made of.
type findable struct {
	digest, was                      dossier.Digest
	caller                           dossier.AuditCaller
	repository, tag, source, address string
	action                           dossier.AuditAction
	denied                           bool
}

func findableOf(e *dossier.AuditEntry) findable {
	return findable{e.Digest, e.Was, e.Caller, e.Repository, e.Tag, e.Source, e.Address, e.Action, e.Denied}
}

// words adds the words of an entry to a set. It looks at what is in findable only.
func words(set map[word]struct{}, e *dossier.AuditEntry) {
	add := func(f field, value string) {
		if value != "" {
			set[word{f, value}] = struct{}{}
		}
	}
	set[word{field: byAll}] = struct{}{}
	add(byDigest, string(e.Digest))
	add(byDigest, string(e.Was))
	add(byCaller, e.Caller.String())
	add(byPod, podOf(e.Caller))
	add(byAddress, e.Address)
	add(byAction, string(e.Action))
	if e.Denied {
		set[word{field: byDenied}] = struct{}{}
	}
	if path := pathOf(e.Repository); path != "" {
		add(byRepository, path)
		if e.Tag != "" {
			add(byTag, path+":"+e.Tag)
		}
	}
	add(byRepository, pathOf(e.Source))
}

// keys returns the keys of a set.
func keys(set map[word]struct{}) []int64 {
	list := make([]int64, 0, len(set))
	seen := make(map[int64]bool, len(set)) // two words may have one
	for w := range set {
		if k := w.key(); !seen[k] {
			seen[k] = true
			list = append(list, k)
		}
	}
	return list
}

// pathOf returns the path of a repository by its name, HOST/PATH.
func pathOf(name string) string {
	_, path, _ := strings.Cut(name, "/")
	return path
}

// podOf names the pod of a service account NAMESPACE/NAME with its namespace.
func podOf(c dossier.AuditCaller) string {
	namespace, _, ok := strings.Cut(c.Name, "/")
	if c.Pod == "" || !ok {
		return ""
	}
	return namespace + "/" + c.Pod
}
