// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package trust verifies who signed what: Sigstore bundles over files, images and
// statements about them, by keys and by identities; simple signing of images by OpenPGP;
// signatures of the Notary Project.
//
// It is given all that it looks at, the question, who may sign, the trusted root, the
// bytes and the time, and returns a [Decision]: each check with its input and a reason
// code. The same input gives the same decision, byte for byte, so whoever has the
// evidence can make it again. It does no I/O, reads no clock and knows no default of
// whom to trust: without a key or an identity nothing verifies.
//
// A decision is true while the trust that it was made under stays as it is; it says
// of which, by digest, and until when at most.
package trust
