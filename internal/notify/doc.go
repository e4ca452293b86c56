// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package notify tells others what changes about the vulnerabilities of what
// runs: CloudEvents over HTTP, signed (docs/spec/notifications.md).
//
// It goes in three steps, each a transaction that can be cut off anywhere.
// What changes writes a notice in its own transaction ([Watch] sees to that). A
// composer, one for a database, takes the notices, compares what runs now and has
// which findings with what was last told of it, and writes events and what is
// told by then. A sender, one for each target, posts the events until they are
// taken, or given up.
//
// The package promises that
//   - no change is lost once it was acknowledged, whichever process is killed: an
//     event is posted at least once, and each time with the same ID and bytes;
//   - what changes back before it was told is not told;
//   - there is at most one event for a workload and an image at a time, and, of many,
//     digests instead: no change of advisories makes requests without limit;
//   - events to one target are in order unless one of them is refused.
//
// What it tells is what the list of findings says (dossier vulns), so that both
// agree; it judges nothing itself.
package notify
