// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package notary1 reads what Notary v1 (Docker Content Trust) has signed of the tags of a
// repository, so that it can be signed anew by what comes after it (docs/spec/tuf.md, Migration).
//
// It promises: a tag is named only when the whole chain from the root to the role that speaks of it verifies by
// Notary's rules, signatures by different keys are counted once, and no more is read than the limits say.
//
// It writes no such metadata, and keeps nothing: whether a version went back since the last look is not
// found. That is what migrating once can do without.
package notary1
