// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import "time"

// Instant is how Dossier keeps a time: in UTC, to the microsecond, which every
// store can hold without loss.
func Instant(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

// Times asks for a state of the world as of two times. A zero time means now.
type Times struct {
	Valid    time.Time `json:"valid,omitzero"`    // what was so then
	Recorded time.Time `json:"recorded,omitzero"` // what we knew then
}
