// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package soak uses a registry for a while as its clients do, all at once and at random,
// while the registry collects garbage every second and scrubs: they push, pull, mount,
// retag, refer and delete, each request on any of the replicas.
//
// It promises to notice when a request fails that should not have, and when anything that was
// acknowledged and not deleted is not there bit for bit, during the run or after it. It can do so for it
// remembers all of it. A client that took longer than the registry promised to hold what it
// was told of proves nothing, and is counted apart.
//
// It starts no registry, and measures no time.
package soak
