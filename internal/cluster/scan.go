// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"

	"dossier.dev/dossier"
)

// maxNestedLists is how deep lists may lie in lists.
const maxNestedLists = 4

// scanner reads the objects of one file after the other.
type scanner struct {
	limits    Limits
	namespace string // of objects that name none
	files     int
	documents int
	bytes     int64 // that may still be read

	strict   bool // this file was named: what is no object in it is a problem
	file     string
	objects  []*object
	problems []Problem
}

// errDocuments stops the reading of all files.
func (s *scanner) errDocuments() error {
	return dossier.Errorf(dossier.KindLimit, "reading", "manifests", fmt.Sprintf("there are more than %d documents", s.limits.Documents))
}

// where is the place of a line in the present file.
func (s *scanner) where(line int) string { return s.file + ":" + strconv.Itoa(line) }

// problem notes a document that cannot be read.
func (s *scanner) problem(line int, err error) {
	kind := dossier.KindOf(err)
	if kind == dossier.KindInternal {
		kind = dossier.KindInvalid
	}
	s.problems = append(s.problems, Problem{
		Where: s.where(line),
		Err: &dossier.Error{
			Kind: kind, Op: "reading", Subject: s.where(line), Err: err,
			Hint: cmp.Or(dossier.HintOf(err), "Correct the document there; what could be read of the others was."),
		},
	})
}

// scan reads all documents of a file. Broken ones become problems. The error is
// one that ends the reading of all files: a limit of them together, or ctx.
func (s *scanner) scan(ctx context.Context, in *input) error {
	if start := in.nextLine(2); bytes.Equal(start, []byte("\xff\xfe")) || bytes.Equal(start, []byte("\xfe\xff")) {
		s.problem(1, &dossier.Error{
			Kind: dossier.KindUnsupported, Op: "decoding", Err: errors.New("it is UTF-16 text"), Hint: "Save it as UTF-8.",
		})
		return nil
	}
	for in.skipBlank() {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		if looksLikeJSON(in.peek(512)) {
			err = s.jsonObject(ctx, in)
		} else {
			err = s.yamlDocument(in)
		}
		if err != nil {
			return err
		}
	}
	if err := in.failure(); errors.Is(err, errTotal) {
		return err
	} else if err != nil {
		s.problem(in.line, err)
	}
	return nil
}

// looksLikeJSON reports whether a document that begins so is a JSON object, and
// not a YAML one in braces.
func looksLikeJSON(start []byte) bool {
	rest, ok := bytes.CutPrefix(bytes.TrimLeft(start, " \t"), []byte("{"))
	if !ok {
		return false
	}
	rest = bytes.TrimLeft(rest, " \t\r\n")
	return len(rest) == 0 || rest[0] == '"' || rest[0] == '}'
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// yamlDocument reads the next YAML document.
func (s *scanner) yamlDocument(in *input) error {
	first := in.line
	doc, tooLong := in.yamlDocument(s.limits.DocumentBytes)
	if tooLong {
		if err := s.count(); err != nil {
			return err
		}
		s.problem(first, s.errDocumentBytes())
		return nil
	}
	var node yaml.Node
	if err := yaml.Unmarshal(doc, &node); err != nil {
		line, message := first, err.Error()
		if m := yamlLine.FindStringSubmatch(message); m != nil {
			n, _ := strconv.Atoi(m[1])
			line, message = first+max(n-1, 0), message[len(m[0]):]
		}
		s.problem(line, invalidError("YAML", message))
		return s.count()
	}
	if len(node.Content) == 0 {
		return nil
	}
	b := treeBuilder{depth: s.limits.Depth, nodes: s.limits.AliasValues}
	root := node.Content[0]
	if items := itemsNode(root); items != nil {
		// Each item gets its own line, and its own problem.
		kind := scalarField(root, "kind")
		for _, n := range items.Content {
			v, err := b.build(n, 0, false)
			if err != nil {
				s.problem(first+n.Line-1, err)
				if err := s.count(); err != nil {
					return err
				}
				continue
			}
			if err := s.value(v, kind, first+n.Line-1, 1); err != nil {
				return err
			}
		}
		return nil
	}
	v, err := b.build(root, 0, false)
	if err != nil {
		s.problem(first+root.Line-1, err)
		return s.count()
	}
	return s.value(v, "", first+root.Line-1, 0)
}

// itemsNode returns the sequence of the items of a list, or nil. A sequence at
// the top is a list, too.
func itemsNode(root *yaml.Node) *yaml.Node {
	if root.Kind == yaml.SequenceNode {
		return root
	}
	if _, ok := itemKind(scalarField(root, "kind")); !ok || root.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == "items" && root.Content[i+1].Kind == yaml.SequenceNode {
			return root.Content[i+1]
		}
	}
	return nil
}

// scalarField returns the scalar under a key of a mapping, or "".
func scalarField(n *yaml.Node, key string) string {
	if n.Kind != yaml.MappingNode {
		return ""
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key && n.Content[i+1].Kind == yaml.ScalarNode {
			return n.Content[i+1].Value
		}
	}
	return ""
}

// count counts a document.
func (s *scanner) count() error {
	if s.documents++; s.documents > s.limits.Documents {
		return s.errDocuments()
	}
	return nil
}

func (s *scanner) errDocumentBytes() error {
	return &dossier.Error{
		Kind: dossier.KindLimit, Op: "checking", Subject: "size", Err: fmt.Errorf("it has more than %d bytes", s.limits.DocumentBytes),
		Hint: "Give long lists as JSON: their items are read one by one.",
	}
}

// value takes in an object or a list. listed is the kind of the list that it is
// an item of, nesting how many lists are around it.
func (s *scanner) value(v any, listed string, line, nesting int) error {
	t, ok := v.(tree)
	if !ok {
		if v != nil && s.strict {
			s.problem(line, dossier.Errorf(dossier.KindInvalid, "reading", "document", "it is not a Kubernetes object"))
		}
		return s.count()
	}
	kind := text(t, "kind", MaxName)
	if item, ok := itemKind(listed); ok && kind == "" {
		kind = item
	}
	if kind == "" && isPodSpec(field(t, "spec")) {
		kind = "Pod"
	}
	item, isList := itemKind(kind)
	items, ok := t["items"].([]any)
	if !isList || !ok {
		return s.object(t, kind, line)
	}
	if nesting == maxNestedLists {
		s.problem(line, limitError("nesting", fmt.Sprintf("it has lists in lists more than %d levels deep", maxNestedLists)))
		return s.count()
	}
	for _, v := range items {
		if err := s.value(v, item+"List", line, nesting+1); err != nil {
			return err
		}
	}
	return nil
}

// object takes in an object that is no list.
func (s *scanner) object(t tree, kind string, line int) error {
	if err := s.count(); err != nil {
		return err
	}
	if kind == "" {
		if s.strict {
			s.problem(line, dossier.Errorf(dossier.KindInvalid, "reading", "document", "it has no kind: it is not a Kubernetes object"))
		}
		return nil
	}
	o, err := newObject(t, kind, s.namespace, s.where(line), s.limits.Depth)
	if err != nil {
		s.problem(line, err)
	} else if o != nil {
		s.objects = append(s.objects, o)
	}
	return nil
}
