// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package registry is an OCI registry: the API of the OCI distribution
// specification 1.1, and what its development version adds, as an http.Handler.
//
// A request is parsed into a [Request] (request.go) and handed to the method for
// its kind, in the file named for what it does: reader.go, writer.go, upload.go,
// deleter.go, lister.go. Errors become the codes of the specification in error.go
// alone.
//
// The package promises: what was acknowledged is durable; a manifest is there
// only as long as all that it needs; a push, the tags that it moves and the facts
// that it gives (docs/spec/facts.md) are one transaction, so that an image has its
// dossier as soon as its manifest is acknowledged; a tag that is fixed never
// moves; any number of equal handlers may share a database and a blob store,
// and each goes on with the uploads of the others.
//
// What is asked for by a path that is one of an upstream (Config.Upstreams) is
// pulled through: mirror.go finds out which requests those are, and the files
// pull_*.go serve them. What was pulled through is kept like a push, except that
// its repository may lack what a manifest needs.
//
// It does not say who may do what (Config.Guard does), and keeps no record of
// pulls (Config.Audit does). Garbage is collected by package care,
// which leaves alone what a client was told of as long as Config.Lease lasts.
package registry
