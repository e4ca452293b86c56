// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/render"
	"dossier.dev/dossier/internal/server"
	"dossier.dev/dossier/internal/tuf"
)

func (p *program) tufCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tuf",
		Short: "Say which digest a tag means: signed, current, and never back",
		Long: `Make, sign, publish and verify metadata of The Update Framework for a prefix of
repositories. Owners work in a directory (--dir), on machines that need no network:
it holds what is public, and is carried from one to the next to be signed. Private
keys stay with who has them. docs/spec/tuf.md goes through it step by step.

dossier keygen makes a key; COSIGN_PASSWORD is its password, which is asked for
otherwise. Keys that cosign or openssl made will do as well: ECDSA on P-256, Ed25519,
or RSA of 2048 bits or more, in PEM.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(p.tufInit(), p.tufAddKey(), p.tufDelegate(), p.tufSign(), p.tufPublish(), p.tufRotate(), p.tufStatus(), p.tufVerify(), p.tufForget(), p.tufImport())
	return cmd
}

// dirFlag names the directory of a ceremony.
type dirFlag struct{ dir string }

func (d *dirFlag) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&d.dir, "dir", "tuf", "`directory` with the metadata of the prefix")
}

func (d *dirFlag) ceremony() tuf.Ceremony { return tuf.Ceremony{Dir: d.dir, Now: time.Now} }

func (p *program) tufInit() *cobra.Command {
	var d dirFlag
	var rootKeys, targetsKeys []string
	var rootThreshold, targetsThreshold int
	var online string
	cmd := &cobra.Command{
		Use:   "init PREFIX",
		Short: "Begin: the first root and targets, to be signed",
		Long: `Make the first root.json and targets.json of a prefix of repositories, which nobody has
signed yet. The owners of root are those of --root-key, of whom --root-threshold must
sign; those of --targets-key say which role speaks for which repositories. The online
key, with which the server signs snapshot and timestamp, is read from the server
(--server), or from a file that was fetched there: SERVER/tuf/PREFIX/online.pub.`,
		Example: `  dossier tuf init team/web --dir web --root-key alice.pub --root-key bob.pub --root-key carol.pub \
      --root-threshold 2 --targets-key alice.pub --online-key online.pub`,
		Args: oneArg("one PREFIX"),
		RunE: func(cmd *cobra.Command, args []string) error {
			i := tuf.Init{Prefix: args[0], RootThreshold: rootThreshold, TargetsThreshold: targetsThreshold}
			var err error
			if i.RootKeys, err = readKeys(rootKeys); err != nil {
				return err
			}
			if i.TargetsKeys, err = readKeys(targetsKeys); err != nil {
				return err
			}
			if i.OnlineKey, err = p.onlineKey(cmd, args[0], online, false); err != nil {
				return err
			}
			if err := d.ceremony().Init(i); err != nil {
				return err
			}
			return p.showCeremony(d.ceremony(), outputFlags{format: "table"})
		},
	}
	d.register(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&rootKeys, "root-key", nil, "`file` with the public key of an owner of root; may be given again")
	f.IntVar(&rootThreshold, "root-threshold", 1, "`number` of owners of root who must sign")
	f.StringSliceVar(&targetsKeys, "targets-key", nil, "`file` with the public key of an owner of targets; may be given again")
	f.IntVar(&targetsThreshold, "targets-threshold", 1, "`number` of owners of targets who must sign")
	f.StringVar(&online, "online-key", "", "`file` with the public online key of the server")
	return cmd
}

func readKeys(files []string) ([][]byte, error) {
	var list [][]byte
	for _, file := range files {
		text, err := readLimited(file, tuf.MaxKey)
		if err != nil {
			return nil, err
		}
		list = append(list, text)
	}
	return list, nil
}

func (p *program) tufAddKey() *cobra.Command {
	var d dirFlag
	var threshold int
	cmd := &cobra.Command{
		Use:   "add-key ROLE FILE",
		Short: "Let one more key sign for a role",
		Long: `Add a public key to root, targets or a delegated role: in the next version of root, or
of targets for a delegated role, which is then to be signed and published.`,
		Example: `  dossier tuf add-key root dave.pub --threshold 3
  dossier tuf add-key release ci.pub`,
		Args: countArgs(2, "a ROLE and a FILE with a public key"),
		RunE: func(_ *cobra.Command, args []string) error {
			text, err := readLimited(args[1], tuf.MaxKey)
			if err != nil {
				return err
			}
			return p.changeKeys(d.ceremony(), tuf.KeyChange{Role: args[0], Add: text, Threshold: threshold})
		},
	}
	d.register(cmd)
	cmd.Flags().IntVar(&threshold, "threshold", 0, "`number` of keys that must sign; else as before")
	return cmd
}

func (p *program) changeKeys(c tuf.Ceremony, k tuf.KeyChange) error {
	roles, err := c.ChangeKeys(k)
	if err != nil {
		return err
	}
	p.note("to be signed: %s", strings.Join(roles, ", "))
	return p.showCeremony(c, outputFlags{format: "table"})
}

func (p *program) tufDelegate() *cobra.Command {
	var d dirFlag
	var keys, repositories []string
	var threshold int
	cmd := &cobra.Command{
		Use:   "delegate ROLE",
		Short: "Let a role speak for repositories",
		Long: `Let a role speak for repositories: in the next version of targets, which is then to be
