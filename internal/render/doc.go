// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package render writes answers for people and programs: tables, text, JSON and
// YAML.
//
// It only formats: the same value gives the same bytes, on every machine and
// whether it came from a server or from this process. It decides nothing about
// images, and reads nothing but its arguments. Strings from outside (labels,
// names, errors) cannot move the cursor or start a line of their own: control
// characters are shown as Go escapes.
package render
