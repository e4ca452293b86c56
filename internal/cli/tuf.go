// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"time"

	"dossier.dev/dossier/internal/render"
	"dossier.dev/dossier/internal/tuf"
)

// ownerKey reads the private key of an owner.
func (p *program) ownerKey(file string) (tuf.Signer, error) {
	text, err := readLimited(file, tuf.MaxKey)
	if err != nil {
		return tuf.Signer{}, err
	}
	s, err := tuf.ParsePrivateKey(text, func() ([]byte, error) { return p.password("password of " + file) })
	if err != nil {
		return s, fmt.Errorf("%s: %w", file, err)
	}
	return s, nil
}

// printTagResult prints what is signed of a tag, and ends the command with 3 when it is not verified.
func (p *program) printTagResult(r tuf.Result, out outputFlags) error {
	err := out.write(p, r, func(render.Options) error { return p.writeTagResult(r) })
	if err == nil && !r.Verified {
		return errFound
	}
	return err
}

func (p *program) writeTagResult(r tuf.Result) error {
	if !r.Verified {
		_, err := fmt.Fprintf(p.stdout, "not verified: %s: %s\n", r.Reason, render.Clean(r.Why))
		return err
	}
	who := "by its owner, role " + r.Role
	if r.SignedBy == tuf.ByOnline {
		who = "online, by the server"
	}
	_, err := fmt.Fprintf(p.stdout, "verified: %s means %s\nsigned %s\n", r.Target, r.Digest, who)
	if err == nil && !r.AsOf.IsZero() {
		_, err = fmt.Fprintf(p.stdout, "fresh as of %s\n", r.AsOf.Format(time.RFC3339))
	}
	if err == nil {
		_, err = fmt.Fprintf(p.stdout, "holds until %s\n", r.Expires.Format(time.RFC3339))
	}
	return err
}
