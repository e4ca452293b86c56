// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package scan says what the advisories that are kept say of packages that
// somebody has found: those of a directory, of an image, of a bill of materials.
//
// It promises that
//   - equal packages and equal advisories give equal lists, in one order;
//   - a package of which nothing can be said is in NotAssessable, with the reason:
//     that nothing was found means something only for the others.
//
// It reads the advisories once for all packages that share a name. It finds no
// packages, keeps nothing, and decides nothing about what a finding is worth.
package scan
