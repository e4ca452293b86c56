// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"strconv"

	"go.yaml.in/yaml/v3"

	"dossier.dev/dossier"
)

// tree is a JSON or YAML object: its values are nil, bool, float64, string,
// []any and tree.
type tree = map[string]any

// treeBuilder turns YAML nodes into trees. Aliases are followed, so the result
// can be far larger than the document; limits say how large.
type treeBuilder struct {
	depth int // that is allowed
	nodes int // that may still come from aliases
}

// build gives the value of a node that is depth levels deep. aliased says that
// it is part of the value of an alias.
func (b *treeBuilder) build(n *yaml.Node, depth int, aliased bool) (any, error) {
	if depth > b.depth {
		return nil, limitError("nesting", fmt.Sprintf("it is nested more than %d levels deep", b.depth))
	}
	if aliased {
		if b.nodes--; b.nodes < 0 {
			return nil, limitError("aliases", "its aliases stand for too many values")
		}
	}
	switch n.Kind {
	case yaml.DocumentNode:
		if len(n.Content) == 0 {
			return nil, nil
		}
		return b.build(n.Content[0], depth, aliased)
	case yaml.AliasNode:
		return b.build(n.Alias, depth+1, true)
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, c := range n.Content {
			v, err := b.build(c, depth+1, aliased)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.MappingNode:
		return b.mapping(n, depth, aliased)
	case yaml.ScalarNode:
		return scalar(n), nil
	}
	return nil, nil
}

// mapping gives the tree of a mapping node. Merge keys ("<<") give way to keys
// that are written out, and the first merged mapping to none after it.
func (b *treeBuilder) mapping(n *yaml.Node, depth int, aliased bool) (any, error) {
	m := make(tree, len(n.Content)/2)
	var merged []any
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		v, err := b.build(n.Content[i+1], depth+1, aliased)
		if err != nil {
			return nil, err
		}
		switch {
		case key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge":
			if list, ok := v.([]any); ok {
				merged = append(merged, list...)
			} else {
				merged = append(merged, v)
			}
		case key.Kind == yaml.ScalarNode:
			m[key.Value] = v
		case key.Kind == yaml.AliasNode && key.Alias.Kind == yaml.ScalarNode:
			m[key.Alias.Value] = v
		}
	}
	for _, v := range merged {
		from, _ := v.(tree)
		for k, v := range from {
			if _, ok := m[k]; !ok {
				m[k] = v
			}
		}
	}
	return m, nil
}

// scalar gives what a scalar means in the JSON that the API server would see.
func scalar(n *yaml.Node) any {
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		var v bool
		if n.Decode(&v) == nil {
			return v
		}
	case "!!int", "!!float":
		v, err := strconv.ParseFloat(n.Value, 64)
		if err != nil {
			v = 0 // of the numbers only their being one matters, and replicas: 0
			var i int64
			if n.Decode(&i) == nil {
				v = float64(i)
			}
		}
		return v
	}
	return n.Value
}

// field returns the object under a path of keys, or nil.
func field(t tree, path ...string) tree {
	for _, key := range path {
		t, _ = t[key].(tree)
	}
	return t
}

// text returns the string under key, cut to n bytes, or "".
func text(t tree, key string, n int) string {
	s, _ := t[key].(string)
	return bound(s, n)
}

// flag returns the boolean under key, or false.
func flag(t tree, key string) bool {
	v, _ := t[key].(bool)
	return v
}

// objects returns the objects in the list under key.
func objects(t tree, key string) []tree {
	list, _ := t[key].([]any)
	all := make([]tree, 0, len(list))
	for _, v := range list {
		if o, ok := v.(tree); ok {
			all = append(all, o)
		}
	}
	return all
}

// limitError says that one document is beyond a limit.
func limitError(limit, message string) error {
	return dossier.Errorf(dossier.KindLimit, "checking", limit, message)
}

// invalidError says that a field has not the form that Kubernetes gives it.
func invalidError(name, message string) error {
	return dossier.Errorf(dossier.KindInvalid, "reading", name, message)
}
