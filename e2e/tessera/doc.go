// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package tessera holds tests in which programs of others follow the transparency log of a
// real server: the client and fsck of Tessera, and the checksum database's tlog. It is a module of
// its own so that what they need stays out of the others.
//
// The tests promise that the log is a C2SP tlog-tiles log for who knows nothing of Dossier, and that these
// checkers see when it is not. Nothing of this package calls Dossier's own code.
package tessera
