// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dossier.dev/dossier/e2e/kube"
)

// nowhere is a registry that refuses connections: what Dossier says of its images it can know from the cluster only.
const nowhere = "127.0.0.1:9"

// dossierBinary returns the path of the program under test: $DOSSIER_BINARY, such as one of a release, else one that is
// built from the parent directory once for all tests.
func dossierBinary(t *testing.T) string {
	t.Helper()
	path, err := builtDossier()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var builtDossier = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("DOSSIER_BINARY"); path != "" {
		return filepath.Abs(path)
	}
	cache, err := kube.CacheDir()
	if err != nil {
		return "", err
	}
	parent, err := filepath.Abs("..")
	if err != nil {
		return "", err
	}
	// Each checkout has its own file, so that two of them can be tested at a time.
	path := filepath.Join(cache, fmt.Sprintf("checkout-%x", sha256.Sum256([]byte(parent)))[:len("checkout-")+12], "dossier")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", path, "./cmd/dossier")
	cmd.Dir = parent
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/dossier: %w\n%s", err, out)
	}
	return path, nil
})

// list is what `dossier images -o json` prints.
type list struct {
	AsOf     time.Time
	Clusters []struct{ ID, Name string }
	Images   []image
}

type image struct {
	Digest    *string
	MediaType string
	Platforms []struct {
		Platform, Manifest, Config string
		Pods                       int
	}
	Requested  []string
	References []string
	Running    []struct {
		Cluster, Namespace, Kind, Name, Container, ContainerType string
		Pods                                                     int
	}
	Answers map[string]struct{ Status, Grade, Summary string }
}

// rows says what runs, one sorted line for each container of a workload. What only a template names has no row.
func (l list) rows() []string {
	var rows []string
	for _, i := range l.Images {
		digest := "unknown"
		if i.Digest != nil {
			digest = *i.Digest
		}
		for _, r := range i.Running {
			if r.Pods > 0 {
				rows = append(rows, row(r.Namespace, r.Kind+"/"+r.Name, r.ContainerType, r.Container, digest, r.Pods))
			}
		}
	}
	slices.Sort(rows)
	return rows
}

func row(namespace, workload, containerType, container, digest string, pods int) string {
	return fmt.Sprintf("%s %s %s %s %s %d", namespace, workload, containerType, container, digest, pods)
}

// digestOf is the digest that package kube gives to an image that has none.
func digestOf(image string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(image))) }

// differ returns an error that shows how got differs from want, or nil.
func differ(got, want []string) error {
	slices.Sort(want)
	if slices.Equal(got, want) {
		return nil
	}
	var b strings.Builder
	b.WriteString("rows differ (- want, + got):")
	for _, w := range want {
		if !slices.Contains(got, w) {
			b.WriteString("\n- " + w)
		}
	}
	for _, g := range got {
		if !slices.Contains(want, g) {
			b.WriteString("\n+ " + g)
		}
	}
	if len(got) != len(want) {
		fmt.Fprintf(&b, "\n%d rows, want %d", len(got), len(want))
	}
	return errors.New(b.String())
}

// checkAnswers checks that every image has its five answers.
func checkAnswers(t *testing.T, l list) {
	t.Helper()
	for _, i := range l.Images {
		for _, question := range []string{"what", "origin", "rebuild", "vulnerabilities", "currency"} {
			if a := i.Answers[question]; a.Status == "" || a.Summary == "" {
				t.Errorf("%v: answer to %q is %+v", i.Requested, question, a)
			}
		}
	}
}

// command returns dossier with an environment that holds nothing of the machine's user.
func command(t *testing.T, ctx context.Context, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(ctx, dossierBinary(t), args...)
	cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// runDossier runs dossier to its end and returns what it printed and its exit code.
func runDossier(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := command(t, ctx, args...)
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("dossier %s: %v", strings.Join(args, " "), err)
	}
	return out.String(), words.String(), cmd.ProcessState.ExitCode()
}

// listImages runs `dossier images -o json` with some more arguments. Failing ends the test.
func listImages(t *testing.T, args ...string) list {
	t.Helper()
	stdout, stderr, code := runDossier(t, append([]string{"images", "-o", "json"}, args...)...)
	if code != 0 {
		t.Fatalf("dossier images %s: exit code %d: %s", strings.Join(args, " "), code, stderr)
	}
	var l list
	if err := json.Unmarshal([]byte(stdout), &l); err != nil {
		t.Fatalf("dossier images %s: %v in\n%s", strings.Join(args, " "), err, stdout)
	}
	return l
}
