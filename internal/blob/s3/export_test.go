// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package s3

import "time"

// Hurry makes the pauses between tries short.
func (s *Store) Hurry() { s.rest = 4 * time.Millisecond }
