// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"time"

	"dossier.dev/dossier/internal/store"
)

// What the tests of package ingest_test measure by.
const (
	MaxBegun  = maxBegun
	ParkedFor = parkedFor
)

// NextTry is nextTry, for tests.
func (g *Ingest) NextTry(job store.Job, cause error) (time.Time, bool) { return g.nextTry(job, cause) }
