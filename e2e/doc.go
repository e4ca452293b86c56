// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package e2e holds the end-to-end tests of Dossier: the dossier binary against a real Kubernetes control plane with fake
// nodes (package kube), and against a real node that runs containers (package node). The script run installs, builds and
// tests everything; the tests that need root say so when they skip.
//
// The module is apart from Dossier's own, because it depends on all of Kubernetes. It builds the binary under test with the
// go command, and imports nothing of Dossier.
package e2e
