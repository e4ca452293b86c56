// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/trust"
)

// Limits of asking whether certificates are revoked.
const (
	maxResponse    = 64 << 10 // of OCSP, in bytes
	maxList        = 16 << 20 // a CRL, in bytes
	maxPlaces      = 3        // URLs of one kind in a certificate
	maxKept        = 1000     // answers
	responseWithin = 5 * time.Second
	listWithin     = 20 * time.Second
)

// revocations asks those whom certificates name whether they are revoked, by HTTP and
// through the proxies of the environment. Answers are kept in memory until they should be
// renewed.
type revocations struct {
	client *http.Client
	now    func() time.Time

	mu   sync.Mutex
	kept map[string]keptAnswer // by what was asked, and where
}

// keptAnswer is an answer that may be given again.
type keptAnswer struct {
	evidence trust.Evidence
	until    time.Time
	final    bool
}

func newRevocations(now func() time.Time) *revocations {
	return &revocations{now: now, kept: map[string]keptAnswer{}, client: &http.Client{CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) >= 3 {
			return errors.New("redirected too often")
		}
		return nil
	}}}
}

// judging asks for what a judgement lacks, and judges again. What was found out is evidence
// like any other.
func (r *revocations) judging(ctx context.Context, judge Judgement) Judgement {
	return func(ref dossier.Reference, digest dossier.Digest, evidence []trust.Evidence, pin *dossier.SignerPin, at time.Time) trust.Decision {
		d := judge(ref, digest, evidence, pin, at)
		lookups := d.Lookups()
		if len(lookups) == 0 {
			return d
		}
		return judge(ref, digest, slices.Concat(evidence, r.ask(ctx, lookups)), pin, at)
	}
}

// ask asks for all at a time, and returns what was answered, or that nobody did, in the
// order of the questions.
func (r *revocations) ask(ctx context.Context, lookups []trust.Lookup) []trust.Evidence {
	answers := make([][]trust.Evidence, len(lookups))
	var all sync.WaitGroup
	for i, l := range lookups {
		all.Go(func() { answers[i] = r.askOne(ctx, l) })
	}
	all.Wait()
	return slices.Concat(answers...)
}

// askOne asks the responders of a certificate one after another, and when that tells
// nothing reads its lists: all of them, for each may be about other reasons.
func (r *revocations) askOne(ctx context.Context, l trust.Lookup) []trust.Evidence {
	var out []trust.Evidence
	for _, at := range l.OCSP[:min(len(l.OCSP), maxPlaces)] {
		a := r.answer(ctx, trust.FormOCSP, at, l.Request)
		if out = append(out, a.evidence); a.final {
			return out
		}
	}
	for _, at := range l.Lists[:min(len(l.Lists), maxPlaces)] {
		out = append(out, r.answer(ctx, trust.FormCRL, at, nil).evidence)
	}
	return out
}

// answer returns one answer, or why there is none.
func (r *revocations) answer(ctx context.Context, form trust.Form, at string, request []byte) keptAnswer {
	key := fmt.Sprintf("%s %s %x", form, at, request)
	r.mu.Lock()
	a, ok := r.kept[key]
	r.mu.Unlock()
	if ok && r.now().Before(a.until) {
		return a
	}
	b, err := r.fetch(ctx, form, at, request)
	if err == nil {
		a = keptAnswer{evidence: trust.Evidence{Form: form, Bytes: b}}
		a.until, a.final, err = trust.Answer(form, b)
	}
	if err != nil {
		return keptAnswer{evidence: trust.Evidence{Form: trust.FormUnanswered, Bytes: []byte(at + " " + err.Error())}}
	}
	r.keep(key, a)
	return a
}

func (r *revocations) keep(key string, a keptAnswer) {
	now := r.now()
	if !now.Before(a.until) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, old := range r.kept {
		if len(r.kept) >= maxKept || !now.Before(old.until) {
			delete(r.kept, k)
		}
	}
	r.kept[key] = a
}

// fetch asks one place. Its errors do not name it.
func (r *revocations) fetch(ctx context.Context, form trust.Form, at string, request []byte) ([]byte, error) {
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("it is no URL of HTTP")
	}
	within, limit, method := listWithin, int64(maxList), http.MethodGet
	if form == trust.FormOCSP {
		within, limit, method = responseWithin, maxResponse, http.MethodPost
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, method, at, bytes.NewReader(request))
	if err != nil {
		return nil, err
	}
	if form == trust.FormOCSP {
		q.Header.Set("Content-Type", "application/ocsp-request")
	}
	resp, err := r.client.Do(q)
	if err != nil {
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err
		}
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered %s", resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("the answer has more than %d bytes", limit)
	}
	return b, err
}
