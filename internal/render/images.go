// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"io"
	"strconv"
	"strings"

	"dossier.dev/dossier"
)

// answerTitles are the column titles of the five answers.
var answerTitles = [...]struct {
	question dossier.Question
	title    string
}{
	{dossier.What, "WHAT"},
	{dossier.Origin, "FROM"},
	{dossier.Rebuild, "REBUILD"},
	{dossier.Vulnerabilities, "VULNS"},
	{dossier.Currency, "UP TO DATE"},
}

// Images writes one line an image.
func Images(w io.Writer, list dossier.ImageList, opt Options) error {
	columns := []column{{title: "IMAGE", min: 18, tail: true}, {title: "DIGEST", spare: true}, {title: "PODS"}}
	if opt.Wide {
		columns = append(columns, column{title: "PLATFORMS", min: 10, spare: true})
	}
	for _, a := range answerTitles {
		columns = append(columns, column{title: a.title, min: 13})
	}
	var rows [][]cell
	for _, d := range list.Images {
		row := []cell{{text: Title(d)}, digestCell(d), {text: strconv.Itoa(d.Pods())}}
		if opt.Wide {
			row = append(row, cell{text: platforms(d)})
		}
		for _, a := range answerTitles {
			row = append(row, answerCell(*d.Answers.Of(a.question), opt))
		}
		rows = append(rows, row)
	}
	return writeTable(w, columns, rows, opt)
}

// Title is the name that people know an image by: as the specs ask for it,
// else a name it was found under, else its digest.
func Title(d dossier.Dossier) string {
	name := ""
	switch {
	case len(d.Requested) > 0:
		name = d.Requested[0]
	case len(d.References) > 0:
		name, _, _ = strings.Cut(d.References[0], "@")
	default:
		return "<none>"
	}
	if ref, err := dossier.ParseReference(name); err == nil {
		ref.Digest = "" // it has a column of its own
		name = ref.Familiar()
	}
	if n := len(d.Requested); n > 1 {
		name += " (+" + strconv.Itoa(n-1) + ")"
	}
	return Clean(name)
}

func digestCell(d dossier.Dossier) cell {
	if d.Digest == "" {
		return cell{"<unknown>", styleFaint}
	}
	return cell{text: d.Digest.Short()}
}

func platforms(d dossier.Dossier) string {
	var names []string
	for _, p := range d.Platforms {
		if p.Platform != "" {
			names = append(names, p.Platform)
		}
	}
	return strings.Join(names, ",")
}

// answerCell shows status as a mark, so that colour is never alone.
func answerCell(a dossier.Answer, opt Options) cell {
	text := mark(a.Status, opt.ASCII) + " " + a.Summary
	if opt.Wide && a.Grade != dossier.GradeNone {
		text += " [" + a.Grade.String() + "]"
	}
	return cell{text, statusStyle(a.Status)}
}

func mark(s dossier.Status, ascii bool) string {
	switch s {
	case dossier.StatusOK:
		if ascii {
			return "+"
		}
		return "✓"
	case dossier.StatusWarn:
		return "!"
	case dossier.StatusFail:
		if ascii {
			return "x"
		}
		return "✗"
	}
	return "?"
}

func statusStyle(s dossier.Status) string {
	switch s {
	case dossier.StatusOK:
		return styleGood
	case dossier.StatusWarn:
		return styleWarn
	case dossier.StatusFail:
		return styleBad
	}
	return styleFaint
}
