// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/trust"
)

func (p *program) keygenCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "keygen NAME",
		Short: "Make a key to sign with",
		Long: `Make a key for ECDSA on P-256: NAME.key, encrypted with a password, and NAME.pub. Both
are as cosign writes them, so either program reads what the other made. The password is
that of $COSIGN_PASSWORD, or else it is asked for. Files that are there are left alone.`,
		Example: `  dossier keygen release
  COSIGN_PASSWORD=... dossier keygen release`,
		Args: oneArg("one NAME"),
		RunE: func(_ *cobra.Command, args []string) error { return p.keygen(args[0]) },
	}
}

func (p *program) keygen(name string) error {
	password, err := p.password("password for the new key")
	if err != nil {
		return err
	}
	private, public, err := trust.GenerateKey(password)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		b    []byte
		mode os.FileMode
	}{{name + ".key", private, 0o600}, {name + ".pub", public, 0o644}} {
		if err := writeNew(f.name, f.b, f.mode); err != nil {
			return err
		}
	}
	key, err := trust.ParseKey(public)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%s.key, %s.pub: %s\n", name, name, key.ID)
	return err
}

// writeNew writes a file that is not there yet.
func writeNew(name string, b []byte, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, os.ErrExist) {
		return &dossier.Error{Kind: dossier.KindConflict, Op: "writing file", Subject: name, Err: errors.New("it is there already"), Hint: "choose another name, or remove it"}
	}
	if err != nil {
		return fileError("writing file", name, err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err != nil {
		return fileError("writing file", name, err)
	}
	return nil
}

// password takes the password of a key from the environment, or asks for it on a
// terminal.
func (p *program) password(prompt string) ([]byte, error) {
	if password, ok := p.env["COSIGN_PASSWORD"]; ok {
		return []byte(password), nil
	}
	f, ok := p.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, usageError{&dossier.Error{Kind: dossier.KindInvalid, Op: "asking for the password", Err: errors.New("stdin is no terminal"), Hint: "set COSIGN_PASSWORD"}}
	}
	fmt.Fprintf(p.stderr, "%s: ", prompt)
	password, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(p.stderr)
	return password, err
}
