// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/intoto"
)

const opIgnore = "reading what to ignore"

// MaxIgnores bounds a file of what to ignore, in bytes.
const MaxIgnores = 4 << 20

// Ignore is a finding that somebody wants to ignore for some time.
type Ignore struct {
	Vulnerability string    // one of its names
	Package       string    // package URL, as in VEX documents; empty: any package
	Path          string    // of the file that tells of it, a pattern of path.Match; empty: any
	Owner         string    // who answers for it
	Reason        string    // why
	Expires       time.Time // from then on it counts no more

	File   string
	Line   int
	SHA256 dossier.Digest // of the file
}

// ParseIgnores reads a YAML file: "ignore", a list of entries with the fields
// vulnerability, owner, reason and expires, which must be there, and package and
// path, which may be. All faults are returned as one joined error, each a
// KindInvalid that names file and line. KindLimit.
func ParseIgnores(file string, b []byte) ([]Ignore, error) {
	if len(b) > MaxIgnores {
		return nil, dossier.Errorf(dossier.KindLimit, opIgnore, file, fmt.Sprintf("it has more than %d bytes", MaxIgnores))
	}
	p := &ignoreParser{file: file, sha256: dossier.FromBytes(b)}
	decoder := yaml.NewDecoder(strings.NewReader(string(b)))
	var doc yaml.Node
	switch err := decode(decoder, &doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, p.fault(0, "%s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := decode(decoder, new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, p.fault(0, "there is more than one document")
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode || len(root.Content) != 2 || root.Content[0].Value != "ignore" || root.Content[1].Kind != yaml.SequenceNode {
		return nil, p.fault(root.Line, `want one field, "ignore", with a list`)
	}
	for _, n := range root.Content[1].Content {
		p.entry(n)
	}
	if len(p.faults) > 0 {
		return nil, errors.Join(p.faults...)
	}
	return p.list, nil
}

// decode reads a document. A panic of the parser is an error: it does not promise
// to be safe on what it is given.
func decode(d *yaml.Decoder, n *yaml.Node) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return d.Decode(n)
}

type ignoreParser struct {
	file   string
	sha256 dossier.Digest
	list   []Ignore
	faults []error
}

func (p *ignoreParser) fault(line int, format string, args ...any) error {
	subject := p.file
	if line > 0 {
		subject = fmt.Sprintf("%s:%d", p.file, line)
	}
	err := &dossier.Error{Kind: dossier.KindInvalid, Op: opIgnore, Subject: subject, Err: fmt.Errorf(format, args...),
		Hint: "an entry has vulnerability, owner, reason and expires (a date); package and path may be added"}
	p.faults = append(p.faults, err)
	return err
}

// entry reads one entry.
func (p *ignoreParser) entry(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		p.fault(n.Line, "want fields")
		return
	}
	i := Ignore{File: p.file, Line: n.Line, SHA256: p.sha256}
	var expires string
	fields := map[string]*string{
		"vulnerability": &i.Vulnerability, "package": &i.Package, "path": &i.Path, "owner": &i.Owner, "reason": &i.Reason, "expires": &expires,
	}
	before := len(p.faults)
	seen := map[string]bool{}
	for k := 0; k+1 < len(n.Content); k += 2 {
		name, value := n.Content[k], n.Content[k+1]
		to := fields[name.Value]
		switch {
		case to == nil:
			p.fault(name.Line, "the field %q is not known", intoto.Printable(name.Value))
		case seen[name.Value]:
			p.fault(name.Line, "the field %s is there twice", name.Value)
		case value.Kind != yaml.ScalarNode:
			p.fault(value.Line, "%s: want text", name.Value)
		default:
			*to = strings.TrimSpace(intoto.Printable(value.Value))
			if value.Tag == "!!null" {
				*to = ""
			}
		}
		seen[name.Value] = true
	}
	for _, name := range []string{"vulnerability", "owner", "reason", "expires"} {
		if *fields[name] == "" {
			p.fault(n.Line, "%s is missing", name)
		}
	}
	if expires != "" {
		if i.Expires = parseDay(expires); i.Expires.IsZero() {
			p.fault(n.Line, "expires: want a date such as 2026-01-31, or a time of RFC 3339, got %q", expires)
		}
	}
	if i.Package != "" && !strings.HasPrefix(i.Package, "pkg:") {
		p.fault(n.Line, "package: want a package URL such as pkg:npm/lodash, got %q", i.Package)
	}
	if _, err := path.Match(i.Path, ""); err != nil {
		p.fault(n.Line, "path: %q is no pattern", i.Path)
	}
	if len(p.faults) == before {
		p.list = append(p.list, i)
	}
}

// parseDay reads a time; a day is its beginning in UTC.
func parseDay(s string) time.Time {
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t
	}
	return parseTime(s)
}

// covers reports whether the ignore is about a finding, expired or not.
func (i Ignore) covers(f dossier.Finding) bool {
	if !sharesName([]string{i.Vulnerability}, append([]string{f.ID}, f.Aliases...)) {
		return false
	}
	if i.Path != "" {
		if ok, err := path.Match(i.Path, f.Package.Path); err != nil || !ok {
			return false
		}
	}
	return i.Package == "" || samePackage(i.Package, f.Package.Package, nil)
}

func (i Ignore) triage() dossier.Triage {
	return dossier.Triage{Source: fmt.Sprintf("%s:%d", i.File, i.Line), Format: "ignore", Author: i.Owner, Status: "ignored", Reason: i.Reason, Expires: i.Expires, Document: i.SHA256}
}

func (i Ignore) expiredNote() string {
	return fmt.Sprintf("%s:%d: ignoring %s expired on %s; ask %s", i.File, i.Line, i.Vulnerability, i.Expires.UTC().Format(time.DateOnly), i.Owner)
}
