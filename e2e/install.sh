#!/bin/bash
# SPDX-FileCopyrightText: The Dossier Authors
# SPDX-License-Identifier: Apache-2.0
#
# Installs what a real node needs: containerd, runc, the CNI plugins and a few tools, from Debian's packages. Does nothing
# when all of it is there. Without root, or without apt, it says what is missing and leaves the rest to the tests, which skip.
set -euo pipefail

packages=(containerd runc containernetworking-plugins iproute2 util-linux mount)

missing() {
  for p in "${packages[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || echo "$p"
  done
}

if ! command -v apt-get >/dev/null; then
  echo "install: no apt-get here: install ${packages[*]} by other means" >&2
  exit 0
fi
mapfile -t need < <(missing)
[ ${#need[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ]; then
  echo "install: not root: ${need[*]} missing" >&2
  exit 0
fi
echo "install: ${need[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
timeout 300 apt-get update -qq
timeout 600 apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
