// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package form

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// shape is what a type of the program wants, in words of those who write YAML.
type shape struct {
	want   string
	fields []string // that a struct has
}

// shapesOf returns the shapes of all types that what is decoded into is made of, by the names that the library gives them.
func shapesOf(to any) map[string]shape {
	shapes := map[string]shape{}
	var collect func(t reflect.Type)
	collect = func(t reflect.Type) {
		if _, ok := shapes[t.String()]; ok {
			return
		}
		s := shape{want: wantOf(t)}
		types := partsOf(t)
		if t.Kind() == reflect.Struct {
			s.fields = slices.Sorted(maps.Keys(types))
		}
		shapes[t.String()] = s
		for _, part := range types {
			collect(part)
		}
	}
	collect(reflect.TypeOf(to))
	return shapes
}

// partsOf returns the types of what a value of a type has: of the fields of a struct by their names in YAML, and of the items
// of any other without a name.
func partsOf(t reflect.Type) map[string]reflect.Type {
	parts := map[string]reflect.Type{}
	switch {
	case t == reflect.TypeFor[yaml.Node]() || readsText(t) || reflect.PointerTo(t).Implements(reflect.TypeFor[yaml.Unmarshaler]()): // it reads itself
	case t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map:
		parts[""] = t.Elem()
	case t.Kind() == reflect.Struct:
		for field := range t.Fields() {
			name, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
			switch {
			case name == "-" || !field.IsExported() && !field.Anonymous:
			case options == "inline":
				if field.Type.Kind() == reflect.Struct {
					maps.Copy(parts, partsOf(field.Type))
				}
			case name == "":
				parts[strings.ToLower(field.Name)] = field.Type
			default:
				parts[name] = field.Type
			}
		}
	}
	return parts
}

// readsText reports whether values of a type are made of text, as times are.
func readsText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// walk calls a function for each value of a document, with its path and the type that it is decoded into. What has no type is
// left out.
func walk(n *yaml.Node, t reflect.Type, visit func(path string, n *yaml.Node, t reflect.Type)) {
	var at []string
	var step func(name string, n *yaml.Node, t reflect.Type)
	step = func(name string, n *yaml.Node, t reflect.Type) {
		for t != nil && t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t == nil {
			return
		}
		at = append(at, name)
		defer func() { at = at[:len(at)-1] }()
		if n.Kind == yaml.DocumentNode {
			step("", n.Content[0], t)
			return
		}
		visit(fmt.Sprintf("%.200s", strings.TrimPrefix(strings.Join(at, ""), ".")), n, t)
		switch n.Kind {
		case yaml.MappingNode:
			parts := partsOf(t)
			for i := 0; i+1 < len(n.Content); i += 2 {
				name := n.Content[i].Value
				part := parts[name]
				if t.Kind() == reflect.Map {
					part = parts[""]
				}
				step("."+name, n.Content[i+1], part)
			}
		case yaml.SequenceNode:
			part := partsOf(t)[""]
			for i, item := range n.Content {
				step(fmt.Sprintf("[%d]", i), item, part)
			}
		}
	}
	step("", n, t)
}

// wantOf says what a value of a type looks like.
func wantOf(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "a time such as 5m"
	case reflect.TypeFor[time.Time]():
		return "a time such as 2026-01-31T00:00:00Z"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return wantOf(t.Elem())
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice:
		switch t.Elem().Kind() {
		case reflect.String:
			return "a list of texts"
		case reflect.Struct:
			return "a list of entries with fields"
		}
		return "a list"
	case reflect.Struct, reflect.Map:
		return "fields with values"
	}
	return ""
}

// nearest returns the name that may have been meant: the one to which the fewest letters are to be changed, if these are few.
func nearest(name string, names []string) string {
	const longest = 40 // more was not misspelt
	if len(name) > longest {
		return ""
	}
	best, least := "", max(len(name)/3, 1)+1
	for _, n := range names {
		if d := distance(strings.ToLower(name), strings.ToLower(n)); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance counts the letters that must be put in, taken out, changed, or swapped with the next to make b of a: the optimal
// string alignment distance.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
