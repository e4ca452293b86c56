// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/cluster"
	"dossier.dev/dossier/internal/demo"
	"dossier.dev/dossier/internal/feed"
	"dossier.dev/dossier/internal/render"
	"dossier.dev/dossier/internal/server"
)

func (p *program) demoCommand() *cobra.Command {
	var out outputFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "The whole product on sample images, built on the spot; nothing needed",
		Long: `Build a handful of images, push them to a registry in this process, take sample
manifests as the cluster, and list what runs there. It needs no network, no
cluster and no settings. What it finds is kept in the directory demo of --data,
so that other commands can be tried on it.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.demo(cmd.Context(), out) },
	}
	out.register(cmd.Flags())
	return cmd
}

// demoManifests is the name of the sample manifests within the demo's directory.
const demoManifests = "cluster.json"

// demoFeeds is the name of the directory of sample advisories within it.
const demoFeeds = "advisories"

func (p *program) demo(ctx context.Context, out outputFlags) error {
	if err := out.check(); err != nil {
		return err
	}
	if p.global.data == "" {
		return errNoData()
	}
	dir, err := p.demoDir()
	if err != nil {
		return err
	}
	self, err := ownProgram()
	if err != nil {
		return err
	}
	world, err := demo.New(ctx, self, time.Now())
	if err != nil {
		return err
	}
	list, err := p.demoImages(ctx, world, dir)
	if err = errors.Join(err, world.Close()); err != nil {
		return err
	}
	if err := render.Sort(list.Images, "image"); err != nil {
		return err
	}
	if err := out.write(p, list, func(o render.Options) error { return render.Images(p.stdout, list, o) }); err != nil {
		return err
	}
	if out.data() {
		return nil
	}
	fmt.Fprintf(p.stderr, `
These are sample images, which this program built and read just now. Try next:

  # five answers about one image, with their evidence
  %[1]s show --offline --data %[2]s %[3]s/shop/web:1.4.2

  # a tag that moved, and when
  %[1]s show --offline --data %[2]s %[3]s/shop/worker:stable
  %[1]s history --offline --data %[2]s %[3]s/shop/worker:stable

  # a vulnerability, why it is one, and what runs it: by three sample advisories
  %[1]s vulns --offline --data %[2]s %[3]s/vendor/nginx:1.27 --explain CVE-2024-2961
  %[1]s where --data %[2]s CVE-2024-2961

  # who runs what was built from a repository
  %[1]s where --data %[2]s git.demo/shop/web

  # your own cluster, by your kubeconfig
  %[1]s images
`, p.calledAs(), shellWord(dir), demo.Registry)
	return nil
}

// calledAs is how to call this program again.
func (p *program) calledAs() string {
	if strings.Contains(p.name, "/go-build") {
		return "go run ./cmd/dossier" // the program of go run is gone when it ends
	}
	return shellWord(p.name)
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:=@%+,-]+$`)

// shellWord quotes s where a shell would take it apart.
func shellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// demoDir empties the directory of the demo. Only its own files are removed.
func (p *program) demoDir() (string, error) {
	dir := filepath.Join(p.global.data, "demo")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", &dossier.Error{Kind: dossier.KindStorage, Op: "making directory", Subject: dir, Err: err, Hint: "choose a directory you may write to with --data"}
	}
	own := []string{demoManifests}
	for _, database := range []string{server.DatabaseFile, server.AdvisoryFile} {
		own = append(own, database, database+"-wal", database+"-shm")
	}
	for _, name := range own {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", &dossier.Error{Kind: dossier.KindStorage, Op: "removing the last demo", Subject: dir, Err: err}
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, demoFeeds)); err != nil {
		return "", &dossier.Error{Kind: dossier.KindStorage, Op: "removing the last demo", Subject: dir, Err: err}
	}
	return dir, nil
}

// ownProgram returns this program's bytes: a Go program that is at hand everywhere.
func ownProgram() ([]byte, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInternal, Op: "finding this program", Err: err}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInternal, Op: "reading this program", Subject: path, Err: err}
	}
	return b, nil
}

// demoImages reads the world as it was a week ago, lets the week pass, and reads
// it again.
func (p *program) demoImages(ctx context.Context, world *demo.World, dir string) (dossier.ImageList, error) {
	manifests := filepath.Join(dir, demoManifests)
	if err := p.demoAdvisories(ctx, dir); err != nil {
		return dossier.ImageList{}, err
	}
	if err := p.demoCollect(ctx, world, manifests, world.Began, nil); err != nil {
		return dossier.ImageList{}, err
	}
	if err := world.Advance(ctx); err != nil {
		return dossier.ImageList{}, err
	}
	var list dossier.ImageList
	err := p.demoCollect(ctx, world, manifests, time.Now, func(e *server.Engine, c server.Collected) (err error) {
		list, err = e.Images(ctx, dossier.ImagesQuery{Clusters: []string{c.Cluster.ID}})
		return err
	})
	return list, err
}

// demoAdvisories imports the sample advisories.
func (p *program) demoAdvisories(ctx context.Context, dir string) (err error) {
	paths, err := demo.WriteAdvisories(filepath.Join(dir, demoFeeds))
	if err != nil {
		return err
	}
	config := p.engineConfig()
	config.Data, config.Database = dir, ""
	feeds, err := server.OpenFeeds(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, feeds.Close()) }()
	for _, path := range paths {
		if err := feeds.Import(ctx, path, func(feed.Report) error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

// demoCollect reads the cluster and its images at a time, as images -f does.
func (p *program) demoCollect(ctx context.Context, world *demo.World, manifests string, now func() time.Time, then func(*server.Engine, server.Collected) error) (err error) {
	b, err := world.Manifests()
	if err != nil {
		return err
	}
	if err := os.WriteFile(manifests, b, 0o600); err != nil {
		return &dossier.Error{Kind: dossier.KindStorage, Op: "writing", Subject: manifests, Err: err}
	}
	config := p.engineConfig()
	config.Data, config.Database, config.Offline = filepath.Dir(manifests), "", false
	config.Dial, config.PlainHTTP, config.Now = world.Dial, []string{demo.Registry}, now
	engine, err := server.Open(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	collected, err := engine.CollectFiles(ctx, []string{manifests}, cluster.Scope{}, nil, server.CollectOptions{Layers: true})
	if err != nil {
		return err
	}
	if then == nil {
		return collected.Problem()
	}
	return errors.Join(then(engine, collected), collected.Problem())
}
