// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package advisory reads advisories: records of the Open Source Vulnerability
// format, and what others publish, converted to it.
//
// Parse reads one record. ReadArchive reads an archive of them, ReadFile any file
// that an advisory, or many, can come in: converters make records of Alpine's
// secdb, of Debian's security tracker and its lists of bulletins, and of CSAF
// documents. Fetcher follows a bucket of feeds: what changed since the last time,
// or all. ReadKEV and ReadEPSS read which vulnerabilities are exploited, and how
// likely that is.
//
// The package promises that
//   - equal bytes give equal records, to the byte;
//   - a record that is accepted can be matched: what does not hold to the schema
//     where that matters is refused with the reason, not read halfway;
//   - memory and time are bounded by Limits, not by what is read;
//   - bytes that an archive or a server promised are checked: sums, sizes, and
//     that a record has the ID it is named for.
//
// It keeps nothing and judges nothing: the store keeps, match judges.
package advisory
