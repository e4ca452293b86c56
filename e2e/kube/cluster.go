// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"dossier.dev/dossier/e2e/internal/proc"
)

const (
	startTimeout = 90 * time.Second // of the control plane; it takes 4 seconds on an idle machine
	stopGrace    = 5 * time.Second
)

// Options change what a cluster consists of. The zero value is a whole control plane.
type Options struct {
	// NoControllerManager leaves out kube-controller-manager: pods must be made one by one, nothing is garbage collected
	// and a namespace is never gone. Service account admission and the not-ready taint of new nodes are off then too.
	NoControllerManager bool
	// NoScheduler leaves out kube-scheduler: a pod runs only where its spec.nodeName says.
	NoScheduler bool
	// APIServerFlags are added to the command line of kube-apiserver, such as --feature-gates=ImageVolumeWithDigest=true.
	APIServerFlags []string
}

// Cluster is a running control plane.
type Cluster struct {
	Dir        string // files of the cluster: certificates, logs, kubeconfigs
	Kubeconfig string // path of a kubeconfig that may do everything
	Server     string // URL of the API server
	Config     *rest.Config
	Client     kubernetes.Interface
	Binaries   Binaries

	owner     testing.TB // the test that the cluster ends with, which may be above the one that uses it
	options   Options
	authority *authority
	etcdURL   string
	apiFlags  []string
	store     *proc.Process
	apiserver *proc.Process // nil while stopped
	accounts  int
}

// logger writes to the test's log.
func logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

// Start runs a control plane until the end of the test, building it first when the cache doesn't hold it. When it returns,
// the API server is ready and, with a controller manager, the namespace default has its service account. Failing to start
// ends the test.
func Start(t testing.TB, options Options) *Cluster {
	t.Helper()
	binaries, err := Build(t.Context(), logger(t))
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	c := &Cluster{Dir: t.TempDir(), owner: t, Binaries: binaries, options: options}
	c.Kubeconfig = filepath.Join(c.Dir, "admin.kubeconfig")
	if c.authority, err = newAuthority(); err != nil {
		t.Fatal(err)
	}
	if err := c.authority.writePKI(c.Dir); err != nil {
		t.Fatal(err)
	}
	c.startStore(t)
	c.startControllers(t)
	t.Logf("control plane ready after %v", time.Since(start).Round(time.Millisecond))
	return c
}

// startStore starts etcd and the API server, with other ports when somebody was quicker to take one.
func (c *Cluster) startStore(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	var err error
	for range 3 {
		err = c.tryStore(ctx)
		if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "address already in use") {
			break
		}
		t.Logf("another try, with other ports: %v", err)
	}
	if err != nil {
		t.Fatalf("control plane: %v", err)
	}
}

func (c *Cluster) tryStore(ctx context.Context) error {
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	c.etcdURL, c.Server = "http://127.0.0.1:"+ports[0], "https://127.0.0.1:"+ports[2]
	peers := "http://127.0.0.1:" + ports[1]
	data := filepath.Join(c.Dir, "etcd-"+ports[0])
	c.store, err = c.run("etcd",
		"--name=e2e", "--data-dir="+data, "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls="+c.etcdURL, "--advertise-client-urls="+c.etcdURL,
		"--listen-peer-urls="+peers, "--initial-advertise-peer-urls="+peers, "--initial-cluster=e2e="+peers)
	if err != nil {
		return err
	}
	c.apiFlags = c.apiServerFlags(ports[2])
	if err := c.connect(); err != nil {
		return err
	}
	if err := c.startAPIServer(ctx); err != nil {
		c.store.Kill()
		return err
	}
	return nil
}

func (c *Cluster) apiServerFlags(port string) []string {
	flags := []string{
		"--etcd-servers=" + c.etcdURL, "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port=" + port,
		"--endpoint-reconciler-type=none", // a loopback address may not be in an Endpoints object
		"--tls-cert-file=" + c.file("apiserver.crt"), "--tls-private-key-file=" + c.file("apiserver.key"),
		"--client-ca-file=" + c.file("ca.crt"),
		"--service-account-key-file=" + c.file("tokens.key"), "--service-account-signing-key-file=" + c.file("tokens.key"),
		"--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.96.0.0/16",
		"--authorization-mode=Node,RBAC", "--shutdown-watch-termination-grace-period=1s", "--allow-privileged=true", "--profiling=false",
	}
	if c.options.NoControllerManager {
		flags = append(flags, "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition")
	}
	return append(flags, c.options.APIServerFlags...)
}

