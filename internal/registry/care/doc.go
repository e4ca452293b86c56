// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package care looks after the bytes of the registry: it takes away what nothing
// needs, says of each digest why it is kept, and compares what is kept with its
// digest (docs/spec/care.md).
//
// A collection decides on what it read, and takes away by statements that hold
// their own conditions (store.GarbageWriter). So any number of collectors may run
// beside any number of pushes, in as many processes: what comes to be needed, or
// is leased, in between stays. Bytes are deleted only some time after the row that
// named them is gone, and under a key that no upload ever gets again.
//
// The package promises: nothing goes that a cluster runs or names in a template,
// in rollout history or a cron job, nor what belongs to it: its parts, the indexes
// that list it, the images that it was built on, and what refers to any of these.
// When what a cluster needs is not known, or was not for some time, nothing goes
// that could be of an image. Without rules only blobs go that no manifest needs.
// What a dry run lists is what a collection at that moment takes away.
//
// It answers no requests, and what it was told of clusters it does not check.
package care
