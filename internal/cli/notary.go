// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/render"
	"dossier.dev/dossier/internal/server"
	"dossier.dev/dossier/internal/tuf"
	"dossier.dev/dossier/internal/tuf/notary1"
)

// notaryFlags are the flags of tuf import notary1.
type notaryFlags struct {
	dirFlag
	out       outputFlags
	from      string
	roots     []string
	firstUse  bool
	expired   bool
	tokenFile string
	role, as  string
}

func (p *program) tufImport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Take over what others have signed of tags",
		Long:  `Read and verify what others have signed of tags, and prepare it to be signed anew.`,
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(p.tufImportNotary())
	return cmd
}

func (p *program) tufImportNotary() *cobra.Command {
	var f notaryFlags
	cmd := &cobra.Command{
		Use:   "notary1 NAME",
		Short: "Read the tags that Notary v1 (Docker Content Trust) has signed",
		Long: `Read what Notary v1 (Docker Content Trust) has signed of the tags of a repository, verify it
from its root on, and print what each tag means and who signed that. Tags are those that
Docker would take: of the role targets/releases, or else of targets.

Metadata is read from the directory in which Docker keeps it, or from --from: another
directory, or the URL of a Notary server, which alone needs a network. Of a server the root
must be known by the ID of its key (--root-key), or be taken as it comes (--first-use).

With --role the tags are written into that role's file in --dir, as those of the repository
--as, to be signed with dossier tuf sign and published with dossier tuf publish.`,
		Example: `  dossier tuf import notary1 docker.io/acme/app
  dossier tuf import notary1 docker.io/acme/app --from https://notary.docker.io --root-key 3f1b6c2a...
  dossier tuf import notary1 docker.io/acme/app --role release --as team/web/app`,
		Args: oneArg("one NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.out.check(); err != nil {
				return err
			}
			return p.importNotary(cmd.Context(), f, args[0])
		},
	}
	f.register(cmd)
	f.out.register(cmd.Flags())
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", "", "`directory` of the metadata, or URL of a Notary server; else what Docker keeps of it")
	flags.StringSliceVar(&f.roots, "root-key", nil, "`ID` of a key that must have signed the root; may be given again: one of them")
	flags.BoolVar(&f.firstUse, "first-use", false, "take the root of a server as it comes")
	flags.BoolVar(&f.expired, "expired", false, "read also what is past its time")
	flags.StringVar(&f.tokenFile, "token-file", "", "`file` with a bearer token for the Notary server")
	flags.StringVar(&f.role, "role", "", "`role` that is to speak for the tags")
	flags.StringVar(&f.as, "as", "", "`repository` whose tags they are to be, such as team/web/app")
	return cmd
}

func (p *program) importNotary(ctx context.Context, f notaryFlags, name string) error {
	if (f.role == "") != (f.as == "") {
		return usageError{dossier.Errorf(dossier.KindInvalid, "reading flags", "--role and --as", "give both, or neither")}
	}
	ref, err := dossier.ParseReference(name)
	if err == nil && (ref.Tag != "" || ref.Digest != "") {
		err = dossier.Errorf(dossier.KindInvalid, "reading the argument", name, "want a repository, without a tag")
	}
	if err != nil {
		return usageError{err}
	}
	from, err := p.notarySource(f, ref.Name())
	if err != nil {
		return err
	}
	c, err := notary1.Read(ctx, from, notary1.Options{Name: ref.Name(), Roots: f.roots, Expired: f.expired, Now: time.Now()})
	if err != nil {
		return err
	}
	if len(f.roots) == 0 {
		p.note("the root is signed by %s, and nothing says whether that is its owner: compare it, or give --root-key", strings.Join(c.Root, ", "))
	}
	if len(c.Expired) > 0 {
		p.note("past its time: %s", strings.Join(c.Expired, ", "))
	}
	if f.role == "" {
		return f.out.write(p, c, func(o render.Options) error { return p.printCollection(c) })
	}
	list := make([]tuf.Meaning, 0, len(c.Tags))
	for _, t := range c.Tags {
		target, err := tuf.TargetName(f.as, t.Tag)
		if err != nil {
			return err
		}
		list = append(list, tuf.Meaning{Target: target, Digest: t.Digest, Length: t.Length})
	}
	if err := f.ceremony().AddTargets(f.role, list); err != nil {
		return err
	}
	p.note("to be signed: %s, with %d tags of %s", f.role, len(list), f.as)
	return p.showCeremony(f.ceremony(), f.out)
}

// notarySource returns where the metadata of a repository is read.
func (p *program) notarySource(f notaryFlags, name string) (notary1.Source, error) {
	const op = "reading Notary metadata"
	if !strings.Contains(f.from, "://") {
		dir := f.from
		if dir == "" {
			home := p.env["DOCKER_CONFIG"]
			if home == "" {
				home = filepath.Join(p.env["HOME"], ".docker")
			}
			dir = filepath.Join(home, "trust", "tuf", filepath.FromSlash(name), "metadata")
		}
		return notary1.Dir(dir), nil
	}
	if p.global.offline {
		return nil, usageError{dossier.Errorf(dossier.KindInvalid, op, "--from", "it names a server, and --offline forbids the network")}
	}
	if len(f.roots) == 0 && !f.firstUse {
		return nil, usageError{&dossier.Error{Kind: dossier.KindInvalid, Op: op, Subject: "--from", Err: errors.New("nothing says whose root the server is to have"),
			Hint: "give --root-key ID, or --first-use to take it as it comes"}}
	}
	q := server.TagQuery{URL: f.from}
	if f.tokenFile != "" {
		text, err := readLimited(f.tokenFile, 64<<10)
		if err != nil {
			return nil, err
		}
		q.Token = strings.TrimSpace(string(text))
	}
	if err := q.CheckURL(); err != nil {
		return nil, usageError{err}
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return notary1.Server{URL: q.URL, Name: name, Token: q.Token, Client: client}, nil
}

func (p *program) printCollection(c notary1.Collection) error {
	for _, t := range c.Tags {
		line := fmt.Sprintf("%s:%s means %s, %d bytes, signed by %s (%s)", c.Name, t.Tag, t.Digest, t.Length, shortIDs(t.Keys), t.Role)
		if len(t.Signers) > 0 {
			line += "; " + strings.Join(t.Signers, ", ") + " says the same"
		}
		if _, err := fmt.Fprintln(p.stdout, render.Clean(line)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(p.stdout, "%d tags, signed until %s\n", len(c.Tags), c.Expires.Format(time.RFC3339))
	return err
}

func shortIDs(ids []string) string {
	var short []string
	for _, id := range ids {
		short = append(short, id[:min(8, len(id))])
	}
	return strings.Join(short, ", ")
}
