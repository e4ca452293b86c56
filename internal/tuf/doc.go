// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package tuf says which digest a tag means, signed and current, by The Update
// Framework (docs/spec/tuf.md). It has four parts: a [Ceremony] is the directory in which
// owners of a prefix of repositories make and sign metadata, without a network; a
// [Repository] is what a registry publishes of it, with the timestamp and the
// snapshot that the registry itself signs; a [Handler] serves that; and a
// [Verifier] checks it, and keeps in its store what it has seen.
//
// It promises: metadata that is not signed as its delegator says is neither
// published nor believed; versions never go back, but where keys were replaced; and
// what a verifier says names who signed: the owners, or the server online.
//
// It does not decide which images must be signed, and it signs no images.
package tuf