signed and published. A role of owners has keys of its own (--key). The role online
has the key of the server, which then signs each tag as it moves: nothing is to be
done for a push, and who has the server can make a tag mean something else. A role of
owners goes before it.`,
		Example: `  dossier tuf delegate release --repository team/web/app --key ci.pub
  dossier tuf delegate online --repository 'team/web/**'`,
		Args: oneArg("one ROLE"),
		RunE: func(_ *cobra.Command, args []string) error {
			texts, err := readKeys(keys)
			if err != nil {
				return err
			}
			c := d.ceremony()
			if err := c.Delegate(tuf.Delegation{Role: args[0], Repositories: repositories, Keys: texts, Threshold: threshold}); err != nil {
				return err
			}
			p.note("to be signed: targets")
			return p.showCeremony(c, outputFlags{format: "table"})
		},
	}
	d.register(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&repositories, "repository", nil, "`pattern` of repositories: team/web/app, team/web/*, team/web/**; may be given again")
	f.StringSliceVar(&keys, "key", nil, "`file` with a public key of the role; may be given again")
	f.IntVar(&threshold, "threshold", 1, "`number` of keys that must sign")
	return cmd
}

func (p *program) tufSign() *cobra.Command {
	var d dirFlag
	var key, merge string
	cmd := &cobra.Command{
		Use:   "sign ROLE",
		Short: "Sign the newest version of root, targets or a delegated role",
		Long: `Add a signature to the newest version of a role's file. No network is used. A version
of root must be signed by enough owners of the version before it, and of its own.
--merge takes over the signatures of another copy of root that says the same, for
owners who signed at the same time.`,
		Example: `  COSIGN_PASSWORD=... dossier tuf sign root --key alice.key
  dossier tuf sign root --merge /media/bob/2.root.json`,
		Args: oneArg("one ROLE"),
		RunE: func(_ *cobra.Command, args []string) error {
			c := d.ceremony()
			if (key == "") == (merge == "") || merge != "" && args[0] != tuf.Root {
				return usageError{dossier.Errorf(dossier.KindInvalid, "reading flags", "--key and --merge", "give one of them; --merge is for root")}
			}
			if merge != "" {
				other, err := readLimited(merge, tuf.MaxRoot)
				if err == nil {
					_, err = c.Merge(other)
				}
				if err != nil {
					return err
				}
				return p.showCeremony(c, outputFlags{format: "table"})
			}
			s, err := p.ownerKey(key)
			if err == nil {
				_, err = c.Sign(args[0], s)
			}
			if err != nil {
				return err
			}
			return p.showCeremony(c, outputFlags{format: "table"})
		},
	}
	d.register(cmd)
	cmd.Flags().StringVar(&key, "key", "", "`file` with the private key")
	cmd.Flags().StringVar(&merge, "merge", "", "`file` with another copy of root")
	return cmd
}

func (p *program) tufRotate() *cobra.Command {
	var d dirFlag
	var add, remove string
	var threshold int
	cmd := &cobra.Command{
		Use:   "rotate ROLE",
		Short: "Replace a key, or make the next version before the last one expires",
		Long: `Make the next version of root or targets with other keys: --remove takes one out, --add
