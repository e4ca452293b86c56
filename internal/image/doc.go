// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package image resolves and reads container images: from registries, OCI
// layouts and docker archives. It gives indexes, manifests and configurations
// as exact bytes with the edges between them, and layers as streams.
//
// It promises that every byte it hands out was checked against the digest by
// which it was asked for, that no read from outside is without a named limit
// ([Limits]), that credentials go to the registry they belong to (and the token
// service that registry names) and nowhere else, that a registry which asks for
// patience gets it, and that requests are counted ([Usage], [Tally]). Errors are
// *dossier.Error; when a registry said when to come back, the chain holds a
// [Throttled].
//
// It decides nothing: it does not judge what an image says about itself, keeps
// no state beyond connections, tokens and counters, and writes nowhere. It does
// not look into layers, nor at attestations and other referrers.
package image
