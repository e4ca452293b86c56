// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// scan reads the JSON of a result as Encode writes it: fields in their order, none
// twice and no list empty, without white space. It reports false for anything else, also
// for JSON that means the same: what that is, encoding/json knows. Of what scan reads
// the two make the same, and it takes a fraction of the time.
//
// The strings of the result are parts of text.
func scan(text string) (r LayerResult, ok bool) {
	if !utf8.ValidString(text) {
		return r, false
	}
	s := scanner{text: text}
	s.byte('{')
	s.string("version", &r.Version)
	s.string("digest", (*string)(&r.Digest))
	s.string("diffID", (*string)(&r.DiffID))
	s.number("size", &r.Size)
	s.number("unpacked", &r.Unpacked)
	s.int("entries", &r.Entries)
	s.array("files", func() { r.Files = append(r.Files, s.file()) })
	s.other("releases", &r.Releases)
	s.object("licenses", func(key string) {
		if r.Licenses == nil {
			r.Licenses = map[string]string{}
		}
		r.Licenses[key] = s.quoted()
	})
	s.strings("removed", &r.Removed)
	s.strings("opaque", &r.Opaque)
	s.array("links", func() { r.Links = append(r.Links, s.link()) })
	s.names("names", &r.Names)
	s.names("dirs", &r.Dirs)
	s.other("missed", &r.Missed)
	s.byte('}')
	return r, !s.failed && strings.Trim(s.text[s.at:], "\n") == ""
}

func (s *scanner) file() (f File) {
	s.byte('{')
	s.string("path", &f.Path)
	s.strings("aliases", &f.Aliases)
	s.array("packages", func() { f.Packages = append(f.Packages, s.pkg()) })
	s.other("go", &f.Go)
	s.other("program", &f.Program)
	s.byte('}')
	return f
}

func (s *scanner) pkg() (p Package) {
	s.byte('{')
	s.string("type", &p.Type)
	s.string("name", &p.Name)
	s.string("version", &p.Version)
	s.int("epoch", &p.Epoch)
	s.string("arch", &p.Arch)
	s.string("source", &p.Source)
	s.string("sourceVersion", &p.SourceVersion)
	s.string("module", &p.Module)
	s.string("vendor", &p.Vendor)
	s.string("license", &p.License)
	s.string("inner", &p.Inner)
	s.string("owner", &p.Owner)
	s.byte('}')
	return p
}

func (s *scanner) link() (l Link) {
	s.byte('{')
	s.string("path", &l.Path)
	s.string("target", &l.Target)
	s.byte('}')
	return l
}

// scanner walks through JSON. What fails once reads nothing from then on.
type scanner struct {
	text   string
	at     int // what lies before was read
	failed bool
}

func (s *scanner) fail() { s.failed = true }

// next returns the byte that is next, 0 at the end.
func (s *scanner) next() byte {
	if s.failed || s.at >= len(s.text) {
		return 0
	}
	return s.text[s.at]
}

// byte reads one byte, which must be b.
func (s *scanner) byte(b byte) {
	if s.next() != b {
		s.fail()
		return
	}
	s.at++
}

// field reads the name of a field, and the comma before it when it is not the first of
// its object. When that is not what is next it reads nothing and reports false.
func (s *scanner) field(name string) bool {
	at := s.at
	switch {
	case s.failed || at == 0:
		return false
	case s.text[at-1] != '{':
		if s.next() != ',' {
			return false
		}
		at++
	}
	end := at + len(name) + len(`"":`)
	if end > len(s.text) || s.text[at] != '"' || s.text[at+1:end-2] != name || s.text[end-2:end] != `":` {
		return false
	}
	s.at = end
	return true
}

// The following read a field if it is next, and leave what is to hold its value alone
// otherwise.

func (s *scanner) string(name string, to *string) {
	if s.field(name) {
		*to = s.quoted()
	}
}

func (s *scanner) strings(name string, to *[]string) {
	s.array(name, func() { *to = append(*to, s.quoted()) })
}

func (s *scanner) int(name string, to *int) {
	n := int64(*to)
	s.number(name, &n)
	*to = int(n)
}

func (s *scanner) number(name string, to *int64) {
	if !s.field(name) {
		return
	}
	begin := s.at
	for b := s.next(); b >= '0' && b <= '9'; b = s.next() {
		s.at++
	}
	n, err := strconv.ParseInt(s.text[begin:s.at], 10, 64)
	if err != nil || s.text[begin] == '0' && s.at > begin+1 {
		s.fail()
	}
	*to = n
}

// array calls element at each element of an array.
func (s *scanner) array(name string, element func()) {
	if !s.field(name) {
		return
	}
	s.byte('[')
	for element(); s.next() == ','; element() {
		s.at++
	}
	s.byte(']')
}

// object calls value at each value of an object, with its key.
func (s *scanner) object(name string, value func(key string)) {
	if !s.field(name) {
		return
	}
	s.byte('{')
	for more := true; more && !s.failed; {
		key := s.quoted()
		s.byte(':')
		value(key)
		if more = s.next() == ','; more {
			s.at++
		}
	}
	s.byte('}')
}

// names is string for a set of names.
func (s *scanner) names(name string, to *Names) {
	if !s.field(name) {
		return
	}
	s.byte('"')
	n := strings.IndexByte(s.text[s.at:], '"')
	if s.failed || n < 0 {
		s.fail()
		return
	}
	text := s.text[s.at : s.at+n]
	s.at += n + 1
	if strings.ContainsAny(text, "\r\n") || to.UnmarshalText([]byte(text)) != nil {
		s.fail()
	}
}

// other reads a field whose value is an array or an object by encoding/json: for what
// is rare.
func (s *scanner) other(name string, to any) {
	if !s.field(name) {
		return
	}
	begin := s.at
	for depth := 0; ; {
		switch s.next() {
		case 0:
			s.fail()
			return
		case '"':
			s.quoted()
			s.at-- // for the step below
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		}
		s.at++
		if depth == 0 {
			break
		}
	}
	if s.failed || json.Unmarshal([]byte(s.text[begin:s.at]), to) != nil {
		s.fail()
	}
}

// quoted reads a string.
func (s *scanner) quoted() string {
	s.byte('"')
	begin, escaped := s.at, false
	for {
		switch b := s.next(); {
		case b == '"':
			s.at++
			if !escaped {
				return s.text[begin : s.at-1]
			}
			var out string
			if json.Unmarshal([]byte(s.text[begin-1:s.at]), &out) != nil {
				s.fail()
			}
			return out
		case b < ' ':
			s.fail()
			return ""
		case b == '\\':
			escaped = true
			s.at++
		}
		s.at++
	}
}
