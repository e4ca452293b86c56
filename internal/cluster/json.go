// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
)

// errJSONLimit says that a value has more bytes than a document may have.
var errJSONLimit = errors.New("the value is too long")

// jsonObject reads the next JSON object. The items of a list are taken in one
// by one, so that a list may be far larger than memory.
func (s *scanner) jsonObject(ctx context.Context, in *input) error {
	r := jsonReader{scanner: s, in: in, line: in.line, fields: map[string]json.RawMessage{}}
	err := r.read(ctx)
	if err == nil && r.fatal == nil {
		err = r.finish()
	}
	switch {
	case r.fatal != nil:
		return r.fatal
	case err == nil || in.failure() != nil: // scan reports the latter
		return nil
	case errors.Is(err, errJSONLimit):
		err = s.errDocumentBytes()
	}
	s.problem(in.line, err)
	in.resync()
	return s.count()
}

// resync drops the rest of a broken document, up to a line with which another
// one seems to begin.
func (in *input) resync() {
	for {
		in.dropLine()
		line := in.nextLine(chunk)
		if len(line) == 0 || line[0] == '{' || isSeparator(line) {
			return
		}
	}
}

// jsonReader reads one JSON object.
type jsonReader struct {
	*scanner
	in    *input
	line  int
	fatal error // ends the reading of all files

	fields  map[string]json.RawMessage
	size    int // of fields, in bytes
	items   bool
	pending []jsonItem // read before the kind of their list
}

type jsonItem struct {
	raw  json.RawMessage
	line int
}

// read reads up to the closing brace. The error is one of syntax or limit.
func (r *jsonReader) read(ctx context.Context) error {
	if err := r.expect('{'); err != nil {
		return err
	}
	if r.in.nextToken() == '}' {
		return r.expect('}')
	}
	for {
		raw, err := r.in.jsonValue(r.limits.DocumentBytes)
		if err != nil {
			return err
		}
		var key string
		if err := json.Unmarshal(raw, &key); err != nil {
			return invalidError("JSON", "a key must be a string")
		}
		if err := r.expect(':'); err != nil {
			return err
		}
		if key == "items" && r.in.nextToken() == '[' && r.mayBeList() {
			err = r.list(ctx)
		} else {
			r.fields[key], err = r.in.jsonValue(r.limits.DocumentBytes - r.size)
			r.size += len(r.fields[key])
		}
		if err != nil || r.fatal != nil {
			return err
		}
		if more, err := r.more('}'); err != nil || !more {
			return err
		}
	}
}

// list reads the items of a list.
func (r *jsonReader) list(ctx context.Context) error {
	r.items = true
	if err := r.expect('['); err != nil {
		return err
	}
	if r.in.nextToken() == ']' {
		return r.expect(']')
	}
	for {
		r.in.nextToken()
		line := r.in.line
		raw, err := r.in.jsonValue(r.limits.DocumentBytes)
		if err != nil {
			return err
		}
		if r.fatal = ctx.Err(); r.fatal != nil {
			return nil
		}
		if err := r.item(jsonItem{raw, line}); err != nil || r.fatal != nil {
			return err
		}
		if more, err := r.more(']'); err != nil || !more {
			return err
		}
	}
}

// item takes in an item of a list. It must wait when neither it nor, so far, the
// list has said its kind.
func (r *jsonReader) item(i jsonItem) error {
	listed := r.kind()
	if listed == "" {
		var self struct{ Kind string }
		if err := json.Unmarshal(i.raw, &self); err == nil && self.Kind == "" {
			if r.size += len(i.raw); r.size > r.limits.DocumentBytes {
				return errJSONLimit
			}
			r.pending = append(r.pending, i)
			return nil
		}
	}
	r.fatal = r.decoded(i, listed)
	return nil
}

// finish takes in what was read.
func (r *jsonReader) finish() error {
	kind := r.kind()
	for _, i := range r.pending {
		if r.fatal = r.decoded(i, kind); r.fatal != nil {
			return nil
		}
	}
	if _, ok := itemKind(kind); r.items && (ok || kind == "") {
		return nil
	}
	t := tree{}
	for key, raw := range r.fields {
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			return jsonError(err)
		}
		t[key] = v
	}
	r.fatal = r.value(t, "", r.line, 0)
	return nil
}

// mayBeList reports whether nothing read so far says that the object is no list.
func (r *jsonReader) mayBeList() bool {
	kind := r.kind()
	_, ok := itemKind(kind)
	return ok || kind == ""
}

// kind is the kind that the object has given so far.
func (r *jsonReader) kind() string {
	var kind string
	if json.Unmarshal(r.fields["kind"], &kind) != nil {
		return ""
	}
	return bound(kind, MaxName)
}

// decoded takes in an item of a list of some kind. One that is broken is a problem.
func (r *jsonReader) decoded(i jsonItem, listed string) error {
	var v any
	if err := json.Unmarshal(i.raw, &v); err != nil {
		line := i.line
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			line += bytes.Count(i.raw[:min(int(syntax.Offset), len(i.raw))], []byte{'\n'})
		}
		r.problem(line, jsonError(err))
		return r.count()
	}
	return r.value(v, listed, i.line, 1)
}

// expect uses one character that must come next, white space apart.
func (r *jsonReader) expect(c byte) error {
	got := r.in.nextToken()
	switch got {
	case c:
		r.in.use(1)
		return nil
	case 0:
		return invalidError("JSON", "it ends before the object does")
	}
	return invalidError("JSON", "found '"+string(rune(got))+"' where '"+string(rune(c))+"' should be")
}

// more uses the comma or the end that follows an element and reports which it was.
func (r *jsonReader) more(end byte) (bool, error) {
	if r.in.nextToken() == ',' {
		r.in.use(1)
		return true, nil
	}
	return false, r.expect(end)
}

// jsonError is an error of package json as a dossier.Error.
func jsonError(err error) error {
	return invalidError("JSON", strings.TrimPrefix(err.Error(), "json: "))
}

// nextToken drops white space and returns the next byte without using it, or 0
// at the end.
func (in *input) nextToken() byte {
	for {
		for i, c := range in.buf {
			if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
				in.use(i)
				return c
			}
		}
		in.use(len(in.buf))
		if !in.fill() {
			return 0
		}
	}
}

// jsonValue uses and returns the bytes of the next value, found by its brackets
// and quotes alone; whether they are JSON is for the decoder to say. It may have
// up to limit bytes. The bytes are the caller's.
func (in *input) jsonValue(limit int) (json.RawMessage, error) {
	in.nextToken()
	depth, quoted, escaped := 0, false, false
	for i := 0; ; i++ {
		if i > limit {
			return nil, errJSONLimit
		}
		if i == len(in.buf) && !in.fill() {
			return nil, invalidError("JSON", "it ends before the value does")
		}
		switch c := in.buf[i]; {
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = c == '\\', c != '"'
			if !quoted && depth == 0 {
				return in.take(i + 1), nil
			}
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return in.take(i + 1), nil
			}
			if depth < 0 {
				return in.take(i), nil
			}
		case depth == 0 && (c == ',' || c == ':' || c == ' ' || c == '\t' || c == '\r' || c == '\n'):
			return in.take(i), nil
		}
	}
}

// take uses n bytes and returns a copy of them.
func (in *input) take(n int) []byte {
	b := bytes.Clone(in.buf[:n])
	in.use(n)
	return b
}
