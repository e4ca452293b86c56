// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package cluster finds out what runs where. It reads the pods of a live
// cluster through the Kubernetes API, or the objects of manifest files, and
// gives both as dossier.Place values in a Snapshot.
//
// It promises: what a pod spec asks for (Place.Requested) and what the runtime
// says it runs (Place.ImageID, Place.Digest) are kept apart, neither is guessed
// from the other; owners are followed to the top workload as far as they can be
// read, and no further; whatever could not be read is a Problem beside the rest,
// so that a forbidden namespace or a broken document hides nothing else; every
// read from outside has a named limit.
//
// It writes nothing, neither to the cluster nor to a store, asks no registry,
// and does not decide what a bare digest stands for (docs/spec/answers.md).
//
// It is the only package that knows Kubernetes types; none of them appears in
// what it exports.
package cluster
