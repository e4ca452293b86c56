// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/heap"
	"dossier.dev/dossier/internal/server"
)

// serveOptions are the flags of serve.
type serveOptions struct {
	clusterFlags
	config    string      // path
	given     config.File // by flags
	upstreams []string
}

func (o *serveOptions) register(f *pflag.FlagSet) {
	o.registerScope(f)
	c := &o.given
	f.StringVar(&o.config, "config", "", "`file` with the configuration (YAML); flags go before what it says")
	f.StringVar(&c.Listen, "listen", server.DefaultListen, "`address` to listen on, HOST:PORT; port 0 is any that is free")
	f.StringVar(&c.Blobs, "blobs", "", "`URL` of a bucket for the registry's blobs, s3://BUCKET/PREFIX?endpoint=https://HOST")
	f.BoolVar(&c.Cluster.Off, "no-cluster", false, "follow no cluster: serve what is in the store")
	f.StringVar(&c.TLS.Cert, "tls-cert", "", "`file` with the server's certificate (PEM)")
	f.StringVar(&c.TLS.Key, "tls-key", "", "`file` with the key of the certificate (PEM)")
	f.StringVar(&c.TokenFile, "token-file", "", "`file` with tokens, one a line; every request must bring one of them")
	f.StringVar(&c.LogKey, "log-key", "", "`file` with the key that signs the transparency log; else log.key in the data directory")
	f.BoolVar(&c.Log.Access, "access-log", false, "log every request")
	f.StringVar(&c.Log.Format, "log-format", "text", "`form` of the log: text or json")
	f.BoolVar(&c.Registry.Off, "no-registry", false, "be no registry")
	f.StringVar(&c.Registry.Name, "registry-name", "", "`name` of the registry in references; else as before, at first its address")
	f.StringArrayVar(&o.upstreams, "upstream", nil, "registry `NAME[=URL]` to pull through (several may be given)")
	f.StringVar(&c.Registry.UpstreamCredentials, "upstream-auth", "", "`file` with accounts for those (docker's config.json)")
	f.BoolVar(&c.Registry.AnonymousPull, "anonymous-pull", false, "let everybody pull from the registry")
	f.StringVar(&c.Registry.Htpasswd, "htpasswd", "", "`file` of the users of the registry, as htpasswd -B writes it")
	f.StringVar(&c.Registry.Rules, "rules", "", "`file` of access rules of the registry")
	f.StringVar(&c.Registry.ServiceAccounts.Audience, "audience", "", "`name` that tokens of service accounts are made for which may log in to the registry")
	f.StringSliceVar(&c.Registry.Movable, "movable", nil, "`pattern` REPO:TAG of tags that may move although they look like versions")
	f.StringVar(&c.Registry.AuditKeep, "audit-keep", server.DefaultAuditKeep, "how `long` pulls and refusals are on record, such as 90d; 0: for ever")
}