// connect makes the administrator's kubeconfig and client.
func (c *Cluster) connect() error {
	admin, err := c.authority.issue(subject{name: "admin", groups: []string{"system:masters"}})
	if err != nil {
		return err
	}
	user := &api.AuthInfo{ClientCertificateData: admin.cert, ClientKeyData: admin.key}
	if err := c.authority.writeKubeconfig(c.Kubeconfig, c.Server, user); err != nil {
		return err
	}
	if c.Config, err = clientcmd.BuildConfigFromFlags("", c.Kubeconfig); err != nil {
		return err
	}
	c.Config.QPS = -1 // no limit
	c.Client, err = kubernetes.NewForConfig(c.Config)
	return err
}

// startControllers starts the controller manager and the scheduler, as far as they are wanted, and waits for the first work
// of the controller manager.
func (c *Cluster) startControllers(t testing.TB) {
	t.Helper()
	common := []string{"--bind-address=127.0.0.1", "--secure-port=0", "--leader-elect=false", "--kube-api-qps=500", "--kube-api-burst=1000"}
	for _, p := range []struct {
		name  string
		off   bool
		flags []string
	}{
		{"kube-controller-manager", c.options.NoControllerManager, []string{
			"--service-account-private-key-file=" + c.file("tokens.key"), "--root-ca-file=" + c.file("ca.crt"),
			"--cluster-signing-cert-file=" + c.file("ca.crt"), "--cluster-signing-key-file=" + c.file("ca.key"),
			"--use-service-account-credentials=true",
			"--node-monitor-grace-period=3600s", // a slow machine must not make nodes unreachable
		}},
		{"kube-scheduler", c.options.NoScheduler, nil},
	} {
		if p.off {
			continue
		}
		config := c.UserKubeconfig(t, "system:"+p.name)
		flags := append(p.flags, "--kubeconfig="+config, "--authentication-kubeconfig="+config, "--authorization-kubeconfig="+config)
		if _, err := c.run(p.name, append(flags, common...)...); err != nil {
			t.Fatal(err)
		}
	}
	if c.options.NoControllerManager {
		return
	}
	Wait(t, startTimeout, "service account default", func(ctx context.Context) error {
		_, err := c.Client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// UserKubeconfig writes a kubeconfig with a certificate for a user and its groups, and returns the path.
func (c *Cluster) UserKubeconfig(t testing.TB, user string, groups ...string) string {
	t.Helper()
	pair, err := c.authority.issue(subject{name: user, groups: groups})
	if err != nil {
		t.Fatal(err)
	}
	return c.writeKubeconfig(t, c.Server, &api.AuthInfo{ClientCertificateData: pair.cert, ClientKeyData: pair.key})
}

// ServingCertificate issues a certificate that is also good for a server with that address, and returns the paths of the
// certificate, of its key and of the authority.
func (c *Cluster) ServingCertificate(t testing.TB, name string, ip net.IP) (cert, key, ca string) {
	t.Helper()
	pair, err := c.authority.issue(subject{name: name, ips: []net.IP{ip}, hosts: []string{name}})
	if err != nil {
		t.Fatal(err)
	}
	if err := pair.write(c.Dir, name); err != nil {
		t.Fatal(err)
	}
	return c.file(name + ".crt"), c.file(name + ".key"), c.file("ca.crt")
}

func (c *Cluster) writeKubeconfig(t testing.TB, server string, user *api.AuthInfo) string {
	t.Helper()
	c.accounts++
	file := c.file("user-" + strconv.Itoa(c.accounts) + ".kubeconfig")
	if err := c.authority.writeKubeconfig(file, server, user); err != nil {
		t.Fatal(err)
	}
	return file
}

func (c *Cluster) file(name string) string { return filepath.Join(c.Dir, name) }

// run starts a component until the end of the test that owns the cluster. When the test has failed by then, the end of its log is shown.
func (c *Cluster) run(name string, args ...string) (*proc.Process, error) {
	return c.start(name, c.Binaries.Hyperkube, append([]string{name}, args...)...)
}

func (c *Cluster) start(name, path string, args ...string) (*proc.Process, error) {
	p, err := proc.Start(proc.Spec{Name: name, Path: path, Args: args, Log: c.file(name + ".log")})
	if err != nil {
		return nil, err
	}
	c.owner.Cleanup(func() {
		p.Kill() // nothing is kept, so nothing needs to end well
		if c.owner.Failed() {
			c.owner.Logf("end of the log of %s:\n%s", name, p.Tail(12))
		}
	})
	return p, nil
}

// Kubectl runs kubectl as the administrator and returns what it printed. Failing ends the test.
func (c *Cluster) Kubectl(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := c.kubectl(ctx, stdin, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Apply creates or changes the objects of a YAML text. Failing ends the test.
func (c *Cluster) Apply(t testing.TB, yaml string) {
	t.Helper()
	c.Kubectl(t, yaml, "apply", "-f", "-")
}
