// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"go.yaml.in/yaml/v3"

	"dossier.dev/dossier"
)

// The limits of rules.
const (
	MaxRulesBytes = 1 << 20 // of a file
	maxRules      = 10_000
)

// ParseRules reads rules from YAML (docs/spec/access.md, "Rules"). All faults
// are returned as one joined error, each a KindInvalid with its line. KindLimit:
// the file has more than MaxRulesBytes.
func ParseRules(text []byte) (*Rules, error) {
	set, err := ParseRuleSet(text)
	if err != nil {
		return nil, err
	}
	return NewRules(set)
}

// ParseRuleSet reads rules without checking what they say; RuleSet.Validate
// does, and knows the lines. Errors: KindInvalid for what is not of the form, KindLimit.
func ParseRuleSet(text []byte) (RuleSet, error) {
	if len(text) > MaxRulesBytes {
		return RuleSet{}, dossier.Errorf(dossier.KindLimit, "reading", "access rules", fmt.Sprintf("the file has more than %d bytes", MaxRulesBytes))
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return RuleSet{}, nil
	case err != nil:
		return RuleSet{}, &dossier.Error{Kind: dossier.KindInvalid, Op: "reading", Subject: "access rules", Err: err, Hint: "check that the file is YAML"}
	}
	d := decoderOf{set: RuleSet{lines: map[string]int{}}}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		d.fault(&document, "access rules", "there is more than one document")
	}
	if len(document.Content) == 1 {
		d.root(document.Content[0])
	}
	return d.set, errors.Join(d.faults...)
}

// decoderOf turns YAML nodes into a RuleSet. It follows no aliases, so that a file
// is never larger than it looks, and takes no key twice, so that nobody
// overlooks what counts.
type decoderOf struct {
	set    RuleSet
	faults []error
}

func (d *decoderOf) fault(n *yaml.Node, path, why string) {
	d.faults = append(d.faults, &dossier.Error{
		Kind: dossier.KindInvalid, Op: "reading access rules:", Subject: fmt.Sprintf("line %d, %s", n.Line, path), Err: errors.New(why),
	})
}

func (d *decoderOf) root(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return
	}
	d.fields(n, "", map[string]func(*yaml.Node, string){
		"groups": func(n *yaml.Node, path string) {
			d.set.Groups = map[string][]string{}
			d.each(n, path, func(key, value *yaml.Node) {
				at := path + "." + key.Value
				d.set.lines[at] = key.Line
				d.set.Groups[key.Value] = d.strings(value, at)
			})
		},
		"rules": func(n *yaml.Node, path string) {
			if n.Kind != yaml.SequenceNode {
				d.fault(n, path, "want a list")
				return
			}
			for i, item := range n.Content {
				d.rule(item, rulePath(i))
			}
		},
	})
}

func (d *decoderOf) rule(n *yaml.Node, path string) {
	var r Rule
	text := func(to *[]string) func(*yaml.Node, string) {
		return func(n *yaml.Node, path string) { *to = d.strings(n, path) }
	}
	actions := func(to *[]Action) func(*yaml.Node, string) {
		return func(n *yaml.Node, path string) {
			for _, s := range d.strings(n, path) {
				*to = append(*to, Action(s))
			}
		}
	}
	d.set.lines[path] = n.Line
	d.fields(n, path, map[string]func(*yaml.Node, string){
		"name":            func(n *yaml.Node, path string) { r.Name = d.string(n, path) },
		"repositories":    text(&r.Repositories),
		"users":           text(&r.Users),
		"groups":          text(&r.Groups),
		"serviceAccounts": text(&r.ServiceAccounts),
		"authenticated":   func(n *yaml.Node, path string) { r.Authenticated = d.bool(n, path) },
		"anyone":          func(n *yaml.Node, path string) { r.Anyone = d.bool(n, path) },
		"allow":           actions(&r.Allow),
		"deny":            actions(&r.Deny),
	})
	d.set.Rules = append(d.set.Rules, r)
}

// fields decodes a mapping with known keys.
func (d *decoderOf) fields(n *yaml.Node, path string, known map[string]func(*yaml.Node, string)) {
	d.each(n, path, func(key, value *yaml.Node) {
		at := key.Value
		if path != "" {
			at = path + "." + key.Value
		}
		decode, ok := known[key.Value]
		if !ok {
			d.fault(key, short(at), "there is no such field")
			return
		}
		d.set.lines[at] = key.Line
		decode(value, at)
	})
}

// each yields the pairs of a mapping.
func (d *decoderOf) each(n *yaml.Node, path string, yield func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		d.fault(n, path, "want fields with values")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode || key.Tag != "!!str":
			d.fault(key, path, "a field's name is plain text")
		case seen[key.Value]:
			d.fault(key, short(key.Value), "it is there twice")
		default:
			seen[key.Value] = true
			yield(key, value)
		}
	}
}

func (d *decoderOf) strings(n *yaml.Node, path string) []string {
	if n.Kind != yaml.SequenceNode {
		d.fault(n, path, "want a list")
		return nil
	}
	var list []string
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.set.lines[at] = item.Line
		list = append(list, d.string(item, at))
	}
	return list
}

func (d *decoderOf) string(n *yaml.Node, path string) string {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		d.fault(n, path, "want text; put it into quotes")
		return ""
	}
	return n.Value
}

func (d *decoderOf) bool(n *yaml.Node, path string) bool {
	b, err := strconv.ParseBool(n.Value)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || err != nil {
		d.fault(n, path, "want true or false")
		return false
	}
	return b
}
