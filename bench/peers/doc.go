// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package peers pins the registries that Dossier's is measured beside: its module
// has them as tools, so that what they need stays out of the other modules.
//
// It promises nothing but their versions, and holds no code.
package peers
