// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime"
	"time"

	"golang.org/x/term"

	"dossier.dev/dossier"
	"dossier.dev/dossier/client"
	"dossier.dev/dossier/internal/heap"
	"dossier.dev/dossier/internal/server"
)

// Answerer gives answers: a client.Client asks a server, a server.Engine finds
// them in this process. References and terms are as people write them.
type Answerer interface {
	Images(ctx context.Context, q dossier.ImagesQuery) (dossier.ImageList, error)
	Prover
	Where(ctx context.Context, term string, limit int) (dossier.FoundList, error)
	SBOM(ctx context.Context, q dossier.SBOMQuery) (dossier.SBOM, error)
	Watch(ctx context.Context, q dossier.ImagesQuery) iter.Seq2[dossier.Change, error]
	Historian
	Assessor
}

// Prover answers about one image, and proves it.
type Prover interface {
	Dossier(ctx context.Context, ref string, at dossier.Times) (dossier.Dossier, error)
	Proof(ctx context.Context, ref string, at dossier.Times) ([]byte, error)
}

// Assessor says what advisories mean for an image.
type Assessor interface {
	Findings(ctx context.Context, q dossier.FindingQuery) (dossier.FindingList, error)
	Explain(ctx context.Context, q dossier.FindingQuery, id string) (dossier.Explanation, error)
}

// Historian tells what happened over time.
type Historian interface {
	History(ctx context.Context, ref string, at time.Time) (dossier.History, error)
	Changes(ctx context.Context, q dossier.TagDiffQuery) (dossier.TagDiff, error)
	Audit(ctx context.Context, q dossier.AuditQuery) (dossier.AuditList, error)
}

// remote returns the server's client, or nil when no server is named.
func (p *program) remote() (Answerer, error) {
	if p.global.server == "" {
		return nil, nil
	}
	c, err := client.New(p.global.server, client.Options{Token: p.global.token})
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// leanList is by how many percent the heap of a command grows that lists a cluster, the most
// that a command holds.
const leanList = 50

// engineOfCluster is engine for a command about all images of a cluster.
func (p *program) engineOfCluster(ctx context.Context) (*server.Engine, error) {
	heap.Fix(leanList)
	return p.engine(ctx)
}

// engine opens the store and everything around it in this process.
func (p *program) engine(ctx context.Context) (*server.Engine, error) {
	if err := p.checkStore(); err != nil {
		return nil, err
	}
	c := p.trusting(p.engineConfig())
	c.Readers = runtime.GOMAXPROCS(0) // each has a cache of 2 MB, and no more are quicker
	return server.Open(ctx, c)
}

// checkStore returns an error when nothing says where the store is.
func (p *program) checkStore() error {
	if p.global.data == "" && p.global.database == "" {
		return errNoData()
	}
	return nil
}

func errNoData() error {
	return usageError{&dossier.Error{Kind: dossier.KindInvalid, Op: "finding a directory for the store",
		Err: errors.New("neither HOME nor XDG_DATA_HOME is set"), Hint: "set --data DIR"}}
}

// trusting adds the trust policy that the environment names.
func (p *program) trusting(c server.Config) server.Config {
	c.TrustFile = p.env["DOSSIER_TRUST"]
	return c
}

func (p *program) engineConfig() server.Config {
	return server.Config{
		Data:       p.global.data,
		Database:   p.global.database,
		Offline:    p.global.offline,
		PlainHTTP:  p.global.plainHTTP,
		RegistryCA: p.global.registryCA,
		Logger:     p.logger,
		Revive:     true, // somebody asks
	}
}

// note says something on stderr that is no error.
func (p *program) note(format string, args ...any) {
	fmt.Fprintf(p.stderr, "note: "+format+"\n", args...)
}

// meter shows how far long work has come, on a terminal only.
type meter struct {
	w    io.Writer
	used bool
	said time.Time // when say last did
}

func (p *program) meter() *meter {
	f, ok := p.stderr.(interface{ Fd() uintptr })
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return &meter{}
	}
	return &meter{w: p.stderr}
}

// report shows progress; it is safe on a meter that shows nothing.
func (m *meter) report(what string, done, total int) {
	if m.w == nil {
		return
	}
	m.used = true
	fmt.Fprintf(m.w, "\r\x1b[K%s %d/%d", what, done, total)
}

// say shows a text, ten times a second at most.
func (m *meter) say(text string) {
	if now := time.Now(); m.w != nil && now.Sub(m.said) > 100*time.Millisecond {
		m.used, m.said = true, now
		fmt.Fprint(m.w, "\r\x1b[K"+text)
	}
}

// clear takes the meter away.
func (m *meter) clear() {
	if m.used {
		m.used = false
		fmt.Fprint(m.w, "\r\x1b[K")
	}
}
