// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"fmt"
	"os"
	"path/filepath"
)

// address is the node's IP address, which exists in its own network namespace only.
const address = "10.10.0.1"

// files are what the programs of a node read.
type files struct {
	dir, registry, cniBin, cgroup string
	cert, key, ca                 string
	options                       Options
}

// write puts the configuration of containerd, kubelet and the pod network into the node's directory.
func (f files) write() error {
	texts := map[string]string{
		"containerd.toml":                     f.containerd(),
		"kubelet.yaml":                        f.kubelet(),
		"net/10-bridge.conflist":              podNetwork,
		"hosts/" + f.registry + "/hosts.toml": fmt.Sprintf("server = \"http://%[1]s\"\n[host.\"http://%[1]s\"]\n", f.registry),
		"init.sh":                             initScript,
	}
	for _, host := range f.options.Registries {
		texts["hosts/"+host+"/hosts.toml"] = fmt.Sprintf("server = \"http://%[1]s\"\n[host.\"http://%[1]s\"]\n", host)
	}
	if f.options.CredentialProviders != "" {
		texts["credential-providers.yaml"] = f.options.CredentialProviders
	}
	for name, text := range texts {
		file := filepath.Join(f.dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	for program, path := range f.options.Programs {
		bin := filepath.Join(f.dir, "bin")
		if err := os.MkdirAll(bin, 0o755); err != nil {
			return err
		}
		if err := os.Symlink(path, filepath.Join(bin, program)); err != nil {
			return err
		}
	}
	return os.MkdirAll(filepath.Join(f.dir, "manifests"), 0o755)
}

func (f files) containerd() string {
	return fmt.Sprintf(`version = 2
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "%s/pause:1"
  restrict_oom_score_adj = true # root in a container may not lower it
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = %q
`, f.registry, f.cniBin, filepath.Join(f.dir, "net"), filepath.Join(f.dir, "hosts"))
}

// podNetwork connects pods to each other and to their node.
const podNetwork = `{"cniVersion": "0.4.0", "name": "pods", "plugins": [{
  "type": "bridge", "bridge": "pods0", "isGateway": true,
  "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}
}]}
`

func (f files) kubelet() string {
	return fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: %[1]s
healthzBindAddress: 127.0.0.1
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
staticPodPath: %[2]s/manifests
fileCheckFrequency: 1s
tlsCertFile: %[3]s
tlsPrivateKeyFile: %[4]s
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: %[5]s}
authorization: {mode: Webhook}
failCgroupV1: false # old kernels and containers have nothing newer
volumePluginDir: /var/lib/kubelet/volume-plugins
cgroupDriver: cgroupfs
cgroupRoot: /%[6]s
enforceNodeAllocatable: []
failSwapOn: false
oomScoreAdj: 0
resolvConf: ""
makeIPTablesUtilChains: false
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi}
`, address, f.dir, f.cert, f.key, f.ca, f.cgroup)
}
