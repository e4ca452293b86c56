// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"dossier.dev/dossier"
)

// query is the parameters of a request, known to be allowed.
type query struct{ values url.Values }

// repeated are the parameters that may be given several times.
func repeated() []string { return []string{"namespace", "cluster"} }

// parseQuery reads the part after the "?". A parameter that the resource does
// not have is an error: one that is ignored would give a wrong answer.
func parseQuery(raw string, allowed []string) (query, error) {
	fail := func(kind dossier.Kind, why string) (query, error) {
		return query{}, dossier.Errorf(kind, "reading the query", "", why)
	}
	if len(raw) > MaxQuery {
		return fail(dossier.KindLimit, fmt.Sprintf("it has %d bytes, MaxQuery is %d", len(raw), MaxQuery))
	}
	if n := strings.Count(raw, "&") + 1; n > MaxValues {
		return fail(dossier.KindLimit, fmt.Sprintf("it has %d parameters, MaxValues is %d", n, MaxValues))
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return fail(dossier.KindInvalid, err.Error())
	}
	for name, list := range values {
		switch {
		case !slices.Contains(allowed, name):
			known := "it takes none"
			if len(allowed) > 0 {
				known = "it takes " + strings.Join(allowed, ", ")
			}
			return fail(dossier.KindInvalid, fmt.Sprintf("there is no parameter %q here: %s", short(name), known))
		case len(list) > 1 && !slices.Contains(repeated(), name):
			return fail(dossier.KindInvalid, name+" is given twice")
		}
		for _, v := range list {
			if !utf8.ValidString(v) || strings.ContainsRune(v, 0) {
				return fail(dossier.KindInvalid, name+" is not text")
			}
		}
	}
	return query{values}, nil
}

// short cuts a text for an error message.
func short(s string) string {
	const limit = 60
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "..."
	}
	return s
}

// text returns a parameter, "" when it is not given.
func (q query) text(name string) string { return q.values.Get(name) }

// integer returns a parameter, or a default when it is not given.
func (q query) integer(name string, standard int64) (int64, error) {
	s := q.text(name)
	if s == "" {
		return standard, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, q.invalid(name, "want a whole number")
	}
	return n, nil
}

// pageOfTags returns how many tags a page is to hold.
func (q query) pageOfTags() (int, error) {
	n, err := q.integer("limit", MaxTags)
	if err == nil && (n < 1 || n > MaxTags) {
		err = q.invalid("limit", fmt.Sprintf("want 1 to MaxTags, which is %d", MaxTags))
	}
	return int(n), err
}

// flag returns a parameter that is true or false; false when it is not given.
func (q query) flag(name string) (bool, error) {
	switch q.text(name) {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, q.invalid(name, "want true or false")
}

// moment returns a time, zero when it is not given.
func (q query) moment(name string) (time.Time, error) {
	s := q.text(name)
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return dossier.Instant(t), nil
		}
	}
	return time.Time{}, q.invalid(name, "want a time such as 2026-01-31T12:00:00Z, or a date")
}

// times returns the two times of which an answer is asked for.
func (q query) times() (dossier.Times, error) {
	valid, err := q.moment("at")
	if err != nil {
		return dossier.Times{}, err
	}
	recorded, err := q.moment("knownAt")
	return dossier.Times{Valid: valid, Recorded: recorded}, err
}

// images returns the query of a list of images.
func (q query) images() (dossier.ImagesQuery, error) {
	at, err := q.times()
	if err != nil {
		return dossier.ImagesQuery{}, err
	}
	for _, name := range repeated() {
		if slices.Contains(q.values[name], "") {
			return dossier.ImagesQuery{}, q.invalid(name, "leave it out to mean all")
		}
	}
	return dossier.ImagesQuery{
		Clusters: q.values["cluster"], Namespaces: q.values["namespace"], Selector: q.text("selector"), At: at,
	}, nil
}

func (q query) invalid(name, why string) error {
	return dossier.Errorf(dossier.KindInvalid, "reading the query", fmt.Sprintf("%s=%q", name, short(q.text(name))), why)
}
