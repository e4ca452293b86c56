// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dossier.dev/dossier/e2e/internal/proc"
	"dossier.dev/dossier/e2e/internal/relay"
	"dossier.dev/dossier/e2e/kube"
)

//go:embed init.sh
var initScript string

const (
	namespaces   = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET
	readyTimeout = 90 * time.Second // from the first process to a ready node; it takes 5 seconds on an idle machine
)

// Node is a real node of a cluster.
type Node struct {
	Name      string
	Registry  string // host:port of its registry, on loopback inside and outside of the node
	Manifests string // directory of static pods
	Dir       string // logs and configuration

	cluster *kube.Cluster
	init    *proc.Process
}

// count makes the names of cgroups differ within a process.
var count atomic.Int64

// Options say what a node has beside the usual.
type Options struct {
	// Registries are others that the node can reach: host:port on loopback, plain HTTP.
	Registries []string
	// CredentialProviders is kubelet's configuration of credential providers (CredentialProviderConfig), and Programs are
	// the paths of what it runs, by name. Empty: none.
	CredentialProviders string
	Programs            map[string]string
}

// Start adds a node to a cluster until the end of the test. When it returns the node is ready for pods. It skips the test
// when the machine can't run one, with the reason.
func Start(t testing.TB, cluster *kube.Cluster, name string) *Node {
	t.Helper()
	return StartWith(t, cluster, name, Options{})
}

// StartWith is Start for a node that has more.
func StartWith(t testing.TB, cluster *kube.Cluster, name string, options Options) *Node {
	t.Helper()
	cniBin := require(t)
	start := time.Now()
	n := &Node{Name: name, Dir: t.TempDir(), cluster: cluster}
	n.Manifests = filepath.Join(n.Dir, "manifests")

	outside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.Registry = outside.Addr().String()
	f := files{dir: n.Dir, registry: n.Registry, cniBin: cniBin, cgroup: n.makeCgroup(t), options: options}
	f.cert, f.key, f.ca = cluster.ServingCertificate(t, name, net.ParseIP(address))
	if err := f.write(); err != nil {
		t.Fatal(err)
	}
	n.writeKubeconfig(t)
	n.startInit(t)
	n.open(t, outside)
	for _, host := range options.Registries {
		l, err := listenIn(n.init.PID(), host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(relay.Serve(l, host).Close)
	}
	n.Push(t, "pause:1", Image(t, cluster.Binaries, "pause"))
	if err := os.WriteFile(filepath.Join(n.Dir, "open"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	kube.Wait(t, readyTimeout, "node ready", n.ready)
	t.Logf("node ready after %v", time.Since(start).Round(time.Millisecond))
	return n
}

// require skips the test when the machine can't run a node, and returns the directory of the CNI plugins.
func require(t testing.TB) (cniBin string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: a real node needs root")
	}
	for _, program := range []string{"containerd", "ctr", "runc", "ip", "nsenter", "mount", "bash"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("SKIPPED: a real node needs %s: e2e/install.sh installs it", program)
		}
	}
	for _, dir := range []string{"/usr/lib/cni", "/opt/cni/bin"} {
		if _, err := os.Stat(filepath.Join(dir, "bridge")); err == nil {
			cniBin = dir
		}
	}
	if cniBin == "" {
		t.Skip("SKIPPED: a real node needs the CNI plugins: e2e/install.sh installs them")
	}
	try := exec.Command("bash", "-c", "mount --make-rprivate / && mount -t tmpfs tmpfs /run && ip link add try type bridge")
	try.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces}
	if out, err := try.CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: a real node needs namespaces and mounts of its own: %v: %s", err, out)
	}
	if err := sweepCgroups(); err != nil {
		t.Logf("cgroups of an earlier test: %v", err)
	}
	return cniBin
}

func (n *Node) makeCgroup(t testing.TB) string {
	t.Helper()
	cgroup := cgroupPrefix + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatInt(count.Add(1), 10)
	if err := makeCgroup(cgroup); err != nil {
		t.Skipf("SKIPPED: a real node needs cgroups of its own: %v", err)
	}
	t.Cleanup(func() {
		if err := removeCgroup(cgroup); err != nil {
			t.Error(err)
		}
	})
	return cgroup
}

