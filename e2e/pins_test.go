// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"dossier.dev/dossier/e2e/kube"
	"dossier.dev/dossier/e2e/node"
)

// eager lets every manifest go that has no tag and that nobody was told of lately.
const eager = `data: data
registry:
  care:
    {lease: 20s, every: 1s, reconcile: 1s, retention: [{repositories: ["**"], untagged: 1s}]}
`

// TestHistoryKeepsImages collects garbage beside a cluster, of which it knows what runs, what rollback would run and what a
// suspended cron job would.
func TestHistoryKeepsImages(t *testing.T) {
	dossierBinary(t)
	c := kube.Start(t, kube.Options{})
	c.StartKwok(t, 1)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "dossier.yaml"), []byte(eager), 0o600); err != nil {
		t.Fatal(err)
	}
	rules := documentedRules(t)
	lacking := slices.Clone(rules)
	lacking = slices.DeleteFunc(lacking, func(r rbacv1.PolicyRule) bool { return slices.Contains(r.Resources, "cronjobs") })

	s := serveEager(t, dir, c.ServiceAccountKubeconfig(t, "", lacking...))
	host := strings.TrimPrefix(s.url, "http://")
	images := map[string]string{} // digest by tag
	for _, tag := range []string{"first", "second", "night", "nobody"} {
		images[tag] = pushPlain(t, host+"/team/app:"+tag, node.Image(t, c.Binaries, tag))
	}
	run := func(tag string) {
		t.Helper()
		c.Apply(t, deployment("default", "web", 1, host+"/team/app@"+images[tag]))
		kube.Wait(t, podTimeout, "only "+tag+" runs", func(context.Context) error {
			live := pods(t, c, "default", "app=web")
			if len(live) != 1 || !strings.HasSuffix(live[0].Spec.Containers[0].Image, images[tag]) || live[0].Status.Phase != "Running" {
				return fmt.Errorf("there are %d pods", len(live))
			}
			return nil
		})
	}
	run("first")
	run("second")
	c.Apply(t, fmt.Sprintf(suspendedCronJob, host+"/team/app@"+images["night"]))
	for _, tag := range []string{"first", "night", "nobody"} {
		untag(t, host+"/team/app:"+tag)
	}

	kube.Wait(t, convergence, "it is said what is not known", func(context.Context) error {
		stdout, stderr, code := runDossier(t, "registry", "gc", "--dry-run", "-o", "json", "--server", s.url)
		var plan struct{ Withheld []string }
		if code != 0 || json.Unmarshal([]byte(stdout), &plan) != nil {
			return fmt.Errorf("exit code %d: %s", code, stderr)
		}
		if said := strings.Join(plan.Withheld, "; "); !strings.Contains(said, "never listed whole") || !strings.Contains(said, "cronjobs") {
			return fmt.Errorf("withheld: %q", said)
		}
		return nil
	})
	s.process.Stop(15 * time.Second)

	s = serveEager(t, dir, c.ServiceAccountKubeconfig(t, "", rules...))
	waitGone(t, s, images["nobody"])
	for tag, object := range map[string]string{"first": "ReplicaSet/web-", "second": "Deployment/web", "night": "CronJob/night"} {
		if said := keptBecause(t, s, images[tag]); !strings.Contains(said, "cluster: ") || !strings.Contains(said, object) {
			t.Errorf("%s is kept because of %q, want %s", tag, said, object)
		}
	}
	if said := keptBecause(t, s, images["first"]); !strings.Contains(said, "(Deployment/web) in default") {
		t.Errorf("the first is kept because of %q, want the Deployment to be named", said)
	}

	deleteReplicaSet(t, c, images["first"])
	waitGone(t, s, images["first"])
	for _, tag := range []string{"second", "night"} {
		if said := keptBecause(t, s, images[tag]); !strings.Contains(said, "cluster: ") {
			t.Errorf("after that %s is kept because of %q", tag, said)
		}
		ref, err := name.NewDigest(strings.TrimPrefix(s.url, "http://") + "/team/app@" + images[tag])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := remote.Image(ref, remote.WithContext(t.Context())); err != nil {
			t.Errorf("pulling %s: %v", tag, err)
		}
	}
}

const suspendedCronJob = `
apiVersion: batch/v1
kind: CronJob
metadata: {name: night, namespace: default}
spec:
  schedule: "0 3 * * *"
  suspend: true
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: main, image: %q}]
`

// documentedRules are those of the role in the documents.
func documentedRules(t *testing.T) []rbacv1.PolicyRule {
	t.Helper()
	text, err := os.ReadFile("../docs/spec/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	block, _, _ := strings.Cut(rest, "```")
	var role rbacv1.ClusterRole
	if err := yaml.NewYAMLOrJSONDecoder(strings.NewReader(block), 4096).Decode(&role); err != nil {
		t.Fatal(err)
	}
	return role.Rules
}

// serveEager starts a server with the configuration in dir.
func serveEager(t *testing.T, dir, kubeconfig string) *server {
	t.Helper()
	return startServer(t, "--config", filepath.Join(dir, "dossier.yaml"), "--kubeconfig", kubeconfig)
}

// pushPlain pushes an image to a registry that asks for no account, and returns its digest.
func pushPlain(t *testing.T, reference string, image v1.Image) string {
	t.Helper()
	ref, err := name.NewTag(reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	d, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

// untag deletes a tag.
func untag(t *testing.T, reference string) {
	t.Helper()
	ref, err := name.NewTag(reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Delete(ref, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// keptBecause returns why a digest is kept, a line for each reason; "" when no repository holds it.
func keptBecause(t *testing.T, s *server, digest string) string {
	t.Helper()
	stdout, stderr, code := runDossier(t, "registry", "why", digest, "-o", "json", "--server", s.url)
	var kept struct {
		Repositories []struct {
			Reasons []struct{ Kind, Text string }
		}
	}
	if code != 0 {
		t.Fatalf("dossier registry why: exit code %d: %s", code, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &kept); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, in := range kept.Repositories {
		lines = append(lines, "held")
		for _, r := range in.Reasons {
			lines = append(lines, r.Kind+": "+r.Text)
		}
	}
	return strings.Join(lines, "\n")
}

func waitGone(t *testing.T, s *server, digest string) {
	t.Helper()
	kube.Wait(t, convergence, digest+" is collected", func(context.Context) error {
		if said := keptBecause(t, s, digest); said != "" {
			return fmt.Errorf("it is kept: %s", said)
		}
		return nil
	})
}

// deleteReplicaSet deletes the one whose template names a digest.
func deleteReplicaSet(t *testing.T, c *kube.Cluster, digest string) {
	t.Helper()
	sets := c.Client.AppsV1().ReplicaSets("default")
	list, err := sets.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	deleted := 0
	for _, r := range list.Items {
		if strings.HasSuffix(r.Spec.Template.Spec.Containers[0].Image, digest) {
			deleted++
			if err := sets.Delete(t.Context(), r.Name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if deleted != 1 {
		t.Fatalf("%d replica sets name %s, want 1", deleted, digest)
	}
}
