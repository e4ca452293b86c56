// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package transfer takes repositories into the registry from directories that
// other programs wrote, and writes them out again: OCI image layouts, trees of
// them, and the storage root of a distribution registry.
//
// It promises: what is taken is checked against its digest; nothing outside the
// directory is read or written, whatever links and names lie in it; what is here
// already is neither read again nor changed, so that an import that broke off
// goes on when it is run again; tags keep the times that the directory tells; an
// item that cannot be taken is told with the file that is to blame, and the others
// are taken. Servers may run on the registry at the same time.
//
// It does not talk to other registries, reads no archives, and does not delete.
package transfer
