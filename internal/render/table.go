// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"bufio"
	"bytes"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// Options say how a table looks. The zero value is plain text of any width.
type Options struct {
	Width     int  // columns of the terminal; 0: not a terminal, nothing is cut
	Color     bool // ANSI colours in addition to the marks
	NoHeaders bool
	Wide      bool // with grades and platforms
	ASCII     bool // marks and ellipsis without letters beyond ASCII
}

// cell is one field of a table. style is an ANSI colour, or "".
type cell struct {
	text  string
	style string
}

// column says how a column may shrink on a narrow terminal.
type column struct {
	title string
	min   int  // it is never cut below this many cells; 0: never cut
	spare bool // it is left out before others are cut beyond use
	tail  bool // its end says more than its beginning: it is cut at the front
}

// Styles of cells.
const (
	styleGood  = "\x1b[32m"
	styleWarn  = "\x1b[33m"
	styleBad   = "\x1b[31m"
	styleFaint = "\x1b[2m"
	styleBold  = "\x1b[1m"
	styleReset = "\x1b[0m"
)

// gap is how many blanks stand between columns.
const gap = 2

// writeTable lays rows out under columns. When they do not fit, the columns
// that may shrink do, the widest first; when that is not enough, spare columns
// are left out; and when even that is not, each row becomes a block of lines
// "TITLE  text".
//
// Cells come as they are: what must not reach a terminal is taken out here.
func writeTable(w io.Writer, columns []column, rows [][]cell, opt Options) error {
	for _, row := range rows {
		for i := range row {
			row[i].text = Clean(row[i].text)
		}
	}
	widths, ok := fit(columns, rows, opt)
	if !ok {
		if fewer, cut, found := withoutSpare(columns, rows); found {
			if widths, ok = fit(fewer, cut, opt); ok {
				columns, rows = fewer, cut
			}
		}
	}
	if !ok {
		return writeBlocks(w, columns, rows, opt)
	}
	return writeRows(w, columns, widths, rows, opt)
}

// withoutSpare returns the table without its spare columns, if it has any.
func withoutSpare(columns []column, rows [][]cell) (fewer []column, cut [][]cell, found bool) {
	cut = make([][]cell, len(rows))
	for i, c := range columns {
		if c.spare {
			found = true
			continue
		}
		fewer = append(fewer, c)
		for j, row := range rows {
			cut[j] = append(cut[j], row[i])
		}
	}
	return fewer, cut, found
}

// fit returns the widths of columns, or false when they are too wide.
func fit(columns []column, rows [][]cell, opt Options) ([]int, bool) {
	widths := make([]int, len(columns))
	for i, c := range columns {
		if !opt.NoHeaders {
			widths[i] = cells(c.title)
		}
		for _, row := range rows {
			widths[i] = max(widths[i], cells(row[i].text))
		}
	}
	return widths, opt.Width <= 0 || shrink(widths, columns, opt.Width-gap*(len(columns)-1))
}

func writeRows(w io.Writer, columns []column, widths []int, rows [][]cell, opt Options) error {
	out := bufio.NewWriterSize(w, 64<<10)
	var b []byte
	line := func(row []cell) {
		b = b[:0]
		for i, c := range row {
			text := shorten(c.text, widths[i], columns[i].tail, opt.ASCII)
			b = append(b, paint(text, c.style, opt)...)
			if i < len(row)-1 {
				for range widths[i] - cells(text) + gap {
					b = append(b, ' ')
				}
			}
		}
		_, _ = out.Write(append(bytes.TrimRight(b, " "), '\n')) // Flush tells
	}
	if !opt.NoHeaders {
		header := make([]cell, len(columns))
		for i, c := range columns {
			header[i] = cell{c.title, styleBold}
		}
		line(header)
	}
	for _, row := range rows {
		line(row)
	}
	return out.Flush()
}

// shrink takes cells from the widest column that has some to spare until the sum
// fits, and reports whether it did.
func shrink(widths []int, columns []column, limit int) bool {
	for {
		sum, widest := 0, -1
		for i, n := range widths {
			sum += n
			if m := columns[i].min; m > 0 && n > m && (widest < 0 || n > widths[widest]) {
				widest = i
			}
		}
		if sum <= limit {
			return true
		}
		if widest < 0 {
			return false
		}
		widths[widest]--
	}
}

func writeBlocks(w io.Writer, columns []column, rows [][]cell, opt Options) error {
	label := 0
	for _, c := range columns {
		label = max(label, cells(c.title))
	}
	var b strings.Builder
	for i, row := range rows {
		if i > 0 {
			b.WriteByte('\n')
		}
		for j, c := range row {
			title := columns[j].title
			b.WriteString(paint(title, styleBold, opt))
			b.WriteString(strings.Repeat(" ", label-cells(title)+2))
			text := c.text
			if opt.Width > label+12 {
				text = shorten(text, opt.Width-label-2, columns[j].tail, opt.ASCII)
			}
			b.WriteString(paint(text, c.style, opt))
			b.WriteByte('\n')
		}
	}
	_, err := io.WriteString(w, trimLines(b.String()))
	return err
}

func paint(text, style string, opt Options) string {
	if !opt.Color || style == "" || text == "" {
		return text
	}
	return style + text + styleReset
}

// trimLines takes blanks from the ends of lines.
func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n")
}

// cells returns how many terminal cells s takes.
func cells(s string) int {
	if isASCII(s) {
		return len(s)
	}
	n := 0
	for _, r := range s {
		n += runeCells(r)
	}
	return n
}

func runeCells(r rune) int {
	if r < 0x300 { // the first mark that takes no cell of its own
		return 1
	}
	if unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Me, r) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// shorten cuts s to n cells, at its end or at its front, and marks that it did.
func shorten(s string, n int, front, ascii bool) string {
	if cells(s) <= n {
		return s
	}
	mark := "…"
	if ascii {
		mark = "..."
	}
	room := max(0, n-cells(mark))
	runes := []rune(s)
	if front {
		slices.Reverse(runes)
	}
	used, end := 0, 0
	for _, r := range runes {
		if used += runeCells(r); used > room {
			break
		}
		end++
	}
	runes = runes[:end]
	if front {
		slices.Reverse(runes)
		return mark + string(runes)
	}
	return string(runes) + mark
}

// Clean makes a string from outside safe to show on one line of a terminal.
func Clean(s string) string {
	if isASCII(s) {
		return s
	}
	plain := true
	for _, r := range s {
		if !shown(r) {
			plain = false
			break
		}
	}
	if plain && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			b.WriteByte(' ')
		case shown(r):
			b.WriteRune(r)
		default:
			b.WriteString(escape(r))
		}
	}
	return b.String()
}

// isASCII reports whether a string has printable characters of ASCII only: most do.
func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// shown reports whether a rune may reach the terminal: no control characters,
// nor the ones that change the direction of text.
func shown(r rune) bool {
	return unicode.IsPrint(r) && !unicode.Is(unicode.Bidi_Control, r)
}
