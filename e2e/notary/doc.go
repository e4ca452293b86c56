// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package notary holds what reads the metadata of Notary v1 against the code of Notary itself. It is
// test only.
package notary
