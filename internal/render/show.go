// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
)

// questionTexts are the questions in words.
var questionTexts = [...]struct {
	question dossier.Question
	text     string
}{
	{dossier.What, "What is it?"},
	{dossier.Origin, "Where did it come from?"},
	{dossier.Rebuild, "How can I rebuild it?"},
	{dossier.Vulnerabilities, "Does it have known vulnerabilities?"},
	{dossier.Currency, "Is it up to date?"},
}

// Dossier writes one image with its five answers and what they stand on.
func Dossier(w io.Writer, d dossier.Dossier, opt Options) error {
	var b strings.Builder
	b.WriteString(paint(Title(d), styleBold, opt) + "\n")
	digest := string(d.Digest)
	if digest == "" {
		digest = "unknown"
	}
	writeFields(&b, "  ", [][2]string{
		{"digest", Clean(digest)},
		{"type", Clean(d.MediaType)},
		{"platforms", platformList(d.Platforms)},
		{"requested as", cleanLines(d.Requested)},
		{"known as", cleanLines(d.References)},
		{"running", runningList(d.Running)},
	})
	for _, q := range questionTexts {
		b.WriteByte('\n')
		writeAnswer(&b, q.text, *d.Answers.Of(q.question), opt)
	}
	_, err := io.WriteString(w, trimLines(b.String()))
	return err
}

func writeAnswer(b *strings.Builder, question string, a dossier.Answer, opt Options) {
	b.WriteString(paint(question, styleBold, opt) + "\n")
	fmt.Fprintf(b, "  %s (%s, %s)\n", paint(mark(a.Status, opt.ASCII)+" "+Clean(a.Summary), statusStyle(a.Status), opt), Clean(string(a.Status)), gradeText(a.Grade))
	var fields [][2]string
	for _, name := range slices.Sorted(maps.Keys(a.Details)) {
		var lines []string
		for _, v := range a.Details[name] {
			lines = append(lines, fmt.Sprintf("%s (%s)", Clean(valueText(v.Value)), v.Grade))
		}
		if len(lines) > 1 {
			lines[0] += "  <- they disagree"
		}
		fields = append(fields, [2]string{Clean(name), strings.Join(lines, "\n")})
	}
	writeFields(b, "    ", fields)
	if len(a.Evidence) > 0 {
		b.WriteString("    evidence\n")
		for _, c := range a.Evidence {
			fmt.Fprintf(b, "      %s  %s  %s\n", paint(Clean(c.ID.Short()), styleFaint, opt), Clean(c.Kind), Clean(c.Summary))
		}
	}
	if a.Next != "" {
		writeFields(b, "    ", [][2]string{{"next", Clean(a.Next)}})
	}
}

// valueText writes a value of a detail on one line. Values that are no text are
// taken apart as their JSON is, so that they look alike from a server and from here.
func valueText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	var plain any
	if json.Unmarshal(b, &plain) != nil {
		return string(b)
	}
	return plainText(plain)
}

func plainText(v any) string {
	var parts []string
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			parts = append(parts, plainText(e))
		}
		return strings.Join(parts, ", ")
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, name+" "+plainText(v[name]))
		}
		return strings.Join(parts, "; ")
	}
	return fmt.Sprint(v)
}

func gradeText(g dossier.Grade) string {
	if g == dossier.GradeNone {
		return "not proven"
	}
	return g.String()
}

// writeFields writes "name  value" lines; a value of several lines is indented
// under its first. Empty values are left out. Values are clean.
func writeFields(b *strings.Builder, indent string, fields [][2]string) {
	label := 0
	for _, f := range fields {
		if f[1] != "" {
			label = max(label, cells(f[0]))
		}
	}
	for _, f := range fields {
		if f[1] == "" {
			continue
		}
		for i, line := range strings.Split(f[1], "\n") {
			name := f[0]
			if i > 0 {
				name = ""
			}
			b.WriteString(indent + name + strings.Repeat(" ", label-cells(name)+2) + line + "\n")
		}
	}
}

func platformList(ps []dossier.PlatformImage) string {
	var lines []string
	for _, p := range ps {
		name := p.Platform
		if name == "" {
			name = "unknown platform"
		}
		line := name + "  " + string(p.Manifest)
		if p.Pods > 0 {
			line += "  " + count(p.Pods, "pod")
		}
		lines = append(lines, line)
	}
	return cleanLines(lines)
}

// cleanLines joins lines; what stands in one cannot make another.
func cleanLines(lines []string) string {
	clean := make([]string, len(lines))
	for i, l := range lines {
		clean[i] = Clean(l)
	}
	return strings.Join(clean, "\n")
}