// writeKubeconfig gives kubelet the credentials of its node. They are good inside of the node too, since the API server has
// the same address there.
func (n *Node) writeKubeconfig(t testing.TB) {
	t.Helper()
	from := n.cluster.UserKubeconfig(t, "system:node:"+n.Name, "system:nodes")
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(filepath.Join(n.Dir, "kubeconfig"), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (n *Node) startInit(t testing.TB) {
	t.Helper()
	logs := []string{"init", "containerd", "kubelet"}
	var err error
	n.init, err = proc.Start(proc.Spec{
		Name:       "node " + n.Name,
		Path:       "bash",
		Args:       []string{filepath.Join(n.Dir, "init.sh"), n.Dir, n.cluster.Binaries.Hyperkube, n.Name, address},
		Log:        filepath.Join(n.Dir, "init.log"),
		Namespaces: namespaces,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.init.Kill() // returns when everything in the PID namespace is gone
		if t.Failed() {
			for _, log := range logs {
				t.Logf("end of %s.log of node %s:\n%s", log, n.Name, proc.Tail(filepath.Join(n.Dir, log+".log"), 15))
			}
		}
	})
}

// open serves the registry inside and outside of the node, and the API server inside.
func (n *Node) open(t testing.TB, outside net.Listener) {
	t.Helper()
	kube.Wait(t, 30*time.Second, "network of the node", func(context.Context) error {
		_, err := os.Stat(filepath.Join(n.Dir, "network"))
		return errors.Join(err, n.init.Err())
	})
	inside, err := listenIn(n.init.PID(), n.Registry)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0))), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 2)
	for _, l := range []net.Listener{inside, outside} {
		go func() { served <- server.Serve(l) }()
	}
	t.Cleanup(func() {
		server.Close()
		for range 2 {
			if err := <-served; !errors.Is(err, http.ErrServerClosed) {
				t.Errorf("registry: %v", err)
			}
		}
	})
	api := strings.TrimPrefix(n.cluster.Server, "https://")
	l, err := listenIn(n.init.PID(), api)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(relay.Serve(l, api).Close)
}

// ready says why the node is not ready for pods.
func (n *Node) ready(ctx context.Context) error {
	if err := n.init.Err(); err != nil {
		return err
	}
	node, err := n.cluster.Client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if len(node.Spec.Taints) > 0 {
		return fmt.Errorf("taints %v", node.Spec.Taints)
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("conditions %v", node.Status.Conditions)
}

// Push puts an image or an index into the registry under REPOSITORY:TAG, and returns the whole name and the digest.
func (n *Node) Push(t testing.TB, repositoryTag string, what remote.Taggable) (reference, digest string) {
	t.Helper()
	ref, err := name.NewTag(n.Registry + "/" + repositoryTag)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := remote.Push(ref, what, remote.WithContext(ctx)); err != nil {
		t.Fatal(err)
	}
	head, err := remote.Head(ref, remote.WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	return ref.Name(), head.Digest.String()
}

// Command returns a command that runs in the node's network namespace, with the files and processes of the test.
func (n *Node) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	return n.enter(ctx, "--net", append([]string{program}, args...))
}

func (n *Node) enter(ctx context.Context, namespaces string, command []string) *exec.Cmd {
	args := append(strings.Fields(namespaces), "--target="+strconv.Itoa(n.init.PID()), "--")
	return exec.CommandContext(ctx, "nsenter", append(args, command...)...)
}

// Run runs a command in all namespaces of the node and returns what it printed. Failing ends the test.
func (n *Node) Run(t testing.TB, command ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := n.enter(ctx, "--mount --net --pid", command).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(command, " "), err, out)
	}
	return string(out)
}

// Import puts an image into the node's own store under a name, as an archive that no registry knows.
func (n *Node) Import(t testing.TB, reference string, image v1.Image) {
	t.Helper()
	ref, err := name.NewTag(reference)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(n.Dir, "import.tar")
	if err := tarball.WriteToFile(file, ref, image); err != nil {
		t.Fatal(err)
	}
	n.Run(t, "ctr", "--namespace=k8s.io", "images", "import", file)
}

// AddStaticPod puts a manifest into the directory that kubelet reads static pods from, and takes it out again at the end of
// the test.
func (n *Node) AddStaticPod(t testing.TB, file, yaml string) {
	t.Helper()
	path := filepath.Join(n.Manifests, file)
	if err := os.WriteFile(path, []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
}
