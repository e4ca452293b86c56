// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// The ci command runs every test of the repository, lane by lane, and ends with
// a table of minutes, the list of what was skipped and why, and one line of
// counts. It is what make test runs.
//
//	go run ./ci [-list] [-fuzz TIME | LANE ...]
//
// A lane is a list of steps; without arguments all lanes run. A failing step
// does not stop the others, so that one run shows every fault; the exit code is
// then 1. Debian packages that a lane needs are installed when it runs as root,
// else what needs them is skipped, aloud.
//
// It knows how to start programs and how to read what go test prints. It does
// not know what the tests test.
package main
