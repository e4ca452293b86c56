// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"dossier.dev/dossier/bench/fleet"
	"dossier.dev/dossier/bench/layout"
	"dossier.dev/dossier/bench/load"
	"dossier.dev/dossier/bench/measure"
	"dossier.dev/dossier/e2e/kube"
)

// size is how large the cluster is.
type size struct{ images, perImage int }

func (s size) String() string {
	return fmt.Sprintf("%d pods, %d images", s.images*s.perImage, s.images)
}

// lab has what the figures are measured with. Each thing is made when it is
// first asked for, and lasts until the end.
type lab struct {
	root    string // of the repository
	results string
	log     io.Writer
	size    size
	short   bool // try the program out rather than the machine
	stage   *stage
	dir     string // for files

	program  string
	images   *fleet.Images
	registry *registry
	cluster  *kube.Cluster
	filled   string // data directory of a finished first list
	bases    map[int][]layout.Layer
}

func (l *lab) say(format string, args ...any) { fmt.Fprintf(l.log, format+"\n", args...) }

// commit names what is measured.
func (l *lab) commit() string {
	git := func(args ...string) string {
		out, err := exec.Command("git", append([]string{"-C", l.root}, args...)...).Output()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	}
	commit := git("rev-parse", "--short", "HEAD")
	switch {
	case commit == "":
		return "an unknown commit"
	case git("status", "--porcelain", "--untracked-files=no", "--", "*.go", "go.mod") != "":
		return commit + " and changes"
	}
	return commit
}

// needProgram builds dossier as a release is built.
func (l *lab) needProgram(ctx context.Context) (string, error) {
	if l.program != "" {
		return l.program, nil
	}
	l.say("building dossier")
	path := filepath.Join(l.dir, "dossier")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "./cmd/dossier")
	cmd.Dir = l.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building dossier: %w\n%s", err, out)
	}
	l.program = path
	return path, nil
}

// dossier is a run of the program in an environment that holds nothing of the user's.
func (l *lab) dossier(args ...string) measure.Command {
	return measure.Command{Path: l.program, Args: args, Env: l.env(), Stdout: io.Discard}
}

func (l *lab) env() []string { return []string{"HOME=" + l.dir, "PATH=" + os.Getenv("PATH")} }

// needImages makes the images.
func (l *lab) needImages() (*fleet.Images, error) {
	if l.images != nil {
		return l.images, nil
	}
	images, err := fleet.NewImages(l.size.images)
	if err != nil {
		return nil, err
	}
	l.images = images
	return images, nil
}

// needRegistry starts the registry.
func (l *lab) needRegistry(ctx context.Context) (*registry, error) {
	if l.registry != nil {
		return l.registry, nil
	}
	r, err := startRegistry(ctx, l.size.images, registryDelay)
	if err != nil {
		return nil, err
	}
	l.stage.Cleanup(r.close)
	l.registry = r
	return r, nil
}

// needCluster starts a control plane and fills it with pods of the images. There
// are no controllers: what the pods are stays as it was written.
func (l *lab) needCluster(ctx context.Context) (*kube.Cluster, error) {
	if l.cluster != nil {
		return l.cluster, nil
	}
	images, err := l.needImages()
	if err != nil {
		return nil, err
	}
	registry, err := l.needRegistry(ctx)
	if err != nil {
		return nil, err
	}
	l.toHarness()
	c := kube.Start(l.stage, kube.Options{NoControllerManager: true, NoScheduler: true})
	begin := time.Now()
	l.say("filling the cluster: %v", l.size)
	for i := range fleet.Nodes {
		name, architecture := fleet.NodeName(i)
		c.AddFakeNode(l.stage, name, architecture)
	}
	client, err := writeClient(c)
	if err != nil {
		return nil, err
	}
	if err := fleet.Fill(ctx, client, images, registry.host, l.size.perImage); err != nil {
		return nil, fmt.Errorf("filling the cluster: %w", err)
	}
	l.say("filled after %s", load.Short(time.Since(begin)))
	l.cluster = c
	return c, nil
}

// toHarness goes where the harness builds its programs.
func (l *lab) toHarness() { l.stage.Chdir(filepath.Join(l.root, "e2e")) }

// writeClient is a client that is not held back, and writes in the cheaper form.
func writeClient(c *kube.Cluster) (kubernetes.Interface, error) {
	config := rest.CopyConfig(c.Config)
	config.QPS = -1
	config.ContentType = "application/vnd.kubernetes.protobuf"
	return kubernetes.NewForConfig(config)
}

// needFilled returns the data directory of a finished first list.
func (l *lab) needFilled(ctx context.Context) (string, error) {
	if l.filled != "" {
		return l.filled, nil
	}
	if _, err := l.needProgram(ctx); err != nil {
		return "", err
	}
	c, err := l.needCluster(ctx)
	if err != nil {
		return "", err
	}
	l.say("reading the images for the first time")
	data := filepath.Join(l.dir, "filled")
	if _, err := measure.Run(ctx, l.listing(c, data)); err != nil {
		return "", err
	}
	l.filled = data
	return data, nil
}

// listing is the command that lists all images.
func (l *lab) listing(c *kube.Cluster, data string) measure.Command {
	return l.dossier("images", "-A", "--kubeconfig", c.Kubeconfig, "--data", data)
}

// held says how a person can use what is there.
func (l *lab) held() string {
	if l.cluster == nil || l.filled == "" {
		return "nothing that has a cluster was measured"
	}
	c := l.listing(l.cluster, l.filled)
	return c.Path + " " + strings.Join(c.Args, " ")
}

// databaseSize returns the bytes of the embedded database with its log.
func databaseSize(data string) (int64, error) {
	var sum int64
	entries, err := os.ReadDir(data)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return 0, err
		}
		sum += info.Size()
	}
	return sum, nil
}
