// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package form reads YAML that people write into structs, and says in their words what is wrong with its form: the line, the
// field, and what may be there. It shows neither values, which may be secret, nor types of the program.
// What the values mean is for others to check.
package form

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"dossier.dev/dossier"
)

// maxFaults is how many faults are told; of more only the number is.
const maxFaults = 100

// Decode reads YAML of at most one document into what a pointer to a struct points to, which nothing but the struct's fields may
// fill. Without a document it is left as it is. All faults are returned as one joined error, each a KindInvalid with the op, its
// line as subject, and the hint; op and hint may be empty. The struct may be filled in part then.
func Decode(text []byte, to any, op, hint string) error {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	err := decoder.Decode(to)
	if errors.Is(err, io.EOF) { // empty
		return nil
	}
	var faults []error
	if wrong, ok := errors.AsType[*yaml.TypeError](err); ok {
		faults = explain(text, to, op, hint, wrong.Errors)
	} else if err != nil {
		return broken(text, to, op, hint, err)
	}
	var next yaml.Node
	if err := decoder.Decode(&next); !errors.Is(err, io.EOF) {
		line := ""
		if err == nil && next.Line > 0 {
			line = fmt.Sprint("line ", next.Line)
		}
		faults = append(faults, fault(op, hint, line, "there is more than one document"))
	}
	return errors.Join(faults...)
}

// In says in which file faults were found: an error, or each that was joined to one.
func In(path string, err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return fmt.Errorf("%s: %w", path, err)
	}
	var list []error
	for _, err := range joined.Unwrap() {
		list = append(list, fmt.Errorf("%s: %w", path, err))
	}
	return errors.Join(list...)
}

func fault(op, hint, line, why string) error {
	return &dossier.Error{Kind: dossier.KindInvalid, Op: op, Subject: line, Hint: hint, Err: errors.New(why)}
}

// explain says in our words what the YAML library said.
func explain(text []byte, to any, op, hint string, said []string) []error {
	var list []message
	for _, s := range said[:min(len(said), maxFaults)] {
		list = append(list, readMessage(s))
	}
	at, shapes := places(text, to, list), shapesOf(to)
	var faults []error
	for _, m := range list {
		faults = append(faults, fault(op, hint, m.line, m.words(at, shapes)))
	}
	if more := len(said) - len(list); more > 0 {
		faults = append(faults, fault(op, hint, "", fmt.Sprintf("%d more faults", more)))
	}
	return faults
}

// broken says what ended the reading: text that is no YAML, or a value that its type does not take, such as a time, of which
// the library tells neither line nor field.
func broken(text []byte, to any, op, hint string, err error) error {
	var faults []error
	var document yaml.Node
	if yaml.Unmarshal(text, &document) == nil {
		walk(&document, reflect.TypeOf(to), func(path string, n *yaml.Node, t reflect.Type) {
			if readsText(t) && n.Kind == yaml.ScalarNode && len(faults) < maxFaults && n.Decode(reflect.New(t).Interface()) != nil {
				faults = append(faults, fault(op, hint, fmt.Sprint("line ", n.Line), path+": want "+wantOf(t)))
			}
		})
	}
	if len(faults) == 0 {
		m := readMessage(err.Error())
		faults = append(faults, fault(op, hint, m.line, m.words(nil, nil)))
	}
	return errors.Join(faults...)
}

// message is what the YAML library says, apart.
type message struct {
	line  string // "line 3", or empty
	field string // that is not known
	value string // that does not fit: its tag, and the beginning of it
	typ   string // of the program, which has no such field, or wants another value
	rest  string // of any other message
}

// readMessage takes apart what the library says:
//
//	yaml: line 3: did not find expected key
//	line 3: field kye not found in type trust.signerFile
//	line 3: cannot unmarshal !!str `a value...` into bool
func readMessage(s string) message {
	var m message
	s = strings.TrimPrefix(s, "yaml: ")
	if number, rest, ok := strings.Cut(s, ": "); ok && strings.HasPrefix(number, "line ") {
		m.line, s = number, rest
	}
	if rest, ok := strings.CutPrefix(s, "field "); ok {
		for _, verb := range []string{" not found in type ", " already set in type "} {
			if field, typ, ok := strings.Cut(rest, verb); ok {
				m.field, m.typ = field, typ
				if verb == " already set in type " {
					m.field, m.rest = "", fmt.Sprintf("the field %.100q is there twice", field)
				}
				return m
			}
		}
	}
	if rest, ok := strings.CutPrefix(s, "cannot unmarshal "); ok {
		if i := strings.LastIndex(rest, " into "); i >= 0 {
			m.value, m.typ = rest[:i], rest[i+len(" into "):]
			return m
		}
	}
	if strings.HasPrefix(s, "cannot decode ") { // a value with the tag of another type; the message has the value
		s = "a value is not what its tag says"
	}
	m.rest = s
	return m
}

// words says what is wrong, and in which field.
func (m message) words(at map[spot]string, shapes map[string]shape) string {
	shape := shapes[m.typ]
	switch {
	case m.field != "":
		why := fmt.Sprintf("there is no field %.100q", m.field)
		if near := nearest(m.field, shape.fields); near != "" {
			why += fmt.Sprintf(": did you mean %q?", near)
		}
		return why
	case m.value != "":
		why := "it is of another type"
		if shape.want != "" {
			why = "want " + shape.want
		}
		if path := at[m.spot()]; path != "" {
			why = path + ": " + why
		}
		return why
	}
	return m.rest
}

// spot is where a value is and what it is to be, as far as messages say so.
type spot struct{ line, value, typ string }

func (m message) spot() spot { return spot{m.line, m.value, m.typ} }

// spotOf returns that of a value, in the words of the library.
func spotOf(n *yaml.Node, t reflect.Type) spot {
	value := n.ShortTag()
	if n.Kind == yaml.ScalarNode {
		if text := n.Value; len(text) > 10 {
			value += " `" + text[:7] + "...`"
		} else {
			value += " `" + text + "`"
		}
	}
	return spot{fmt.Sprint("line ", n.Line), value, t.String()}
}

// places finds the paths, such as images[0].need, of the values that messages are about. Of two values that look the same in
// one line it finds neither.
func places(text []byte, to any, list []message) map[spot]string {
	wanted, seen, found := map[spot]bool{}, map[spot]bool{}, map[spot]string{}
	for _, m := range list {
		if m.value != "" {
			wanted[m.spot()] = true
		}
	}
	var document yaml.Node
	if len(wanted) == 0 || yaml.Unmarshal(text, &document) != nil {
		return nil
	}
	walk(&document, reflect.TypeOf(to), func(path string, n *yaml.Node, t reflect.Type) {
		if at := spotOf(n, t); wanted[at] {
			if found[at] = path; seen[at] {
				found[at] = ""
			}
			seen[at] = true
		}
	})
	return found
}
