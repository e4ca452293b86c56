// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package fleet is what Dossier is measured against: images of a middling
// company, a registry that serves them from memory after a delay and counts
// what it is asked for, and the pods that run them.
//
// It promises that everything follows from the number of images, so that two
// processes, or two runs, have the same digests. It does not measure anything.
package fleet
