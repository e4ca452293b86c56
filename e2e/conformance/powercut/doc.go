// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package powercut tells what a disk may hold when the power fails while a
// program runs.
//
// The program runs under strace; Read makes of its notes the sequence of changes
// to files and directories, and of what the program sent to its peers. Restore then
// lays out a directory as a power cut at any point of that sequence may leave it: what
// was synced is there, of the rest as much as luck has it (Pillai et al., "All File
// Systems Are Not Created Equal", OSDI 2014). A fsync of a file makes its bytes
// durable, one of a directory the names in it, and neither does the other's work.
//
// It promises no less than POSIX does: file systems that people use lose less. It does
// not know memory maps, symbolic links and calls that Dossier does not make: Read fails
// when one changes a file, for what it told would be wrong.
package powercut
