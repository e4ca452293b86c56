// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"dossier.dev/dossier"
)

// runner runs statements on the connection of one transaction.
type runner interface {
	exec(ctx context.Context, query string, args []any) (sql.Result, error)
	query(ctx context.Context, query string, args []any) (*sql.Rows, error)
}

// session is one transaction, or one part of a shared commit.
type session struct {
	run     runner
	dialect *dialect
	wake    *waker
	now     time.Time
	failed  error               // the first failure of the engine
	ended   bool                // the function that was given the session has returned
	enqueue bool                // a job may be ready when this commits
	locked  map[string]bool     // clusters, by ID
	quotas  map[string][]string // that are locked, by repository
}

// reader implements store.Reader.
type reader struct{ *session }

// tx implements store.Tx.
type tx struct{ reader }

var (
	errEnded   = errors.New("the transaction was used after its end")
	errBadText = errors.New("text must be UTF-8 without NUL")
)

// check refuses what neither engine should see, and turns arguments of named
// types into plain strings and integers.
func (s *session) check(ctx context.Context, op string, args []any) error {
	if s.ended {
		return &dossier.Error{Kind: dossier.KindInternal, Op: op, Err: errEnded}
	}
	if err := ctx.Err(); err != nil {
		return engineError(op, "", err)
	}
	for i, arg := range args {
		plain, err := driver.DefaultParameterConverter.ConvertValue(arg)
		if err != nil {
			return &dossier.Error{Kind: dossier.KindInternal, Op: op, Err: err}
		}
		if text, ok := plain.(string); ok && !goodText(text) {
			return &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: errBadText}
		}
		args[i] = plain
	}
	return nil
}

// goodText reports whether both engines can hold a text.
func goodText(s string) bool { return strings.IndexByte(s, 0) < 0 && utf8.ValidString(s) }

// fail remembers that the engine failed: whatever the caller makes of the
// error, the transaction must not commit.
func (s *session) fail(op string, err error) error {
	if s.failed == nil {
		s.failed = engineError(op, "", err)
	}
	return engineError(op, "", err)
}

// exec runs a statement and returns how many rows it changed.
func (s *session) exec(ctx context.Context, op, query string, args ...any) (int64, error) {
	if err := s.check(ctx, op, args); err != nil {
		return 0, err
	}
	result, err := s.run.exec(ctx, query, args)
	if err != nil {
		return 0, s.fail(op, err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return 0, s.fail(op, err)
	}
	return n, nil
}

// scanner is a row to read.
type scanner interface{ Scan(dest ...any) error }

// all runs a query and reads its rows to the end, so that the connection is
// free for the next statement.
func all[T any](ctx context.Context, s *session, op string, scan func(scanner, *T) error, query string, args ...any) ([]T, error) {
	if err := s.check(ctx, op, args); err != nil {
		return nil, err
	}
	rows, err := s.run.query(ctx, query, args)
	if err != nil {
		return nil, s.fail(op, err)
	}
	defer rows.Close()
	var list []T
	for rows.Next() {
		var v T
		if err := scan(rows, &v); err != nil {
			return nil, s.fail(op, err)
		}
		list = append(list, v)
	}
	if err := rows.Err(); err != nil {
		return nil, s.fail(op, err)
	}
	return list, nil
}

// one is all for a query of at most one row; ok reports whether there was one.
func one[T any](ctx context.Context, s *session, op string, scan func(scanner, *T) error, query string, args ...any) (v T, ok bool, err error) {
	list, err := all(ctx, s, op, scan, query, args...)
	if err != nil || len(list) == 0 {
		return v, false, err
	}
	return list[0], true, nil
}

// scanOne reads a row of one column.
func scanOne[T any](row scanner, v *T) error { return row.Scan(v) }

// The sizes in which insert writes rows: few, so that statements can be kept
// prepared.
const (
	manyRows = 64
	someRows = 8
	fewRows  = 3
)

// insert writes rows by statements of several rows: head, as many groups of
// parameters as there are rows, and tail. All rows have the same length.
func (s *session) insert(ctx context.Context, op, head, tail string, rows [][]any) error {
	for len(rows) > 0 {
		n := 1
		switch {
		case len(rows) >= manyRows:
			n = manyRows
		case len(rows) >= someRows:
			n = someRows
		case len(rows) >= fewRows:
			n = fewRows
		}
		args := make([]any, 0, n*len(rows[0]))
		for _, row := range rows[:n] {
			args = append(args, row...)
		}
		if _, err := s.exec(ctx, op, head+groups(1, n, len(rows[0]))+tail, args...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// groups writes n groups of parameters, numbered from first: ($1, $2), ($3, $4).
func groups(first, n, columns int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('(')
		for j := range columns {
			if j > 0 {
				b.WriteString(", ")
			}
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(first + i*columns + j))
		}
		b.WriteByte(')')
	}
	return b.String()
}

// keys writes a list as a JSON object for json_each, which both engines have
// and which gives the names of an object in a column called key.
func keys[T ~string](list []T) (string, error) {
	size := 2
	for _, v := range list {
		size += len(v) + 5
	}
	var b strings.Builder
	b.Grow(size)
	b.WriteByte('{')
	for i, v := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		if isPlain(string(v)) { // as digests are
			b.WriteByte('"')
			b.WriteString(string(v))
			b.WriteByte('"')
		} else if err := writeText(&b, string(v)); err != nil {
			return "", err
		}
		b.WriteString(":0")
	}
	b.WriteByte('}')
	return b.String(), nil
}

// isPlain reports whether a text stands in JSON as it is.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// writeText writes a text as JSON.
func writeText(b *strings.Builder, s string) error {
	if !goodText(s) {
		return &dossier.Error{Kind: dossier.KindInvalid, Op: "searching", Err: errBadText}
	}
	text, err := json.Marshal(s)
	if err != nil {
		return &dossier.Error{Kind: dossier.KindInternal, Op: "searching", Err: err}
	}
	b.Write(text)
	return nil
}

// numbers is keys for numbers.
func numbers(list []int64) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, n := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + strconv.FormatInt(n, 10) + `":0`)
	}
	b.WriteByte('}')
	return b.String()
}

// micros is how a time is kept: as microseconds since 1970. The zero time has
// its own number like every other.
func micros(t time.Time) int64 { return t.UnixMicro() }

// instant is the inverse of micros.
func instant(us int64) time.Time { return time.UnixMicro(us).UTC() }

// bound is micros for the upper end of a search, where the zero time means now,
// that is: no end.
func bound(t time.Time) int64 {
	if t.IsZero() {
		return math.MaxInt64
	}
	return micros(t)
}
