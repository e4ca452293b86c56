// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package care_test

// raced reports whether the race detector is built in.
const raced = false
