// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/server"
	"dossier.dev/dossier/internal/trust"
)

func (p *program) signCommand() *cobra.Command {
	var keyFile, bundle string
	cmd := &cobra.Command{
		Use:   "sign IMAGE|FILE",
		Short: "Sign an image or a file",
		Long: `Sign an image with a key: a Sigstore bundle that refers to it, in its registry, which
cosign verifies as well (cosign verify --key NAME.pub --insecure-ignore-tlog IMAGE, for it
is in no transparency log). What is signed is the digest; name the image by its digest to
be sure which. With --bundle a file is signed, and the bundle written to that file.`,
		Example: `  dossier sign --key release.key registry.example/shop/api@sha256:0123...
  dossier sign --key release.key --bundle app.sigstore.json app.tar.gz`,
		Args: oneArg("one IMAGE or FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := p.privateKey(keyFile)
			if err != nil {
				return err
			}
			if bundle != "" {
				return signFile(key, args[0], bundle)
			}
			return p.signImage(cmd.Context(), args[0], "https://sigstore.dev/cosign/sign/v1", func(d dossier.Digest) ([]byte, error) {
				return key.SignStatement(trust.ImageStatement(d))
			})
		},
	}
	cmd.Flags().StringVar(&keyFile, "key", "", "`file` with the private key")
	cmd.Flags().StringVar(&bundle, "bundle", "", "sign a file, and write the bundle to this new `file`")
	return cmd
}

// privateKey reads the key to sign with.
func (p *program) privateKey(name string) (*trust.PrivateKey, error) {
	if name == "" {
		return nil, usageError{&dossier.Error{Kind: dossier.KindInvalid, Op: "reading flags", Err: errors.New("no --key is given"), Hint: "make one with dossier keygen NAME"}}
	}
	b, err := readLimited(name, 1<<20)
	if err != nil {
		return nil, err
	}
	password, err := p.password("password of " + name)
	if err != nil {
		return nil, err
	}
	key, err := trust.ParsePrivateKey(b, password)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return key, nil
}

func signFile(key *trust.PrivateKey, name, bundle string) error {
	f, err := os.Open(name)
	if err != nil {
		return fileError("reading artifact", name, err)
	}
	defer f.Close()
	b, err := key.SignArtifact(f)
	if err != nil {
		return err
	}
	return writeNew(bundle, b, 0o644)
}

// signImage attaches a bundle to an image, and says where.
func (p *program) signImage(ctx context.Context, image, predicateType string, sign func(dossier.Digest) ([]byte, error)) error {
	return p.withEngine(ctx, func(e *server.Engine) error {
		subject, artifact, err := e.SignImage(ctx, image, predicateType, sign)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.stdout, "signed %s\nattached %s\n", subject, artifact)
		return err
	})
}
