// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package proof writes an answer with all that proves it into one file, and checks such
// files without a store and without a network (docs/spec/proof.md).
//
// A file holds the dossier of an image, the evidence that it was judged from, and for each fact
// of that evidence the proof that it is in the transparency log; what the map of the log says of
// every digest in question; and the log's claim of the rest: that the evidence was all that there was.
//
// Check promises to say what is proven and by whom, and what is only claimed. It judges
// the evidence again, so that a summary that does not follow from it is found. It believes
// in keys that the trust file names, and in nothing else of the file that it checks.
package proof
