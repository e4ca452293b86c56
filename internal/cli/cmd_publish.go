// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"dossier.dev/dossier"
	"dossier.dev/dossier/client"
	"dossier.dev/dossier/internal/tuf"
)

// publishFlags are the flags of tuf publish.
type publishFlags struct {
	dirFlag
	role, key string
	length    int64
	remove    []string
	dryRun    bool
}

func (p *program) tufPublish() *cobra.Command {
	var f publishFlags
	cmd := &cobra.Command{
		Use:   "publish [REPOSITORY:TAG@DIGEST...]",
		Short: "Sign what tags mean, and publish all that is signed",
		Long: `Say in a role's file that each REPOSITORY:TAG means DIGEST, sign it with --key, and
publish all that enough owners have signed, root too. The server checks it and takes
all of it or nothing; it refuses a version that goes back. Without arguments it
publishes what is there.

The length of a manifest is read from the server, or given with --length. With
--dry-run nothing is published: for a machine without a network, whose directory is
carried to another.`,
		Example: `  dossier tuf publish --server https://registry.example
  dossier tuf publish team/web/app:1.4@sha256:4f5d2c... --role release --key ci.key
  dossier tuf publish --remove team/web/app:1.3 --role release --key ci.key`,
		RunE: func(cmd *cobra.Command, args []string) error { return p.publish(cmd.Context(), f, args) },
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.role, "role", tuf.Targets, "`role` that speaks for the repositories")
	flags.StringVar(&f.key, "key", "", "`file` with a private key of the role")
	flags.Int64Var(&f.length, "length", 0, "`bytes` of the manifest")
	flags.StringSliceVar(&f.remove, "remove", nil, "`REPOSITORY:TAG` that means nothing any more; may be given again")
	flags.BoolVar(&f.dryRun, "dry-run", false, "sign, and publish nothing")
	return cmd
}

func (p *program) publish(ctx context.Context, f publishFlags, args []string) error {
	c := f.ceremony()
	prefix, err := c.Prefix()
	if err != nil {
		return err
	}
	if len(args)+len(f.remove) > 0 {
		if err := p.editTargets(ctx, c, prefix, f, args); err != nil {
			return err
		}
	}
	if f.dryRun {
		return p.showCeremony(c, outputFlags{format: "table"})
	}
	publication, missing, err := c.Publication()
	if err != nil {
		return err
	}
	for _, s := range missing {
		p.note("left out, because too few have signed: version %d of %s", s.Version, s.Role)
	}
	server, err := p.tufServer("publishing metadata", withoutPublishing)
	if err != nil {
		return err
	}
	if err := server.PublishTUF(ctx, prefix, publication); err != nil {
		return err
	}
	roles := len(publication.Roles)
	_, err = fmt.Fprintf(p.stdout, "%s: published, with %d versions of root and %d roles\n", prefix, len(publication.Roots), roles)
	return err
}

// editTargets writes and signs what tags mean.
func (p *program) editTargets(ctx context.Context, c tuf.Ceremony, prefix string, f publishFlags, args []string) error {
	if f.key == "" {
		return usageError{&dossier.Error{Kind: dossier.KindInvalid, Op: "reading flag", Subject: "--key", Err: errors.New("nothing says who signs"), Hint: "give a private key of the role " + f.role}}
	}
	s, err := p.ownerKey(f.key)
	if err != nil {
		return err
	}
	for _, arg := range args {
		target, d, err := parseTarget(prefix, arg)
		if err != nil {
			return err
		}
		length := f.length
		if length == 0 {
			if length, err = p.manifestLength(ctx, prefix, target, d); err != nil {
				return err
			}
		}
		if err := c.AddTarget(f.role, target, d, length); err != nil {
			return err
		}
	}
	for _, target := range f.remove {
		if err := c.RemoveTarget(f.role, target); err != nil {
			return err
		}
	}
	_, err = c.Sign(f.role, s)
	return err
}

// parseTarget reads REPOSITORY:TAG@DIGEST, with or without the registry before it.
func parseTarget(prefix, arg string) (string, dossier.Digest, error) {
	name, digest, ok := strings.Cut(arg, "@")
	if ok {
		if d, err := dossier.ParseDigest(digest); err == nil {
			if _, rest, has := strings.Cut(name, "/"); has && !strings.HasPrefix(name, prefix) && strings.HasPrefix(rest, prefix) {
				name = rest
			}
			if _, _, err := tuf.ParseTarget(name); err != nil {
				return "", "", usageError{err}
			}
			return name, d, nil
		}
	}
	return "", "", usageError{&dossier.Error{Kind: dossier.KindInvalid, Op: "reading the argument", Subject: arg, Err: errors.New("want REPOSITORY:TAG@DIGEST"),
		Hint: "what is signed is a digest: dossier history says where a tag points"}}
}

// manifestLength reads a manifest from the server, checks its digest, and returns its length.
func (p *program) manifestLength(ctx context.Context, prefix, target string, d dossier.Digest) (int64, error) {
	server, err := p.tufServer("reading the length of the manifest", withoutPublishing)
	if err != nil {
		return 0, err
	}
	dir, base := path.Split(target)
	body, err := server.TUFFile(ctx, prefix, "targets/"+dir+d.Hex()+"."+base, tuf.MaxTargets)
	if err == nil && !d.Matches(body) {
		err = dossier.Errorf(dossier.KindCorrupt, "reading manifest", target, "its bytes are not those of "+string(d))
	}
	return int64(len(body)), err
}

// withoutPublishing is what a machine without a network can do instead.
const withoutPublishing = "a machine without a network uses --length and --dry-run"

// tufServer returns the server that is named. without says how to go on without one.
func (p *program) tufServer(op, without string) (*client.Client, error) {
	if p.global.server == "" || p.global.offline {
		return nil, usageError{&dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: errors.New("no server is named"), Hint: "give --server URL; " + without}}
	}
	c, err := client.New(p.global.server, client.Options{Token: p.global.token})
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// onlineKey reads the public online key from a file, or from the server; another one, when it is to be new.
func (p *program) onlineKey(cmd *cobra.Command, prefix, file string, another bool) ([]byte, error) {
	if file != "" {
		return readLimited(file, tuf.MaxKey)
	}
	server, err := p.tufServer("reading the online key", "a machine without a network names a file with it: --online-key")
	if err != nil {
		return nil, err
	}
	if another {
		return server.NewTUFKey(cmd.Context(), prefix)
	}
	return server.TUFFile(cmd.Context(), prefix, "online.pub", tuf.MaxKey)
}
