// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package node adds a real node to a test's cluster: containerd, runc and kubelet, with a registry to pull from and images
// to run.
//
// The node lives in PID, mount and network namespaces of its own. Its registry and the API server are reached on loopback
// inside of them, at the addresses that they have outside; there is no way to any other network. Whatever ends the test
// ends the node: when the first process of its PID namespace dies, the kernel kills the rest, shims and containers
// included, and with the last process go the mounts and the network. What the kernel leaves, empty cgroups, is removed at the end
// of the test or by the next one.
//
// It needs root, the packages that install.sh installs, and the right to make namespaces; Start skips the test and says why
// when something is missing. It does not give pods a name service or a cluster network beyond their own node.
package node
