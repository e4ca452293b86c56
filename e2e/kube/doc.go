// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package kube runs a real Kubernetes control plane for a test: etcd, kube-apiserver, kube-controller-manager and
// kube-scheduler, all on loopback, and kwok when fake nodes are asked for.
//
// It promises that each cluster is its own (files in the test's temporary directory, ports that were free, a certificate
// authority of its own), that every wait has an end, and that no process outlives the test process. It does not run pods:
// kwok writes the status of pods that never run, and package node has a node that runs them.
//
// The programs are built from the Go modules that go.mod pins, the first time in minutes, into a cache directory:
// $DOSSIER_CACHE, else dossier in the user's cache directory.
package kube
