// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package vex reads what somebody says of vulnerabilities in products, and tells
// what of it concerns a finding.
//
// Parse reads documents of the Vulnerability Exploitability eXchange: OpenVEX
// 0.2.0, CSAF 2.0 and CycloneDX, bare or as the predicate of an in-toto statement.
// ParseIgnores reads a file of findings to ignore, each with who wants that, why,
// and until when. Rules brings them together: Judge says of each finding whether
// it still counts.
//
// The package promises that
//   - a statement counts only for products that it names, by package URL or by
//     digest; what it names otherwise (CPE, a file name) concerns nothing;
//   - what is said last counts; of what is said at the same time, that the product
//     is affected;
//   - a finding that no longer counts is kept, with who said so;
//   - an ignore counts until its time is over, and not a moment longer.
//
// What statements say is a claim: the package verifies no signature and does not
// decide whom to believe. Any input gives statements or an error of KindInvalid,
// KindUnsupported or KindLimit, within Limits.
package vex