func (p *program) serveCommand() *cobra.Command {
	var opt serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Follow the cluster and serve the answers over HTTP",
		Long: `Follow a cluster, keep what is known of its images up to date, and serve the
answers as JSON under /api/v1 (described at /api/v1/openapi.json), with /healthz,
/readyz and /metrics beside them. Other commands ask a server with --server URL.

It is also an OCI registry, under /v2/: push images to it as HOST:PORT/NAME:TAG. Tags
that look like versions or commits do not move once they are pushed. With --upstream
docker.io it pulls through, and keeps, what clients ask for as HOST:PORT/docker.io/NAME:TAG.

Beyond loopback a server needs --tls-cert, --tls-key and --token-file. Clients send a
token from DOSSIER_TOKEN; those of registries send one as the password.

A configuration file says the same and more; docs/spec/config.md describes it. The
environment goes before the file, and flags before both.`,
		Example: `  dossier serve
  dossier images --server http://127.0.0.1:8480
  dossier serve --listen 0.0.0.0:8480 --tls-cert tls.crt --tls-key tls.key --token-file tokens
  dossier serve --config dossier.yaml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.serve(cmd.Context(), cmd.Flags(), opt) },
	}
	opt.register(cmd.Flags())
	return cmd
}

// flagged puts the flags that were given over a configuration.
func (p *program) flagged(c *config.File, flags *pflag.FlagSet, opt serveOptions) {
	given := opt.given
	settings := map[string]func(){
		"data":          func() { c.Data = p.global.data },
		"database":      func() { c.Database = p.global.database },
		"offline":       func() { c.Offline = p.global.offline },
		"plain-http":    func() { c.PlainHTTP = p.global.plainHTTP },
		"registry-ca":   func() { c.RegistryCA = p.global.registryCA },
		"blobs":         func() { c.Blobs = given.Blobs },
		"listen":        func() { c.Listen = given.Listen },
		"tls-cert":      func() { c.TLS.Cert = given.TLS.Cert },
		"tls-key":       func() { c.TLS.Key = given.TLS.Key },
		"token-file":    func() { c.TokenFile = given.TokenFile },
		"log-key":       func() { c.LogKey = given.LogKey },
		"no-cluster":    func() { c.Cluster.Off = given.Cluster.Off },
		"kubeconfig":    func() { c.Cluster.Kubeconfig = opt.kubeconfig },
		"context":       func() { c.Cluster.Context = opt.context },
		"namespace":     func() { c.Cluster.Namespaces = opt.namespaces },
		"selector":      func() { c.Cluster.Selector = opt.selector },
		"access-log":    func() { c.Log.Access = given.Log.Access },
		"log-format":    func() { c.Log.Format = given.Log.Format },
		"no-registry":   func() { c.Registry.Off = given.Registry.Off },
		"registry-name": func() { c.Registry.Name = given.Registry.Name },
		"movable":       func() { c.Registry.Movable = given.Registry.Movable },
		"upstream":      func() { c.Registry.Upstreams = upstreamsOf(opt.upstreams) },

		"upstream-auth": func() { c.Registry.UpstreamCredentials = given.Registry.UpstreamCredentials },

		"anonymous-pull": func() { c.Registry.AnonymousPull = given.Registry.AnonymousPull },
		"htpasswd":       func() { c.Registry.Htpasswd = given.Registry.Htpasswd },
		"rules":          func() { c.Registry.Rules = given.Registry.Rules },
		"audience":       func() { c.Registry.ServiceAccounts.Audience = given.Registry.ServiceAccounts.Audience },
		"audit-keep":     func() { c.Registry.AuditKeep = given.Registry.AuditKeep },
	}
	flags.Visit(func(f *pflag.Flag) {
		if set, ok := settings[f.Name]; ok {
			set()
		}
	})
	if opt.all {
		c.Cluster.Namespaces = nil
	}
	if c.Data == "" {
		c.Data = p.global.data // where it lies by default
	}
}

// upstreamsOf reads flags NAME or NAME=URL.
func upstreamsOf(words []string) []config.Upstream {
	var list []config.Upstream
	for _, word := range words {
		name, url, _ := strings.Cut(word, "=")
		list = append(list, config.Upstream{Name: name, URL: url})
	}
	return list
}

// configured returns the configuration that file, environment and flags give.
func (p *program) configured(flags *pflag.FlagSet, opt serveOptions) (config.File, error) {
	var c config.File
	if opt.config != "" {
		var err error
		if c, err = config.Read(opt.config); err != nil {
			return c, usageError{err}
		}
	}
	c.Environ(p.env)
	p.flagged(&c, flags, opt)
	if c.Data == "" && c.Database == "" {
		return c, errNoData()
	}
	return c, opt.check(c.Cluster.Selector)
}

func (p *program) serve(ctx context.Context, flags *pflag.FlagSet, opt serveOptions) error {
	file, err := p.configured(flags, opt)
	if err != nil {
		return err
	}
	p.global.verbose++ // a server says what it does
	p.logger = p.newLogger()
	switch file.Log.Format {
	case "", "text":
	case "json":
		p.logger = slog.New(slog.NewJSONHandler(p.stderr, &slog.HandlerOptions{Level: p.logLevel()}))
	default:
		return usageError{dossier.Errorf(dossier.KindInvalid, "reading the configuration", "log.format", "want text or json")}
	}
	v := readVersion()
	c := server.ServeConfig{
		Config: p.trusting(p.engineConfig()), Listen: file.Listen, Blobs: file.Blobs, NoCluster: file.Cluster.Off,
		Cluster: server.ClusterOptions{
			Kubeconfig: file.Cluster.Kubeconfig, Context: file.Cluster.Context, Namespaces: file.Cluster.Namespaces, Selector: file.Cluster.Selector,
		},
		TLSCert: file.TLS.Cert, TLSKey: file.TLS.Key, TokenFile: file.TokenFile, LogKey: file.LogKey, SealKey: file.SealKey, Witness: file.Witness, Witnesses: file.Witnesses, Registry: file.Registry, Advisories: file.Advisories,
		Notifications: file.Notifications, Triage: file.Triage,
		AccessLog: file.Log.Access, Traces: file.Traces,
		Build: server.Build{Version: v.Version, Revision: v.Revision},
	}
	c.Data, c.Database, c.Offline, c.PlainHTTP, c.RegistryCA = file.Data, file.Database, file.Offline, file.PlainHTTP, file.RegistryCA
	c.CheckpointPages = file.CheckpointPages
	c.Revive = false // a server asks again and again
	if err := c.Validate(); err != nil {
		return usageError{err}
	}
	scheme := "http"
	if c.TLSCert != "" {
		scheme = "https"
	}
	heap.Fix(heap.Lean)
	return server.Serve(ctx, c, func(addr net.Addr) {
		fmt.Fprintf(p.stderr, "listening on %s://%s\n", scheme, addr)
	})
}
