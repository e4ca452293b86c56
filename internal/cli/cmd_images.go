// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/cluster"
	"dossier.dev/dossier/internal/render"
	"dossier.dev/dossier/internal/server"
)

// imagesOptions are the flags of images.
type imagesOptions struct {
	outputFlags
	clusterFlags
	at     atFlag
	sort   string
	filter string
	watch  bool
	layers bool
}

// clusterFlags say which images are meant, as kubectl's do.
type clusterFlags struct {
	files      []string
	namespaces []string
	all        bool
	selector   string
	kubeconfig string
	context    string
}

func (c *clusterFlags) register(f *pflag.FlagSet) {
	f.StringSliceVarP(&c.files, "filename", "f", nil, "`file` or directory of manifests, or the output of kubectl get -o json; - is standard input")
	c.registerScope(f)
}

// registerScope registers those that mean a live cluster.
func (c *clusterFlags) registerScope(f *pflag.FlagSet) {
	f.StringSliceVarP(&c.namespaces, "namespace", "n", nil, "only this `namespace` (several may be given)")
	f.BoolVarP(&c.all, "all-namespaces", "A", false, "all namespaces, which is the default")
	f.StringVarP(&c.selector, "selector", "l", "", "only pods whose `labels` match, such as app=web,tier!=db")
	f.StringVar(&c.kubeconfig, "kubeconfig", "", "`file` to reach the cluster with")
	f.StringVar(&c.context, "context", "", "`name` of the kubeconfig context to use")
}

// check returns what is wrong with the flags, and with a selector of pods.
func (c *clusterFlags) check(selector string) error {
	if c.all && len(c.namespaces) > 0 {
		return usageError{errors.New("--all-namespaces and --namespace exclude each other")}
	}
	if _, err := cluster.ParseSelector(selector); err != nil {
		return usageError{err}
	}
	return nil
}

// checkWith returns what is wrong with the flags beside references, or beside a server.
func (c *clusterFlags) checkWith(refs []string, server string) error {
	switch {
	case len(refs) > 0 && len(c.files) > 0:
		return usageError{errors.New("name either files or images")}
	case len(refs) > 0 && (c.all || len(c.namespaces) > 0 || c.selector != ""):
		return usageError{errors.New("--namespace, --all-namespaces and --selector choose pods of a cluster: they do not go with names of images")}
	case server != "" && len(refs) == 0 && len(c.files) == 0 && (c.context != "" || c.kubeconfig != ""):
		return usageError{errors.New("--context and --kubeconfig do not go with --server: the server follows a cluster of its own")}
	}
	return nil
}

func (c *clusterFlags) cluster() server.ClusterOptions {
	return server.ClusterOptions{Kubeconfig: c.kubeconfig, Context: c.context, Namespaces: c.namespaces, Selector: c.selector}
}

func (p *program) imagesCommand() *cobra.Command {
	var opt imagesOptions
	cmd := &cobra.Command{
		Use:   "images [IMAGE...]",
		Short: "Every image in the cluster with its five answers",
		Long: `List every image that runs in a Kubernetes cluster, or that the given manifests or
references name, with the five answers about each.

Marks: ✓ ok, ! look here, ✗ bad, ? not known.`,
		Example: `  dossier images -A
  kubectl get pods -A -o json | dossier images -f -
  dossier images -n prod --filter currency=warn --sort pods
  dossier images nginx:1.27 oci:./layout`,
		RunE: func(cmd *cobra.Command, args []string) error { return p.images(cmd.Context(), opt, args) },
	}
	f := cmd.Flags()
	opt.outputFlags.register(f)
	opt.clusterFlags.register(f)
	opt.at.register(f)
	f.StringVar(&opt.sort, "sort", "image", "order by `key`: image, digest, pods, or a question (worst first)")
	f.StringVar(&opt.filter, "filter", "", "only images that match `conditions` such as currency=warn,namespace=prod,image~nginx")
	f.BoolVarP(&opt.watch, "watch", "w", false, "after the list, follow changes until interrupted")
	f.BoolVar(&opt.layers, "layers", false, "read layers too, to see what the images hold")
	return cmd
}

func (p *program) images(ctx context.Context, opt imagesOptions, refs []string) error {
	if err := errors.Join(opt.outputFlags.check(), opt.clusterFlags.check(opt.selector), opt.checkWith(refs, p.global.server)); err != nil {
		return err
	}
	filters, err := render.ParseFilters(opt.filter)
	if err != nil {
		return usageError{err}
	}
	if err := render.Sort(nil, opt.sort); err != nil {
		return usageError{err}
	}
	at, err := opt.at.times()
	if err != nil {
		return err
	}
	local := len(opt.files) > 0 || len(refs) > 0
	if opt.watch && (local || !isZero(at)) {
		return usageError{errors.New("--watch follows a cluster as it is now: it goes neither with files and references nor with a past time")}
	}
	q := dossier.ImagesQuery{Namespaces: opt.namespaces, Selector: opt.selector, At: at}
	show := func(list dossier.ImageList) error {
		list.Images = render.Select(list.Images, filters)
		if err := render.Sort(list.Images, opt.sort); err != nil {
			return err
		}
		if !opt.data() {
			for _, n := range list.Notes {
				p.note("%s", render.Clean(n))
			}
		}
		return opt.write(p, list, func(o render.Options) error { return p.imageTable(list, o) })
	}
	remote, err := p.remote()
	if err != nil {
		return err
	}
	if remote != nil && !local {
		return p.list(ctx, remote, q, opt, show)
	}
	if remote != nil {
		p.note("files and references are read in this process; the server is not asked")
	}
	engine, err := p.engineOfCluster(ctx)
	if err != nil {
		return err
	}
	defer engine.Close()
	return p.imagesHere(ctx, engine, q, opt, refs, show)
}

