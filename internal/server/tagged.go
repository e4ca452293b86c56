// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"reflect"
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
	Token    string            // for URL: it is shown to nobody else, and only under TLS or on this machine
	MaxAge   time.Duration     // of the timestamp; 0: as long as it holds
	Root     []byte            // to pin
	FirstUse bool
}

const opTag = "verifying tag"

// VerifyTag verifies that a tag means a digest. What it has seen stays in the store, and so does
// what it found, as a fact: that it means the digest, or that it means another. That a tag is not verified is no error.
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
	if err == nil && (r.Verified || r.Reason == tuf.ReasonDigest) {
		err = e.recordSigned(ctx, q.Ref, ask.Digest, r)
	}
	return r, err
}

// checkTag verifies what a tag means that was just read, when metadata that speaks of it is pinned, so that
// answers can say so. Answers do without when it cannot be done; that is logged.
func (e *Engine) checkTag(ctx context.Context, name string, d dossier.Digest) {
	ref, err := dossier.ParseReference(name)
	if err != nil || ref.Digest != "" {
		return
	}
	q := TagQuery{Ref: ref.WithDefaultTag()}
	if _, err := e.prefixOf(ctx, q); err != nil {
		return // nothing is pinned
	}
	q.Ref.Digest = d
	r, err := e.VerifyTag(ctx, q)
	switch {
	case err != nil:
		e.config.Logger.WarnContext(ctx, "what is signed of a tag could not be verified", "tag", name, "error", err)
	case !r.Verified:
		e.config.Logger.WarnContext(ctx, "a tag is not verified", "tag", name, "digest", d, "reason", r.Reason, "why", r.Why)
	}
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
	if base != "" {
		if err := q.CheckURL(); err != nil {
			return nil, err
		}
	} else {
		q.Token = "" // it was given for a server, and an image's name says nothing of that
		scheme := "https://"
		if isLoopback((&url.URL{Host: q.Ref.Registry}).Hostname()) || slices.Contains(e.config.PlainHTTP, q.Ref.Registry) {
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

// CheckURL checks the URL that metadata is to be read from, and that no token is sent to it in the
// clear. KindInvalid.
func (q TagQuery) CheckURL() error {
	fail := func(why, hint string) error { // the URL may hold a password: it is not repeated
		return &dossier.Error{Kind: dossier.KindInvalid, Op: opTag, Subject: "the URL of the server", Err: errors.New(why), Hint: hint}
	}
	u, err := url.Parse(q.URL)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return fail("it does not begin with http:// or https:// and a host", "write it like https://registry.example")
	case u.User != nil:
		return fail("it holds a user or a password", "set DOSSIER_TOKEN instead")
	case u.RawQuery != "" || u.Fragment != "":
		return fail("it has a query or a fragment", "give scheme, host and port only")
	case q.Token != "" && u.Scheme == "http" && !isLoopback(u.Hostname()):
		return fail("a token is sent under TLS only", "write https://, or leave the token out")
	}
	return nil
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

// signedEvery is how far apart two facts about the same signed tag are at least, while the one before
// still holds for a while: metadata is signed anew each hour, and says the same.
const signedEvery = time.Hour

// recordSigned records what a tag was found to be signed to mean, on the digest that was held against it.
func (e *Engine) recordSigned(ctx context.Context, ref dossier.Reference, asked dossier.Digest, r tuf.Result) error {
	at := dossier.Instant(cmp.Or(r.AsOf, e.config.Now()))
	body := dossier.SignedTagBody{
		Name: ref.Name(), Tag: ref.Tag, SignedBy: string(r.SignedBy), Role: r.Role, Metadata: r.Source, Keys: r.Keys, Until: r.Expires.UTC(),
	}
	subject := cmp.Or(asked, r.Digest)
	if !r.Verified {
		body.Means = r.Digest
	}
	s, err := dossier.SignedTag(subject, body, at)
	if err != nil {
		return err
	}
	return e.store.Update(ctx, func(tx store.Tx) error {
		for old, err := range tx.Holding(ctx, []dossier.Digest{subject}, dossier.Times{}, dossier.FactSignedTag) {
			if err != nil {
				return err
			}
			if old.Source == s.Source && (at.Before(old.ValidAt) || at.Sub(old.ValidAt) < signedEvery && saysAsMuch(old.Body, body, at)) {
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

// saysAsMuch reports whether an earlier fact says the same as b, and holds for at least half as long from now on.
func saysAsMuch(earlier []byte, b dossier.SignedTagBody, at time.Time) bool {
	var old dossier.SignedTagBody
	if json.Unmarshal(earlier, &old) != nil || old.Until.Sub(at) < b.Until.Sub(at)/2 {
		return false
	}
	old.Until = b.Until
	return reflect.DeepEqual(old, b)
}
