// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/pflag"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/render"
	"dossier.dev/dossier/internal/server"
	"dossier.dev/dossier/internal/trust"
	"dossier.dev/dossier/internal/tuf"
)

// freshFlags say how fresh the meaning of a tag must be, and by which metadata.
type freshFlags struct {
	fresh    string
	prefix   string
	root     string
	firstUse bool
}

func (v *freshFlags) register(f *pflag.FlagSet) {
	f.StringVar(&v.fresh, "fresh", "", "how `old` what is signed of the tag may be, such as 24h; the tag must be signed then to mean this image")
	f.StringVar(&v.prefix, "tuf-prefix", "", "`prefix` of repositories whose metadata is to say what the tag means; else the one that is pinned")
	f.StringVar(&v.root, "tuf-root", "", "`file` with the root of that metadata to pin, such as 1.root.json")
	f.BoolVar(&v.firstUse, "tuf-first-use", false, "pin the root that the server gives, when none is")
}

// maxAge reads how old something may be.
func maxAge(text string) (time.Duration, error) {
	d, err := dossier.ParseAge(text)
	if err != nil || d <= 0 {
		return 0, usageError{dossier.Errorf(dossier.KindInvalid, "reading flag", "--fresh="+text, "want a length of time such as 24h")}
	}
	return d, nil
}

// query makes a query of the flags.
func (v *freshFlags) query(ref dossier.Reference) (q server.TagQuery, err error) {
	q = server.TagQuery{Ref: ref, Prefix: v.prefix, FirstUse: v.firstUse}
	if v.fresh != "" {
		if q.MaxAge, err = maxAge(v.fresh); err != nil {
			return q, err
		}
	}
	if v.root != "" {
		q.Root, err = readLimited(v.root, tuf.MaxRoot)
	}
	return q, err
}

// taggedReference reads a reference that names a tag.
func taggedReference(text string) (dossier.Reference, error) {
	ref, err := dossier.ParseReference(text)
	if err == nil && ref.Tag == "" {
		err = dossier.Errorf(dossier.KindInvalid, "reading the argument", text, "it names no tag")
	}
	if err != nil {
		return ref, usageError{err}
	}
	return ref, nil
}

// freshResult is what verify --fresh finds.
type freshResult struct {
	Verified  bool            `json:"verified"`
	Signature *trust.Decision `json:"signature,omitempty"` // nil: nobody was named who might have signed
	Tag       tuf.Result      `json:"tag"`
}

// verifyFresh verifies what a tag means, and who signed what it means when the flags name somebody. Both
// are of one digest.
func (p *program) verifyFresh(ctx context.Context, v verifyFlags, tag freshFlags, target string, out outputFlags) error {
	if v.bundle != "" {
		return usageError{dossier.Errorf(dossier.KindInvalid, "reading flags", "--fresh", "it is about the tag of an image; a bundle is about a file")}
	}
	ref, err := taggedReference(target)
	if err != nil {
		return err
	}
	q, err := tag.query(ref)
	if err != nil {
		return err
	}
	var how server.Verification
	if v.namesSigners() {
		if how, err = v.verification(); err != nil {
			return err
		}
	}
	var r freshResult
	err = p.withEngine(ctx, func(e *server.Engine) (err error) {
		if how.Judge != nil {
			d, err := e.VerifyImage(ctx, target, how)
			if err != nil {
				return err
			}
			r.Signature, q.Ref.Digest = &d, d.Asked.Digest
		}
		r.Tag, err = e.VerifyTag(ctx, q)
		return err
	})
	if err != nil {
		return err
	}
	r.Verified = r.Tag.Verified && (r.Signature == nil || r.Signature.Verified)
	err = out.write(p, r, func(o render.Options) error {
		var err error
		if r.Signature != nil {
			err = render.Decision(p.stdout, *r.Signature, o)
		}
		return errors.Join(err, p.writeTagResult(r.Tag))
	})
	if err == nil && !r.Verified {
		return errFound
	}
	return err
}

// namesSigners reports whether the flags say who may have signed.
func (v *verifyFlags) namesSigners() bool {
	return v.policy != "" || len(v.keys) > 0 || v.identity+v.identityPattern+v.issuer+v.issuerPattern != ""
}
