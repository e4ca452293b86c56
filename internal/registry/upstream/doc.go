// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package upstream knows the registries that the registry pulls through: how
// each is reached and with which credentials (config.go, upstream.go), how it
// stands with each, and how many who want the same from one of them at the same time wait for
// one who gets it ([Group], [Downloads]).
//
// It promises: only registries that are configured are ever asked, and the
// credentials of one go to it and to the token service it is configured with; a
// blob is handed on while it is written down, but nobody gets all of one that is
// not what its digest says, and such a one is not kept; what nobody waits for
// ends, unless it is nearly done; whatever was begun has ended when Close returns.
//
// It knows no repositories, tags or database of the own registry, and decides
// neither what is fresh nor who may have it: package registry does.
package upstream
