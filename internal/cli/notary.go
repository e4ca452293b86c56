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

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/render"
	"dossier.dev/dossier/internal/server"
	"dossier.dev/dossier/internal/tuf"
	"dossier.dev/dossier/internal/tuf/notary1"
)

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
