// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"fmt"
	"path"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/pattern"
)

// Roles that every repository has.
const (
	Root      = metadata.ROOT
	Targets   = metadata.TARGETS
	Snapshot  = metadata.SNAPSHOT
	Timestamp = metadata.TIMESTAMP
	// Online is the delegated role whose key the server has. It delegates to bins by
	// the hash of the target (TAP 15), whose names begin with it.
	Online = "online"
)

var (
	repositoryPattern = pattern.New(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagPattern        = pattern.New(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	rolePattern       = pattern.New(`^[a-z0-9][a-z0-9_-]{0,63}$`)
	binPattern        = pattern.New(`^` + Online + `-[0-9a-f]{1,8}$`)
)

// maxRepository is how many characters the path of a repository has at most.
const maxRepository = 255

// CheckPrefix returns a KindInvalid error unless p is the path of a repository, or
// could be above some.
func CheckPrefix(p string) error {
	if len(p) > maxRepository || !repositoryPattern.MatchString(p) {
		return dossier.Errorf(dossier.KindInvalid, "reading prefix", p, "it is not the path of a repository, such as team/web")
	}
	return nil
}

// TargetName returns the name of the target that stands for a tag of a repository:
// REPOSITORY:TAG. Neither can hold anything that a path or an address would
// take for something else. KindInvalid.
func TargetName(repository, tag string) (string, error) {
	if len(repository) > maxRepository || !repositoryPattern.MatchString(repository) {
		return "", dossier.Errorf(dossier.KindInvalid, "naming target", repository, "it is not the path of a repository")
	}
	if !tagPattern.MatchString(tag) {
		return "", dossier.Errorf(dossier.KindInvalid, "naming target", tag, "it is not a tag")
	}
	return repository + ":" + tag, nil
}

// ParseTarget is the inverse of TargetName. KindInvalid: the name is not of that
// form, whoever signed it.
func ParseTarget(name string) (repository, tag string, err error) {
	repository, tag, ok := strings.Cut(name, ":")
	if !ok {
		return "", "", dossier.Errorf(dossier.KindInvalid, "reading target", name, "it is not REPOSITORY:TAG")
	}
	if _, err := TargetName(repository, tag); err != nil {
		return "", "", err
	}
	return repository, tag, nil
}

// below reports whether a repository is that of a prefix, or below it.
func below(prefix, repository string) bool {
	return repository == prefix || strings.HasPrefix(repository, prefix+"/")
}

// checkRole returns an error unless owners may give a role that name.
func checkRole(name string) error {
	switch {
	case !rolePattern.MatchString(name):
		return dossier.Errorf(dossier.KindInvalid, "naming role", name, "a role is named by up to 64 lower-case letters, digits, - and _")
	case isTopLevel(name) || name == Online || binPattern.MatchString(name):
		return dossier.Errorf(dossier.KindInvalid, "naming role", name, "the name is taken")
	}
	return nil
}

func isTopLevel(role string) bool {
	return role == Root || role == Targets || role == Snapshot || role == Timestamp
}

// maxDepth is how many elements below a prefix the pattern PREFIX/** reaches.
const maxDepth = 6

// Patterns returns the paths of a delegation (TUF specification 4.5) for a pattern of
// repositories: team/web/app, team/web/* (one element), or team/web/** (team/web and what
// is below it, six elements deep). KindInvalid: it reaches beyond prefix, or is none of these.
func Patterns(prefix, pattern string) ([]string, error) {
	base, deep := strings.CutSuffix(pattern, "/**")
	plain := strings.ReplaceAll(base, "*", "x")
	if !repositoryPattern.MatchString(plain) || strings.Contains(base, "**") {
		return nil, dossier.Errorf(dossier.KindInvalid, "reading pattern", pattern, "want a repository such as team/web/app, team/web/* or team/web/**")
	}
	if fixed, _, _ := strings.Cut(base, "*"); !below(prefix, base) || !strings.HasPrefix(fixed, prefix) {
		return nil, dossier.Errorf(dossier.KindInvalid, "reading pattern", pattern, "it reaches beyond "+prefix)
	}
	list := []string{base + ":*"}
	for range maxDepth * btoi(deep) {
		base += "/*"
		list = append(list, base+":*")
	}
	return list, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// checkPath returns an error unless a path of a delegation is one that Patterns makes
// for prefix.
func checkPath(prefix, p string) error {
	repository, ok := strings.CutSuffix(p, ":*")
	if _, err := path.Match(p, ""); !ok || err != nil || strings.ContainsAny(repository, `:[]\?`) {
		return fmt.Errorf("the path %q is not REPOSITORY:*", p)
	}
	_, err := Patterns(prefix, repository)
	return err
}
