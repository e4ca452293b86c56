// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import (
	"math"
	"strconv"
	"time"
)

// ParseAge reads how long ago something was, or how long something is kept: a
// whole number with s, m, h, d (24 hours) or w (7 days), such as "90d", or "0".
// KindInvalid: it is not that, or more than time.Duration holds (292 years).
func ParseAge(s string) (time.Duration, error) {
	fail := func() (time.Duration, error) {
		return 0, Errorf(KindInvalid, "reading a length of time", strconv.Quote(s), "want a number with s, m, h, d or w, such as 90d")
	}
	if s == "0" {
		return 0, nil
	}
	if s == "" {
		return fail()
	}
	unit := time.Duration(0)
	switch s[len(s)-1] {
	case 's':
		unit = time.Second
	case 'm':
		unit = time.Minute
	case 'h':
		unit = time.Hour
	case 'd':
		unit = 24 * time.Hour
	case 'w':
		unit = 7 * 24 * time.Hour
	default:
		return fail()
	}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 63)
	if err != nil || n > math.MaxInt64/uint64(unit) {
		return fail()
	}
	return time.Duration(n) * unit, nil
}
