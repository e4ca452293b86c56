// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package peers holds tests in which other programs write images and the
// dossier binary reads them: umoci makes them, skopeo copies them between OCI
// layouts, docker archives and a registry and says what their digests are.
//
// gpg signs images through skopeo, which by a policy.json takes and refuses what
// dossier does by the same keys.
//
// The tests promise that Dossier names each image as these programs do. They do
// not compare what anybody says about contents. Where a program is missing the
// tests skip, or fail when DOSSIER_REQUIRE_PEERS is set.
package peers