lets one in. Without either, the next version says the same and holds longer. For
online the key of the server is replaced: by --add, or by one that the server makes
(--server). That is what helps when the server was broken into: clients drop what the
old key has signed.`,
		Example: `  dossier tuf rotate root --remove 5d41402a --add erin.pub
  dossier tuf rotate online --server https://registry.example
  dossier tuf rotate targets`,
		Args: oneArg("one ROLE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, k := d.ceremony(), tuf.KeyChange{Role: args[0], Remove: remove, Threshold: threshold}
			var err error
			switch {
			case args[0] == tuf.Online:
				prefix, prefixErr := c.Prefix()
				if prefixErr != nil {
					return prefixErr
				}
				k.Add, err = p.onlineKey(cmd, prefix, add, true)
			case add != "":
				k.Add, err = readLimited(add, tuf.MaxKey)
			case remove == "" && threshold == 0:
				if err := c.Renew(args[0]); err != nil {
					return err
				}
				p.note("to be signed: %s", args[0])
				return p.showCeremony(c, outputFlags{format: "table"})
			}
			if err != nil {
				return err
			}
			return p.changeKeys(c, k)
		},
	}
	d.register(cmd)
	f := cmd.Flags()
	f.StringVar(&add, "add", "", "`file` with a public key")
	f.StringVar(&remove, "remove", "", "`ID` of a key, or 8 of its digits or more")
	f.IntVar(&threshold, "threshold", 0, "`number` of keys that must sign; else as before")
	return cmd
}

func (p *program) tufStatus() *cobra.Command {
	var d dirFlag
	var out outputFlags
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "What is signed, and what signatures are missing",
		Long:    `Show the newest version of each file in the directory: until when it holds, and who has signed it.`,
		Example: `  dossier tuf status --dir web`,
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return p.showCeremony(d.ceremony(), out)
		},
	}
	d.register(cmd)
	out.register(cmd.Flags())
	return cmd
}

// showCeremony prints how far the signing of each file has come.
func (p *program) showCeremony(c tuf.Ceremony, out outputFlags) error {
	list, err := c.Status()
	if err != nil {
		return err
	}
	return out.write(p, list, func(render.Options) error {
		for _, s := range list {
			word := "signed"
			if !s.Whole {
				word = "not signed yet"
			}
			expires := s.Expires.Format(time.DateOnly)
			if s.Expires.Before(time.Now()) {
				expires += ", which is past"
			}
			if _, err := fmt.Fprintf(p.stdout, "%s version %d: %s, until %s\n", s.Role, s.Version, word, expires); err != nil {
				return err
			}
			if err := p.showSigning("", s); err != nil {
				return err
			}
			if s.Before != nil {
				if err := p.showSigning(" of the version before", *s.Before); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (p *program) showSigning(whose string, s tuf.Signing) error {
	_, err := fmt.Fprintf(p.stdout, "  %d of the %d keys%s have signed, %d must", len(s.Signed), len(s.Signed)+len(s.Missing), whose, s.Threshold)
	for i, id := range s.Missing {
		lead := ", "
		if i == 0 {
			lead = "; not: "
		}
		if err == nil {
			_, err = fmt.Fprint(p.stdout, lead+id[:8])
		}
	}
	if err == nil {
		_, err = fmt.Fprintln(p.stdout)
	}
	return err
}

func (p *program) tufVerify() *cobra.Command {
	var out outputFlags
	var v freshFlags
	cmd := &cobra.Command{
		Use:   "verify NAME:TAG[@DIGEST]",
		Short: "Verify that a tag means a digest, signed and current",
		Long: `Verify by signed metadata that a tag means a digest: the one that is given, or else the
one that the registry names now. The exit code is 3 when it does not, or when that cannot
be shown.

The root of the metadata must be pinned once: by --root FILE, or with --first-use by
what the server gives first. What was seen is kept in the store, and nothing goes back
behind it. With --offline what is kept must do, until it expires.`,
		Example: `  dossier tuf verify registry.example/team/web/app:1.4 --prefix team/web --root 1.root.json
  dossier tuf verify registry.example/team/web/app:1.4@sha256:4f5d2c... --fresh 24h`,
		Args: oneArg("one NAME:TAG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			ref, err := taggedReference(args[0])
			if err != nil {
				return err
			}
			q, err := v.query(ref)
			if err != nil {
				return err
			}
			q.Token, q.URL = p.global.token, p.global.server
			if q.URL != "" {
				if err := q.CheckURL(); err != nil {
					return usageError{err}
				}
			}
			return p.verifyTag(cmd.Context(), q, out)
		},
	}
	out.register(cmd.Flags())
	f := cmd.Flags()
	f.StringVar(&v.prefix, "prefix", "", "`prefix` of repositories whose metadata it is; else the one that is pinned")
	f.StringVar(&v.root, "root", "", "`file` with the root to pin, such as 1.root.json")
	f.BoolVar(&v.firstUse, "first-use", false, "pin the root that the server gives, when none is")
	f.StringVar(&v.fresh, "fresh", "", "how `old` the newest signature may be, such as 24h; else as long as it holds")
	return cmd
}

func (p *program) verifyTag(ctx context.Context, q server.TagQuery, out outputFlags) (err error) {
	engine, err := p.engine(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	r, err := engine.VerifyTag(ctx, q)
	if err != nil {
		return err
	}
	return p.printTagResult(r, out)
}

func (p *program) tufForget() *cobra.Command {
	return &cobra.Command{
		Use:   "forget HOST/PREFIX",
		Short: "Forget what is pinned of a registry's metadata",
		Long: `Forget the root that is pinned for HOST/PREFIX, and what was seen of it. What is asked
next begins anew, and an old state could then be believed: pin the root as a file.`,
		Example: `  dossier tuf forget registry.example/team/web`,
		Args:    oneArg("one HOST/PREFIX"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			engine, err := p.engine(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, engine.Close()) }()
			return engine.ForgetMetadata(cmd.Context(), args[0])
		},
	}
}

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
