#!/bin/bash
# SPDX-FileCopyrightText: The Dossier Authors
# SPDX-License-Identifier: Apache-2.0
#
# The first process of a node: init.sh DIR HYPERKUBE NAME ADDRESS
# It runs in new PID, mount and network namespaces, and reaps what containers leave behind.
set -euo pipefail
dir=$1 hyperkube=$2 name=$3 address=$4

mount --make-rprivate /
mount -t proc proc /proc
# Everything that a node writes to fixed places goes to memory, which the mount namespace takes with it.
for d in /run /var/log /var/lib/containerd /var/lib/kubelet /var/lib/cni; do
  mkdir -p "$d"
  mount -t tmpfs -o mode=755 tmpfs "$d"
done

ip link set lo up
# kubelet refuses a loopback address for its node. The bridge has no ports: nothing leaves the namespace.
ip link add node0 type bridge
ip addr add "$address/24" dev node0
ip link set node0 up
ip route add default dev node0
touch "$dir/network"

containerd --config "$dir/containerd.toml" >"$dir/containerd.log" 2>&1 &
until ctr version >/dev/null 2>&1; do
  kill -0 $! || { echo "containerd ended"; exit 1; }
  sleep 0.05
done
# The registry and the way to the API server are opened from outside once the network is there.
until [ -e "$dir/open" ]; do sleep 0.05; done
more=()
if [ -e "$dir/credential-providers.yaml" ]; then
  more=(--image-credential-provider-config="$dir/credential-providers.yaml" --image-credential-provider-bin-dir="$dir/bin")
fi
"$hyperkube" kubelet --config="$dir/kubelet.yaml" --kubeconfig="$dir/kubeconfig" "${more[@]}" \
  --hostname-override="$name" --node-ip="$address" >"$dir/kubelet.log" 2>&1 &
wait -n
echo "containerd or kubelet ended"
exit 1