func (p *program) imageTable(list dossier.ImageList, o render.Options) error {
	if len(list.Images) == 0 {
		fmt.Fprintln(p.stderr, "no images found")
		return nil
	}
	return render.Images(p.stdout, list, o)
}

func isZero(at dossier.Times) bool { return at.Valid.IsZero() && at.Recorded.IsZero() }

// list prints what an Answerer knows, and follows it when asked to.
func (p *program) list(ctx context.Context, a Answerer, q dossier.ImagesQuery, opt imagesOptions, show func(dossier.ImageList) error) error {
	if opt.watch {
		return p.watch(ctx, a, q, opt)
	}
	list, err := a.Images(ctx, q)
	if err != nil {
		return err
	}
	return show(list)
}

// imagesHere collects in this process, then lists.
func (p *program) imagesHere(ctx context.Context, e *server.Engine, q dossier.ImagesQuery, opt imagesOptions, refs []string, show func(dossier.ImageList) error) error {
	m := p.meter()
	defer m.clear()
	collect := server.CollectOptions{Layers: opt.layers, Report: func(done, total int) { m.report("reading images", done, total) }}
	switch {
	case len(refs) > 0:
		list, err := e.ImagesOf(ctx, refs, q.At, collect)
		m.clear()
		return errors.Join(err, show(list))
	case len(opt.files) > 0:
		collected, err := e.CollectFiles(ctx, opt.files, opt.cluster().Scope(), interruptible(ctx, p.stdin), collect)
		m.clear()
		if err != nil {
			return err
		}
		q.Clusters, q.Namespaces = []string{collected.Cluster.ID}, collected.Namespaces
		return errors.Join(p.list(ctx, e, q, opt, show), collected.Problem())
	case opt.watch:
		return p.follow(ctx, e, q, opt)
	case isZero(q.At) && !p.global.offline:
		collected, err := e.CollectCluster(ctx, opt.cluster(), collect)
		m.clear()
		if err != nil {
			return err
		}
		q.Clusters, q.Namespaces = []string{collected.Cluster.ID}, collected.Namespaces
		for _, problem := range collected.Problems {
			p.note("%s", render.Clean(problem.Error()))
		}
	case opt.context != "":
		clusters, err := e.ClustersNamed(ctx, opt.context)
		if err != nil {
			return err
		}
		q.Clusters = clusters
	}
	return p.list(ctx, e, q, opt, show)
}

// follow watches the cluster in this process while it prints.
func (p *program) follow(ctx context.Context, e *server.Engine, q dossier.ImagesQuery, opt imagesOptions) error {
	watching, err := e.Follow(ctx, opt.cluster())
	if err != nil {
		return err
	}
	q.Clusters, q.Namespaces = []string{watching.Cluster.ID}, watching.Namespaces
	ctx, cancel := context.WithCancel(ctx)
	failed := make(chan error, 1)
	go func() {
		failed <- watching.Run(ctx)
		cancel()
	}()
	err = p.watch(ctx, e, q, opt)
	cancel()
	return errors.Join(err, <-failed)
}

// watch prints the list as it is, then every image that changes.
func (p *program) watch(ctx context.Context, a Answerer, q dossier.ImagesQuery, opt imagesOptions) error {
	filters, err := render.ParseFilters(opt.filter)
	if err != nil {
		return err
	}
	var first []dossier.Dossier
	synced := false
	for change, err := range a.Watch(ctx, q) {
		if err != nil {
			return err
		}
		switch {
		case change.Type == dossier.ChangeSynced:
			synced = true
			if err := render.Sort(first, opt.sort); err != nil {
				return err
			}
			if err := p.printChanges(first, opt); err != nil {
				return err
			}
			opt.noHeaders = true
		case !synced:
			first = append(first, render.Select([]dossier.Dossier{*change.Image}, filters)...)
		default:
			if err := p.printChanges(render.Select([]dossier.Dossier{*change.Image}, filters), opt); err != nil {
				return err
			}
		}
	}
	return nil
}

// printChanges prints rows, or one JSON or YAML document an image.
func (p *program) printChanges(images []dossier.Dossier, opt imagesOptions) error {
	if !opt.data() {
		if len(images) == 0 && opt.noHeaders {
			return nil
		}
		return render.Images(p.stdout, dossier.ImageList{Images: slices.Clone(images)}, opt.options(p))
	}
	for _, d := range images {
		if opt.format == "yaml" {
			fmt.Fprintln(p.stdout, "---")
		}
		if err := opt.write(p, d, nil); err != nil {
			return err
		}
	}
	return nil
}
