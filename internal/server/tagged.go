// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/tuf"
)

// TagQuery asks whether a tag means a digest, by signed metadata.
type TagQuery struct {
	Ref      dossier.Reference // with a tag; with a digest: that it must mean. Without one, the registry says where it points
	Prefix   string            // of the metadata; empty: the one that is pinned
	URL      string            // of the server that has it; empty: that of the registry
	Token    string            // for it
	MaxAge   time.Duration     // of the timestamp; 0: as long as it holds
	Root     []byte            // to pin
	FirstUse bool
}

const opTag = "verifying tag"

// VerifyTag verifies that a tag means a digest. What it has seen stays in the store, and so does
// what it found, as a fact. That a tag is not verified is no error.
// KindInvalid: nothing says which prefix. Else errors are those of the store.
func (e *Engine) VerifyTag(ctx context.Context, q TagQuery) (tuf.Result, error) {
	prefix, err := e.prefixOf(ctx, q)
	if err != nil {
		return tuf.Result{}, err
	}
	v := tuf.Verifier{Store: e.store, Now: e.config.Now}
	if !e.config.Offline {
		if v.Source, err = e.metadataOf(q, prefix); err != nil {
			return tuf.Result{}, err
		}
	}
	ask := tuf.Request{
		Source: q.Ref.Registry + "/" + prefix, Repository: q.Ref.Repository, Tag: q.Ref.Tag, Digest: q.Ref.Digest,
		MaxAge: q.MaxAge, Root: q.Root, FirstUse: q.FirstUse,
	}
	if ask.Digest == "" && !e.config.Offline {
		d, err := e.images.Resolve(ctx, q.Ref.String())
		if err != nil {
			return tuf.Result{}, err
		}
		ask.Digest, ask.Length = d.Digest, max(0, d.Size)
	}
	r, err := v.Verify(ctx, ask)
	if err == nil && r.Verified {
		err = e.recordSigned(ctx, q.Ref, r)
	}
	return r, err
}

// prefixOf finds the prefix whose metadata speaks of a repository: the longest that is pinned.
func (e *Engine) prefixOf(ctx context.Context, q TagQuery) (string, error) {
	if q.Prefix != "" {
		return q.Prefix, tuf.CheckPrefix(q.Prefix)
	}
	var sources []string
	err := e.store.View(ctx, func(r store.Reader) (err error) {
		sources, err = r.TUFSources(ctx)
		return err
	})
	if err != nil {
		return "", err
	}
	best := ""
	for _, s := range sources {
		if name := q.Ref.Name(); (name == s || strings.HasPrefix(name, s+"/")) && len(s) > len(best) {
			best = s
		}
	}
	if best == "" {
		return "", &dossier.Error{Kind: dossier.KindInvalid, Op: opTag, Subject: q.Ref.Familiar(), Err: errors.New("no metadata is pinned that speaks of it"),
			Hint: "give --prefix, with --root FILE or --first-use"}
	}
	return strings.TrimPrefix(best, q.Ref.Registry+"/"), nil
}

// metadataOf returns where the metadata of a prefix is read.
func (e *Engine) metadataOf(q TagQuery, prefix string) (tuf.Source, error) {
	base := strings.TrimSuffix(q.URL, "/")
	if base == "" {
		scheme := "https://"
		host, _, _ := strings.Cut(q.Ref.Registry, ":")
		if isLoopback(host) || slices.Contains(e.config.PlainHTTP, q.Ref.Registry) {
			scheme = "http://"
		}
		base = scheme + q.Ref.Registry
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = e.config.Dial
	if e.config.RegistryCA != "" {
		pem, err := os.ReadFile(e.config.RegistryCA)
		if err != nil {
			return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: opTag, Subject: e.config.RegistryCA, Err: err, Hint: "check --registry-ca"}
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		pool.AppendCertsFromPEM(pem)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	transport.DisableKeepAlives = true // a few files, and nobody closes it
	// A token stays with the server that it was given for.
	noRedirect := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return tuf.HTTP{URL: base + tuf.Path + prefix, Token: q.Token, Client: &http.Client{Transport: transport, CheckRedirect: noRedirect}}, nil
}

// ForgetMetadata forgets what is pinned and was seen of HOST/PREFIX. KindNotFound.
func (e *Engine) ForgetMetadata(ctx context.Context, source string) error {
	return e.store.Update(ctx, func(tx store.Tx) error {
		old, err := tx.LockTUFTrust(ctx, source)
		if err == nil && len(old) == 0 {
			err = &dossier.Error{Kind: dossier.KindNotFound, Op: "forgetting metadata", Subject: source, Err: errors.New("nothing of it is pinned"),
				Hint: "name it as HOST/PREFIX"}
		}
		if err != nil {
			return err
		}
		return tx.TrustTUF(ctx, source, nil)
	})
}

// signedEvery is how far apart two facts about the same signed tag are at least: metadata is signed
// anew each hour, and says the same.
const signedEvery = time.Hour

// recordSigned records that a tag was found to be signed.
func (e *Engine) recordSigned(ctx context.Context, ref dossier.Reference, r tuf.Result) error {
	at := dossier.Instant(cmp.Or(r.AsOf, e.config.Now()))
	s, err := dossier.SignedTag(r.Digest, dossier.SignedTagBody{
		Name: ref.Name(), Tag: ref.Tag, SignedBy: string(r.SignedBy), Role: r.Role, Metadata: r.Source,
	}, at)
	if err != nil {
		return err
	}
	return e.store.Update(ctx, func(tx store.Tx) error {
		for old, err := range tx.Holding(ctx, []dossier.Digest{r.Digest}, dossier.Times{}, dossier.FactSignedTag) {
			if err != nil {
				return err
			}
			if old.Source == s.Source && string(old.Body) == string(s.Body) && at.Sub(old.ValidAt) < signedEvery {
				return nil
			}
		}
		_, _, err := tx.Record(ctx, s)
		if err != nil {
			return fmt.Errorf("recording what is signed: %w", err)
		}
		return nil
	})
}
