// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/server"
)

// registryFlags are the flags of commands that work on the registry in a store,
// whether or not servers run on it.
type registryFlags struct {
	config  string
	name    string
	movable []string
	blobs   string
}

func (o *registryFlags) register(f *pflag.FlagSet) {
	f.StringVar(&o.config, "config", "", "`file` with the configuration of the server; flags go before what it says")
	f.StringVar(&o.blobs, "blobs", "", "`URL` of a bucket for the registry's blobs, s3://BUCKET/PREFIX?endpoint=https://HOST")
	f.StringVar(&o.name, "registry-name", "", "`name` of the registry in references, when it has none yet")
	f.StringSliceVar(&o.movable, "movable", nil, "`pattern` REPO:TAG of tags that may move although they look like versions")
}

// localRegistry calls f with the registry in the store.
func (p *program) localRegistry(cmd *cobra.Command, opt registryFlags, f func(*server.LocalRegistry) error) (err error) {
	var file config.File
	if opt.config != "" {
		if file, err = config.Read(opt.config); err != nil {
			return usageError{err}
		}
	}
	file.Environ(p.env)
	c, flags := p.engineConfig(), cmd.Flags()
	if !flags.Changed("data") {
		c.Data = cmp.Or(file.Data, c.Data)
	}
	if !flags.Changed("database") {
		c.Database = cmp.Or(file.Database, c.Database)
	}
	if flags.Changed("blobs") {
		file.Blobs = opt.blobs
	}
	if flags.Changed("registry-name") {
		file.Registry.Name = opt.name
	}
	if flags.Changed("movable") {
		file.Registry.Movable = opt.movable
	}
	if c.Data == "" && c.Database == "" {
		return errNoData()
	}
	engine, err := server.Open(cmd.Context(), c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	r, err := engine.LocalRegistry(cmd.Context(), file, "dossier "+readVersion().Version)
	if err != nil {
		return err
	}
	return errors.Join(f(r), r.Close())
}
