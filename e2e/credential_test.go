// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dossier.dev/dossier/e2e/internal/proc"
	"dossier.dev/dossier/e2e/kube"
	"dossier.dev/dossier/e2e/node"
)

const (
	audience = "registry.example.org"
	// pusherHash is the password of the user who pushes, as htpasswd -B writes it.
	pusher, pusherPassword = "pusher", "correct horse"
	pusherHash             = "$2a$04$2B.VJQzV.EqfOuhDpVkpdeddV7TGkR8xXiEW84ppXqlndR6l6uMaW"
)

// TestCredentialProvider runs pods whose images lie in Dossier's registry, without pull secrets: kubelet asks `dossier
// credential-provider`, which gives the token of the pod's service account, and the registry asks the cluster whose it is. It
// lets in whom the rules name, and knows the pod.
func TestCredentialProvider(t *testing.T) {
	binary := dossierBinary(t)
	c := kube.Start(t, kube.Options{})
	for _, check := range []string{"review", "both"} {
		t.Run(check, func(t *testing.T) { testCredentialProvider(t, c, binary, check) })
	}
}

func testCredentialProvider(t *testing.T, c *kube.Cluster, binary, check string) {
	// What docs/spec/access.md asks for: Dossier may review tokens and read the issuer's keys, nodes may ask for tokens.
	server := c.ServiceAccountKubeconfig(t, "",
		rbacv1.PolicyRule{APIGroups: []string{"authentication.k8s.io"}, Resources: []string{"tokenreviews"}, Verbs: []string{"create"}},
		rbacv1.PolicyRule{NonResourceURLs: []string{"/.well-known/openid-configuration", "/openid/v1/jwks"}, Verbs: []string{"get"}})
	c.Apply(t, nodesMayAsk)
	puller, stranger := "puller-"+check, "stranger-"+check
	for _, account := range []string{puller, stranger} {
		c.Kubectl(t, "", "create", "serviceaccount", account)
	}
	host, log := serveRegistry(t, binary, server, check, puller)

	n := node.StartWith(t, c, "node-"+check, node.Options{
		Registries: []string{host}, CredentialProviders: providers(host), Programs: map[string]string{"dossier": binary},
	})
	ref, digest := pushAs(t, host, "team/app:1", node.Image(t, c.Binaries, "app "+check))
	c.Apply(t, accountPod("with-"+check, ref, puller, n.Name))
	checkImageID(t, waitPod(t, c, "with-"+check), host+"/team/app@"+digest)

	var who struct{ caller, pod string }
	kube.Wait(t, 10*time.Second, "the registry knows the pod", func(context.Context) error {
		lines, err := accessLog(log)
		at := slices.IndexFunc(lines, func(l line) bool {
			return l.Kind == "manifest-get" && l.Status == 200 && strings.HasPrefix(l.Caller, "serviceaccount:")
		})
		if err != nil || at < 0 {
			return errors.Join(err, errors.New("nothing was pulled by a service account"))
		}
		who.caller, who.pod = lines[at].Caller, lines[at].Pod
		return nil
	})
	if want := "serviceaccount:default/" + puller; who.caller != want || who.pod != "with-"+check {
		t.Errorf("pulled by %s in pod %q, want %s in with-%s", who.caller, who.pod, want, check)
	}

	// Another account gets nothing, though the image lies on the node.
	c.Apply(t, accountPod("without-"+check, ref, stranger, n.Name))
	kube.Wait(t, podTimeout, "the stranger is refused", func(ctx context.Context) error {
		pod, err := c.Client.CoreV1().Pods("default").Get(ctx, "without-"+check, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, s := range pod.Status.ContainerStatuses {
			if s.State.Waiting != nil && strings.Contains(s.State.Waiting.Reason, "ImagePull") {
				return nil
			}
		}
		return fmt.Errorf("containers %+v", pod.Status.ContainerStatuses)
	})
	lines, err := accessLog(log)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(lines, func(l line) bool {
		return l.Status == 403 && l.Caller == "serviceaccount:default/"+stranger && l.Pod == "without-"+check
	}) {
		t.Errorf("the registry did not refuse the stranger by name: %+v", lines)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "eyJ") { // as every JWT begins
		t.Error("a token is in the log")
	}
}

// nodesMayAsk lets nodes ask for tokens with the audience of the registry.
const nodesMayAsk = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: registry-audience}
rules: [{apiGroups: [""], resources: [` + audience + `], verbs: [request-serviceaccounts-token-audience]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: registry-audience}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: registry-audience}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: system:nodes}]
`

// providers is the kubelet's configuration, as docs/spec/access.md shows it.
func providers(host string) string {
	return fmt.Sprintf(`
apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
  - name: dossier
    apiVersion: credentialprovider.kubelet.k8s.io/v1
    args: [credential-provider, --registry=%[1]s]
    matchImages: ["%[1]s"]
    defaultCacheDuration: 0s
    tokenAttributes:
      serviceAccountTokenAudience: %[2]s
      cacheType: Token
      requireServiceAccount: true
`, host, audience)
}

func accountPod(name, image, account, node string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: default}
spec:
  serviceAccountName: %s
  nodeName: %s
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: %q, imagePullPolicy: Always}]
`, name, account, node, image)
}

// serveRegistry starts a registry that knows the service accounts of a cluster, and one user. It returns host:port and the
// path of its log.
func serveRegistry(t *testing.T, binary, kubeconfig, check, puller string) (host, log string) {
	t.Helper()
	dir := t.TempDir()
	log = filepath.Join(dir, "serve.log")
	for file, text := range map[string]string{
		"users": pusher + ":" + pusherHash + "\n",
		"rules.yaml": fmt.Sprintf(`rules:
  - {repositories: ["team/**"], users: [%s], allow: [pull, push]}
  - {repositories: ["team/**"], serviceAccounts: [default/%s], allow: [pull]}
`, pusher, puller),
		"dossier.yaml": fmt.Sprintf(`data: data
log: {access: true, format: json}
cluster: {off: true, kubeconfig: %q}
registry:
  htpasswd: users
  rules: rules.yaml
  serviceAccounts: {audience: %s, check: %s}
`, kubeconfig, audience, check),
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // the node needs to know it before
	if err != nil {
		t.Fatal(err)
	}
	host = l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	p, err := proc.Start(proc.Spec{
		Name: "dossier serve", Path: binary, Log: log,
		Args: []string{"serve", "--config", filepath.Join(dir, "dossier.yaml"), "--listen", host},
		Env:  []string{"HOME=" + t.TempDir()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("end of the log of dossier serve:\n%s", p.Tail(30))
		}
	})
	kube.Wait(t, 30*time.Second, "dossier serve listens", func(ctx context.Context) error {
		if err := p.Err(); err != nil {
			return err
		}
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", host)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	return host, log
}

// pushAs pushes an image as the user, and returns the whole name and the digest.
func pushAs(t *testing.T, host, repositoryTag string, image v1.Image) (reference, digest string) {
	t.Helper()
	ref, err := name.NewTag(host + "/" + repositoryTag)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image, remote.WithContext(t.Context()), remote.WithAuth(&authn.Basic{Username: pusher, Password: pusherPassword})); err != nil {
		t.Fatal(err)
	}
	d, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return ref.Name(), d.String()
}

// line is a line of the access log.
type line struct {
	Kind, Caller, Pod string
	Status            int
}

func accessLog(file string) ([]line, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var lines []line
	for s := range strings.Lines(string(text)) {
		var l line
		if json.Unmarshal([]byte(s), &l) == nil && l.Kind != "" {
			lines = append(lines, l)
		}
	}
	return lines, nil
}
