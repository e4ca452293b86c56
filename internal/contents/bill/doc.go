// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package bill reads bills of materials that others wrote, and compares them
// with what was found in the bytes of an image.
//
// It reads SPDX 2.2 and 2.3, CycloneDX 1.2 and later, and the JSON of Syft, bare
// or as the predicate of an in-toto statement, which may lie in a DSSE envelope.
// All are read as JSON.
//
// The package promises that any input gives a Bill or an error of KindInvalid,
// KindUnsupported or KindLimit, within Limits, and that equal bytes give equal
// bills. It verifies no signature: who says it, and whether that is so, is for
// others. It fetches nothing.
package bill