func runningList(rs []dossier.Running) string {
	var lines []string
	for _, r := range rs {
		pods := count(r.Pods, "pod")
		if r.Pods == 0 {
			pods = "named by its template, no pod seen"
		}
		lines = append(lines, fmt.Sprintf("%s/%s/%s %s %s: %s", r.Namespace, strings.ToLower(r.Kind), r.Name, r.Type, r.Container, pods))
	}
	return cleanLines(lines)
}

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// History writes the tags over time, then the layers.
func History(w io.Writer, h dossier.History, opt Options) error {
	if len(h.Tags) > 0 {
		columns := []column{{title: "TAG", min: 12, tail: true}, {title: "DIGEST"}, {title: "FROM"}, {title: "TO"}, {title: "LAST SEEN"}}
		var rows [][]cell
		for _, t := range h.Tags {
			to := "now"
			if !t.To.IsZero() {
				to = stamp(t.To)
			}
			rows = append(rows, []cell{{text: t.Name + ":" + t.Tag}, {text: t.Digest.Short()}, {text: stamp(t.From)}, {text: to}, {text: stamp(t.CheckedAt)}})
		}
		if err := writeTable(w, columns, rows, opt); err != nil {
			return err
		}
	}
	if len(h.Layers) == 0 {
		return nil
	}
	if len(h.Tags) > 0 {
		if _, err := io.WriteString(w, "\n"); err != nil {
			return err
		}
	}
	columns := []column{{title: "PLATFORM"}, {title: "LAYER"}, {title: "SIZE"}, {title: "BASE", min: 8}, {title: "CREATED"}, {title: "INSTRUCTION", min: 20}}
	var rows [][]cell
	for _, l := range h.Layers {
		layer, size := "-", "-"
		if l.Layer != "" {
			layer, size = l.Layer.Short(), Bytes(l.Size)
		}
		rows = append(rows, []cell{{text: l.Platform}, {text: layer}, {text: size}, {text: l.Base}, {text: stamp(l.Created)}, {text: l.Instruction}})
	}
	return writeTable(w, columns, rows, opt)
}

// Changes writes one line for each tag that differs.
func Changes(w io.Writer, d dossier.TagDiff, opt Options) error {
	columns := []column{{title: "TAG", min: 12, tail: true}, {title: "CHANGE"}, {title: "WAS"}, {title: "NOW"}, {title: "SINCE"}}
	short := func(d dossier.Digest) cell {
		if d == "" {
			return cell{"-", styleFaint}
		}
		return cell{text: d.Short()}
	}
	var rows [][]cell
	for _, c := range d.Changes {
		rows = append(rows, []cell{{text: d.Repository + ":" + c.Tag}, {text: string(c.Change)}, short(c.Was), short(c.Now), {text: stamp(c.At)}})
	}
	return writeTable(w, columns, rows, opt)
}

// stamp writes a time for people, in UTC.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// Bytes writes a size with a decimal unit, as registries do.
func Bytes(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n), 0
	for value >= 1000 && unit < 4 {
		value /= 1000
		unit++
	}
	return fmt.Sprintf("%.1f %sB", value, []string{"", "k", "M", "G", "T"}[unit])
}

// foundText is what was found, and how much more of it there is.
func foundText(f dossier.Found) (text string) {
	if len(f.Suppressed) > 0 {
		defer func() { text += ": " + triageText(f.Suppressed[0]) }()
	}
	if n := len(f.Packages); (f.Field == dossier.FieldPackage || f.Field == dossier.FieldVulnerability) && n > 1 {
		return fmt.Sprintf("%s (+%d)", f.Match, n-1)
	}
	return f.Match
}

// Found writes one line for each image found and each workload that runs it.
func Found(w io.Writer, list dossier.FoundList, opt Options) error {
	columns := []column{{title: "DIGEST"}, {title: "IMAGE", min: 16, tail: true}, {title: "FOUND IN"}, {title: "MATCH", min: 12}, {title: "RUNNING IN", min: 12}, {title: "PODS"}}
	if opt.Wide {
		columns = append(columns, column{title: "FIRST SEEN", spare: true})
	}
	var rows [][]cell
	for _, f := range list.Found {
		name := "<none>"
		if len(f.References) > 0 {
			name, _, _ = strings.Cut(f.References[0], "@")
			if ref, err := dossier.ParseReference(name); err == nil {
				name = ref.Familiar()
			}
		}
		first := []cell{{text: f.Digest.Short()}, {text: name}, {text: string(f.Field)}, {text: foundText(f)}}
		var last []cell
		if opt.Wide {
			last = []cell{{text: stamp(f.FirstSeen)}}
		}
		if len(f.Running) == 0 {
			rows = append(rows, slices.Concat(first, []cell{{"-", styleFaint}, {text: "0"}}, last))
		}
		for _, r := range f.Running {
			where := fmt.Sprintf("%s/%s/%s %s", r.Namespace, strings.ToLower(r.Kind), r.Name, r.Container)
			rows = append(rows, slices.Concat(first, []cell{{text: where}, {text: fmt.Sprint(r.Pods)}}, last))
		}
	}
	return writeTable(w, columns, rows, opt)
}
