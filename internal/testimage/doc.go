// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package testimage builds container images in memory, writes them as OCI
// layouts and docker archives, and serves them from an in-process registry
// that can be told to misbehave.
//
// It promises that equal input gives equal bytes, and so equal digests, for
// one release of Go (the compressor of the standard library decides the bytes
// of a compressed layer). Building reads no clock: times are those that the
// caller sets, and 1970 where none is set.
//
// It is a kit for tests and for the demo command, which ships: it does not
// import the testing package. Those functions that fail a test take a [TB] and
// stand in tb.go. It does not check that what it builds makes sense; wrong
// images are what tests ask for.
package testimage
