// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"net"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dossier.dev/dossier/internal/server"
)

// serveOptions are the flags of serve.
type serveOptions struct {
	clusterFlags
	listen    string
	noCluster bool
	tlsCert   string
	tlsKey    string
	tokenFile string

	noRegistry   bool
	registryName string
	movable      []string
}

func (o *serveOptions) register(f *pflag.FlagSet) {
	o.registerScope(f)
	f.StringVar(&o.listen, "listen", server.DefaultListen, "`address` to listen on, HOST:PORT; port 0 is any that is free")
	f.BoolVar(&o.noCluster, "no-cluster", false, "follow no cluster: serve what is in the store")
	f.StringVar(&o.tlsCert, "tls-cert", "", "`file` with the server's certificate (PEM)")
	f.StringVar(&o.tlsKey, "tls-key", "", "`file` with the key of the certificate (PEM)")
	f.StringVar(&o.tokenFile, "token-file", "", "`file` with tokens, one a line; every request must bring one of them")
	f.BoolVar(&o.noRegistry, "no-registry", false, "be no registry")
	f.StringVar(&o.registryName, "registry-name", "", "`name` of the registry in references; else as before, at first its address")
	f.StringSliceVar(&o.movable, "movable", nil, "`pattern` REPO:TAG of tags that may move although they look like versions")
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
that look like versions or commits do not move once they are pushed.

Beyond loopback a server needs --tls-cert, --tls-key and --token-file. Clients send a
token from DOSSIER_TOKEN; those of registries send one as the password.`,
		Example: `  dossier serve
  dossier images --server http://127.0.0.1:8480
  dossier serve --listen 0.0.0.0:8480 --tls-cert tls.crt --tls-key tls.key --token-file tokens`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.serve(cmd.Context(), opt) },
	}
	opt.register(cmd.Flags())
	return cmd
}

func (p *program) serve(ctx context.Context, opt serveOptions) error {
	if err := opt.clusterFlags.check(); err != nil {
		return err
	}
	if err := p.checkStore(); err != nil {
		return err
	}
	p.global.verbose++ // a server says what it does
	p.logger = p.newLogger()
	v := readVersion()
	config := server.ServeConfig{
		Config: p.engineConfig(), Listen: opt.listen, Cluster: opt.cluster(), NoCluster: opt.noCluster,
		TLSCert: opt.tlsCert, TLSKey: opt.tlsKey, TokenFile: opt.tokenFile,
		NoRegistry: opt.noRegistry, RegistryName: opt.registryName, Movable: opt.movable,
		Build: server.Build{Version: v.Version, Revision: v.Revision},
	}
	config.Revive = false // a server asks again and again
	if err := config.Validate(); err != nil {
		return usageError{err}
	}
	scheme := "http"
	if opt.tlsCert != "" {
		scheme = "https"
	}
	return server.Serve(ctx, config, func(addr net.Addr) {
		fmt.Fprintf(p.stderr, "listening on %s://%s\n", scheme, addr)
	})
}
