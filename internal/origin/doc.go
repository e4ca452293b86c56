// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package origin reads what an image says about itself: the labels of its
// configuration, the annotations of its manifest, of its index and of its
// descriptor in the index, its environment, its history, and which program it
// starts.
//
// Everything is read from exact bytes that somebody else fetched and checked.
// Parsers are total: any input gives a value or a KindInvalid or KindLimit
// error, within the named limits. What an image says is kept as it was said,
// together with where it was said and what is wrong with it; a value that
// breaks its specification is marked, not dropped.
//
// The package does not judge. It does not decide which of two statements is
// right, nor how well any is proven; the answer package does. It reads no
// layers: contents does.
package origin
