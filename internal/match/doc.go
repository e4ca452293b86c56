// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package match says which advisories concern a package, and why.
//
// Keys says under which names advisories about a package are found, and KeysOf
// the same of an advisory, so that a store can bring the two together by
// equality. Match judges a package against those it found. Verdicts gives the
// same judgement advisory by advisory, with the reason of each that does not
// count. Assess says of which packages nothing can be said.
//
// The package promises that
//   - it is pure: equal arguments give equal results, in whatever order the
//     advisories come, and nothing is read or remembered;
//   - one vulnerability of a package is one finding, with all its names;
//   - a finding names the bytes of each advisory and the range that holds the
//     version, so that anyone can judge again;
//   - the findings that advisories give which share no name with others do not
//     depend on those others: who changes one advisory need judge again only
//     with those that share a name with it (Names).
//
// Versions are ordered by osv-scalibr's semantic. The rules of distributions
// are in docs/spec/advisories.md, and each is a test here.
package match
