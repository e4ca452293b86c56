// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package archtest tests the repository itself: which package may import which,
// how long files and functions may be, what every file must say.
//
// Each rule is a check: a function from the files of a repository to a list of
// faults, one line each. One test runs all checks on this repository; another
// runs each on small repositories with a fault in them, so that a check that
// finds nothing any more is found out.
//
// The package has no code outside its tests and nothing imports it. It reads
// sources as text and does not build them: go vet, staticcheck and the compiler
// say the rest.
package archtest
